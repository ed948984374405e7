"""From config to parts: data, network, LightningModule and Trainer of one run."""

import copy
import ctypes
import gc
import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import lightning as L
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig
from torch import nn

from optlab.optim import param_groups
from optlab.training.checkpoints import AtomicCheckpointIO
from optlab.training.classifier import ImageClassifier
from optlab.training.progress import RunProgress
from optlab.training.replicas import StackedNet
from optlab.training.seeds import derive_seed

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h

QUIET = (
    ".*GPU available but not used.*",  # trainer=cpu says so
    ".*does not have many workers.*",  # by design: the images lie on the device already
    ".*isinstance\\(treespec, LeafSpec\\).*",  # Lightning 2.6 with torch 2.15
    ".*number of training batches.*is smaller than the logging interval.*",  # of calls, not steps
    ".*recommended to use `self.log.*sync_dist=True.*",  # what we log is summed up already
    ".*Checkpoint directory .* exists and is not empty.*",  # a run that goes on
)


def prepare_process(config: DictConfig) -> None:
    """Threads, memory and noise of this process."""
    torch.set_num_threads(config.trainer.num_threads)
    if sys.platform == "linux":
        _keep_freed_memory()
    if not torch.cuda.is_available():
        # torch's optimizers ask for a GPU at every step; without this the answer takes a library
        # search each time, a twentieth of a small network's step
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    if on_cuda(config):
        # What runs before in this process left: their graphs lie in reference cycles
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        torch.set_float32_matmul_precision("high")  # TF32, on GPUs that have it
    # Lightning's own lines advertise products and repeat what is known; its warnings stay.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    for name in ("lightning.pytorch", "lightning.fabric", "lightning"):
        logging.getLogger(name).handlers.clear()  # else each line comes out twice
    for message in QUIET:
        warnings.filterwarnings("ignore", message=message)


