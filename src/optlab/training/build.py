"""Build the parts of one run from its config: data, network, LightningModule and Trainer."""

import copy
import inspect
from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from filelock import FileLock
from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from lightning.pytorch.callbacks import Callback, ProgressBar
from lightning.pytorch.utilities.model_helpers import is_overridden
from omegaconf import DictConfig, OmegaConf
from torch import nn

from optlab.seeds import weights_seed
from optlab.training.callbacks import (
    AttachNetworkToSAM,
    CheckClosureFirst,
    OptimizerModes,
    ReleaseGraph,
    SeedEpochs,
    StopAtMaxSteps,
    UnfreezeBody,
    ValidateAtEpochEnd,
    backward_with_graph,
    seed_generators,
)
from optlab.training.checkpoints import AtomicCheckpointIO
from optlab.training.instantiate import instantiate_partial
from optlab.training.lean_loop import use_lean_loop
from optlab.training.optimizer_memory import check_memory
from optlab.training.optimizer_trial import check_optimizer, is_from_tested_package
from optlab.training.run_id import OPTLAB_DATAMODULE, resolve_path
from optlab.training.validate import on_cuda, uses_cuda_graphs, uses_ddp


def build_data(config: DictConfig) -> Any:
    """Build the data module, and load and split its images."""
    node = config.data
    if "name" in node and not _has_parameter(node._target_, "name"):  # name is only a label
        node = OmegaConf.masked_copy(node, [key for key in node if key != "name"])
    try:
        root = node.get("root") if node._target_ == OPTLAB_DATAMODULE else None
        datamodule = instantiate(node, **({"root": str(resolve_path(root))} if root else {}))
    except InstantiationException as error:
        if isinstance(error.__cause__, ValueError):  # its message is enough for the user
            raise error.__cause__ from None
        raise
    for loader in ("train_dataloader", "val_dataloader", "test_dataloader"):
        if not is_overridden(loader, datamodule):
            raise ValueError(
                f"{config.data._target_} has no {loader}, which a run needs.\n\n"
                "hint: hold out some images for validation and others for the test"
            )
    datamodule.prepare_data()
    datamodule.setup("fit")
    image_shape(datamodule)  # raises if an attribute is missing
    return datamodule


def build_net(config: DictConfig, datamodule: Any) -> nn.Module | None:
    """Build the network; its initial weights depend on (seed, model, data) and nothing else.

    Returns:
        The network, or None for model=null: the module then has a network of its own.
    """
    seed_generators(weights_seed(config.seed))
    weights = (config.model or {}).get("weights")
    is_path = weights and resolve_path(weights).exists()  # else the name of published weights
    resolved = {"weights": str(resolve_path(weights))} if is_path else {}
    make_net = instantiate_partial(config.model, **resolved)
    if make_net is None:
        return None
    net: nn.Module = make_net(**image_shape(datamodule))
    _check_batch_norm(config, net, datamodule)
    convolves = any(isinstance(module, nn.Conv2d) for module in net.modules())
    is_lbfgs = str((config.optimizer or {}).get("_target_")).endswith(".LBFGS")
    # torch's LBFGS flattens gradients with view(-1), which fails in this layout
    if config.channels_last and convolves and not is_lbfgs:
        net = net.to(memory_format=torch.channels_last)
    if config.compile:
        # Every run of this process compiles its own network; torch stops compiling after eight
        torch._dynamo.config.recompile_limit = 1024
        net.compile(dynamic=False)
    return net


def use_cached_features(net: nn.Module | None, datamodule: Any) -> None:
    """If `net.cache_features` is true, let the data module yield features instead of images.

    They are the outputs of the network's frozen body (its pretrained backbone), computed once.

    Raises:
        ValueError: if the data module cannot yield features.
    """
    if not getattr(net, "cache_features", False):
        return
    if not hasattr(datamodule, "use_features"):
        raise ValueError(
            f"model.cache_features is true, but {type(datamodule).__name__} has no use_features."
            "\n\nhint: model.cache_features=false, or inherit from optlab.data.ImageDataModule"
        )
    datamodule.use_features(net)