def _keep_freed_memory() -> None:
    """Lets the C library keep what a step frees for the next step.

    glibc gives large blocks back to the system at once, which clears every page of them when the
    next step asks for them again: a tenth of a CNN's step, a fifth of RAdam's.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # musl has none
        libc.mallopt(M_MMAP_THRESHOLD, 32 * 2**20)
        libc.mallopt(M_TRIM_THRESHOLD, 256 * 2**20)


def build_data(config: DictConfig, seeds: Sequence[int]) -> Any:
    """The data module, loaded and split; batches of each seed where there are several."""
    options = config.trainer
    try:
        datamodule = instantiate(
            config.data,
            seed=seeds[0],
            seeds=list(seeds) if len(seeds) > 1 else None,
            steps_per_call=options.steps_per_call * options.accumulate_grad_batches,
        )
    except InstantiationException as error:
        if isinstance(error.__cause__, ValueError):  # which says all that a user can act on
            raise error.__cause__ from None
        raise
    datamodule.prepare_data()
    datamodule.setup("fit")
    return datamodule


def build_net(config: DictConfig, datamodule: Any) -> nn.Module:
    """The network, its initial weights drawn from (seed, model, data) and nothing else."""
    torch.manual_seed(derive_seed(config.seed, "weights"))
    net: nn.Module = maker(config.model)(**shape_of(datamodule))
    has_batch_norm = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in net.modules())
    if has_batch_norm and config.trainer.strategy == "ddp" and not on_cuda(config):
        raise ValueError(
            "trainer.strategy=ddp with batch normalisation: each process would normalise by its "
            "share of the batch alone, and torch joins them on CUDA devices only.\n\n"
            "hint: trainer=cpu trainer.num_threads=2 uses two cores for one run"
        )
    one_is_last = datamodule.num_train % datamodule.batch_size == 1
    if has_batch_norm and one_is_last and not _trains_on_one_image(net, datamodule):
        raise ValueError(
            f"data.batch_size is {datamodule.batch_size}: the last batch of {datamodule.num_train} "
            "images has a single one, of which batch normalisation has no variance.\n\n"
            f"hint: data.batch_size={datamodule.batch_size + 1}"
        )
    convolves = any(isinstance(module, nn.Conv2d) for module in net.modules())
    is_lbfgs = config.optimizer._target_.endswith(".LBFGS")
    # torch's LBFGS reads gradients as flat views, which this layout does not have
    if config.trainer.channels_last and convolves and not is_lbfgs:
        net = net.to(memory_format=torch.channels_last)
    return net


def _trains_on_one_image(net: nn.Module, datamodule: Any) -> bool:
    """Whether batch normalisation has more than one value a channel of a single image."""
    sides = (datamodule.in_channels, datamodule.image_size, datamodule.image_size)
    try:
        with torch.no_grad():
            copy.deepcopy(net).train()(torch.zeros(1, *sides))
    except ValueError:
        return False
    return True


def build_classifier(config: DictConfig, net: nn.Module, datamodule: Any) -> ImageClassifier:
    """The LightningModule, its optimizer and schedule still to be made."""
    make_schedule = maker(config.scheduler)
    make_optimizer = maker(config.optimizer, lr=config.optimizer.lr * config.lr_scale)
    make_classifier: Callable[..., ImageClassifier] = ImageClassifier
    if config.model.name == "mlp_numpy":
        from optlab.training import numpy_run

        make_optimizer = numpy_run.make_optimizer(config)
        make_classifier = partial(numpy_run.NumpyClassifier, activation=config.model.activation)
    return make_classifier(
        net,
        make_optimizer=lambda: make_optimizer(groups_of(net, config.weight_decay_on)),
        schedule=make_schedule(total_steps=num_steps(config, datamodule)),
        num_classes=datamodule.num_classes,
        seed=config.seed,
        num_replicas=getattr(net, "num_replicas", 1),
        accumulate=config.trainer.accumulate_grad_batches,
        max_steps=config.trainer.max_steps,
        clip_norm=config.trainer.gradient_clip_norm,
        label_smoothing=config.label_smoothing,
        compiled=config.trainer.compile is True,
        graphed=graphed(config),
    )


def num_steps(config: DictConfig, datamodule: Any) -> int:
    """Optimizer steps of the whole run at most."""
    per_epoch = -(-datamodule.batches_per_epoch // config.trainer.accumulate_grad_batches)
    total, bound = per_epoch * config.trainer.max_epochs, config.trainer.max_steps
    return min(total, bound) if bound > 0 else total


def groups_of(net: nn.Module, weight_decay_on: str) -> list[dict[str, Any]]:
    """Parameter groups of a network or of a stack of them."""
    if isinstance(net, StackedNet):
        return net.param_groups(weight_decay_on)
    return param_groups(net, weight_decay_on)


def build_trainer(
    configs: Sequence[DictConfig], callbacks: Sequence[Callback], datamodule: Any
) -> L.Trainer:
    """Lightning's Trainer with what the config asks for; a logger for each replica."""
    config = configs[0]
    options = config.trainer
    added = [
        instantiate(node)
        for node in config.callbacks.values()
        if isinstance(node, DictConfig) and "_target_" in node
    ]
    progress = RunProgress(config.run_name, num_steps(config, datamodule))
    loggers = [instantiate(each.logger) for each in configs if each.logger._target_]
    return L.Trainer(
        accelerator=options.accelerator,
        devices=options.devices,
        strategy=options.strategy,
        precision=options.precision,
        max_epochs=options.max_epochs,
        max_steps=-1,  # the classifier's: Lightning's would not resume at the end of an epoch
        logger=loggers or False,
        log_every_n_steps=10,
        callbacks=[*callbacks, progress, *added, *observers(config)],
        plugins=[AtomicCheckpointIO()],
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        sync_batchnorm=options.strategy == "ddp" and on_cuda(config),
        use_distributed_sampler=False,  # the data module gives each device its share
    )


def on_cuda(config: DictConfig) -> bool:
    """Whether the run will train on CUDA devices."""
    return config.trainer.accelerator in ("auto", "gpu") and torch.cuda.is_available()


def graphed(config: DictConfig) -> bool:
    """Whether the kernels of a training step are recorded once and replayed."""
    return bool(config.trainer.compile) and on_cuda(config) and config.trainer.strategy != "ddp"


def observers(config: DictConfig) -> list[Callback]:
    """Callbacks that look on: they change no number."""
    callbacks: list[Callback] = []
    if config.callbacks.histograms:
        from optlab.training.histograms import Histograms

        callbacks.append(Histograms())
    return callbacks


def maker(node: DictConfig, **values: Any) -> Any:
    """Instantiates a `_partial_` config without its label `name`, with some values replaced."""
    plain = {key: value for key, value in node.items() if key != "name"}
    return instantiate({**plain, **values})


def shape_of(datamodule: Any) -> dict[str, int]:
    """What a network has to know of the data."""
    return {
        name: getattr(datamodule, name) for name in ("in_channels", "image_size", "num_classes")
    }