def build_module(
    config: DictConfig, net: nn.Module | None, datamodule: Any, target: str | None = None
) -> L.LightningModule:
    """Build the LightningModule; pass net, optimizer, scheduler and num_classes if it takes them.

    Args:
        config: config of the run.
        net: the network; None for a module with its own.
        datamodule: the data module, whose `num_classes` the LightningModule gets.
        target: the class to build instead of `module._target_`.

    Raises:
        ValueError: if the class lacks a method that a run needs, or has no parameter for the
            network, optimizer or scheduler of the config.
    """
    lr = (config.optimizer or {}).get("lr")
    values = {} if lr is None else {"lr": lr * config.lr_multiplier}
    parts: dict[str, Any] = {
        "net": net,
        "optimizer": instantiate_partial(config.optimizer, **values),
        "scheduler": instantiate_partial(config.scheduler),
        "num_classes": datamodule.num_classes,
    }
    if (config.model or {}).get("name") == "mlp_numpy":
        from optlab.training import numpy_run

        target = f"{numpy_run.__name__}.NumpyClassifier"
        parts["optimizer"] = numpy_run.make_optimizer(config)
        parts["activation"] = config.model.get("activation", "relu")
    if target is None:
        target = config.module._target_
        _check_choices_are_used(config, target)
    make_module = instantiate(config.module, _partial_=True, _target_=target)
    module = make_module(
        **{name: parts[name] for name in parts if _has_parameter(target, name, with_kwargs=True)}
    )
    for method in ("forward", "training_step", "validation_step", "test_step"):
        if not is_overridden(method, module):
            raise ValueError(
                f"{config.module._target_} has no {method}, which a run needs.\n\n"
                "hint: see optlab.training.classifier.ImageClassifier, which implements all of them"
            )
    if check_optimizer(config.optimizer, module):  # it differentiates the gradients (Hessian)
        _check_create_graph(config, has_replicas=target != config.module._target_)
        module.backward = backward_with_graph
    device = torch.device("cuda" if on_cuda(config) else "cpu")
    check_memory(config.optimizer, module if net is None else net, device)
    return module


def build_callbacks(config: DictConfig, module: L.LightningModule) -> list[Callback]:
    """Build the callbacks of the config, and those that OptLab's numbers depend on."""
    callbacks: list[Callback] = [SeedEpochs(config.seed), OptimizerModes(), AttachNetworkToSAM()]
    if not uses_cuda_graphs(config) and not is_from_tested_package(config.optimizer):
        callbacks.append(CheckClosureFirst())
    if module.__dict__.get("backward") is backward_with_graph:
        callbacks.append(ReleaseGraph())
    if config.trainer.max_steps and config.trainer.max_steps > 0:
        callbacks.append(StopAtMaxSteps())
    is_interval = isinstance(config.trainer.get("val_check_interval"), int | float)
    if is_interval and config.trainer.get("check_val_every_n_epoch", 1) is not None:
        callbacks.append(ValidateAtEpochEnd())
    net = getattr(module, "net", None)
    if callable(getattr(net, "set_epoch", None)):
        callbacks.append(UnfreezeBody(net))
    return [
        *callbacks,
        *(instantiate(node, _convert_="all") for node in (config.callbacks or {}).values() if node),
    ]


def build_loggers(config: DictConfig) -> list[Any]:
    """Build every logger of the config, one process at a time.

    The first MLFlowLogger creates the tables of a study's database; two at once would fail.
    """
    nodes = [node for node in (config.logger or {}).values() if node]
    if not nodes:
        return []
    folder = resolve_path(config.outputs)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".loggers.lock"):
        return [instantiate(node, _convert_="all") for node in nodes]


def build_trainer(
    config: DictConfig, callbacks: Sequence[Callback], loggers: Sequence[Any]
) -> L.Trainer:
    """Build Lightning's Trainer, with the lean loop unless `lean_loop=false`."""
    trainer: L.Trainer = instantiate(
        config.trainer,
        _partial_=True,
        _convert_="all",  # Lightning requires plain lists and dicts
    )(
        callbacks=list(callbacks),
        logger=list(loggers) or False,
        plugins=[AtomicCheckpointIO()],
        sync_batchnorm=uses_ddp(config) and on_cuda(config),
        default_root_dir=config.run_dir,
        # conf/trainer turns this flag off, and Lightning then rejects a progress bar in callbacks
        enable_progress_bar=config.trainer.get("enable_progress_bar", True)
        or any(isinstance(each, ProgressBar) for each in callbacks),
    )
    if uses_cuda_graphs(config):
        from optlab.training.cuda_graphs import use_cuda_graphs

        use_cuda_graphs(trainer)
    elif config.lean_loop:
        use_lean_loop(trainer)
    return trainer


def image_shape(datamodule: Any) -> dict[str, int]:
    """Return the arguments that every network takes: in_channels, image_size and num_classes.

    Raises:
        ValueError: if the data module lacks one of them, or has fewer than two classes.
    """
    names = ("in_channels", "image_size", "num_classes")
    missing = [name for name in names if not isinstance(getattr(datamodule, name, None), int)]
    if missing:
        raise ValueError(
            f"after setup(), {type(datamodule).__name__} has no integer attribute "
            f"{' and no '.join(missing)}, which networks are built with.\n\n"
            f"hint: set self.{missing[0]} in its __init__ or setup()"
        )
    if datamodule.num_classes < 2:
        raise ValueError(
            f"the data set has {datamodule.num_classes} class(es), but classification needs at "
            "least two.\n\nhint: an image folder needs one subfolder per class, in train and test"
        )
    return {name: getattr(datamodule, name) for name in names}


def _has_parameter(target: str, name: str, with_kwargs: bool = False) -> bool:
    """Return whether a class or function takes `name`; `with_kwargs` counts a `**kwargs`."""
    taken = inspect.signature(get_object(target)).parameters
    return name in taken or (with_kwargs and any(p.kind is p.VAR_KEYWORD for p in taken.values()))


def _check_choices_are_used(config: DictConfig, target: str) -> None:
    """Refuse a network, optimizer or scheduler that the module would not use."""
    for group, name in (("model", "net"), ("optimizer", "optimizer"), ("scheduler", "scheduler")):
        node = config[group] or {}
        if node.get("_target_") and not _has_parameter(target, name, with_kwargs=True):
            chosen = node.get("name") or node["_target_"]
            raise ValueError(
                f"{target} has no parameter {name}, so {group}={chosen} would have no effect.\n\n"
                f"hint: set {group}=null, or add a parameter {name} to its __init__"
            )


def _check_create_graph(config: DictConfig, *, has_replicas: bool) -> None:
    """Refuse options that cannot work with an optimizer that differentiates the gradients."""
    for option, has_it, why in (
        ("trainer.strategy=ddp", uses_ddp(config), "averages them outside the autograd graph"),
        ("cuda_graphs=true", uses_cuda_graphs(config), "captures a single backward pass"),
        ("num_replicas=2 or more", has_replicas, "mixes the Hessians of the replicas"),
    ):
        if has_it:
            raise ValueError(
                f"{config.optimizer._target_} differentiates the gradients, and {option} {why}.\n\n"
                f"hint: leave {option.partition('=')[0]} at its default for this optimizer"
            )


def _check_batch_norm(config: DictConfig, net: nn.Module, datamodule: Any) -> None:
    if not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in net.modules()):
        return
    if uses_ddp(config) and not on_cuda(config):
        raise ValueError(
            "trainer.strategy=ddp does not support batch normalization on CPU: each process would "
            "use the statistics of its own share of the batch, as torch synchronizes them only on "
            "CUDA devices.\n\n"
            "hint: trainer=cpu num_threads=2 uses two cores for one run"
        )
    num_train, batch_size = (getattr(datamodule, name, 0) for name in ("num_train", "batch_size"))
    leaves_one = batch_size and num_train % batch_size == 1
    if leaves_one and not _trains_on_one_image(net, datamodule):
        raise ValueError(
            f"data.batch_size is {batch_size}, which leaves only one of the {num_train} images "
            "for the last batch. Batch normalization needs at least two images.\n\n"
            f"hint: data.batch_size={batch_size + 1}"
        )


def _trains_on_one_image(net: nn.Module, datamodule: Any) -> bool:
    """Return whether batch normalization sees several values per channel of a single image."""
    shape = (datamodule.in_channels, datamodule.image_size, datamodule.image_size)
    try:
        with torch.no_grad():
            copy.deepcopy(net).train()(torch.zeros(1, *shape))
    except ValueError:
        return False
    return True
