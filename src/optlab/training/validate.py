"""Validate a run's config as a whole, before data is read or a GPU is used.

A constructor checks only its own values. This module finds unknown options at every level and
options of different components that contradict each other. It then builds optimizer, scheduler,
data module, network, callbacks and Trainer to find the errors that their constructors raise. All
problems are collected and raised together.
"""

import inspect
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from torch import nn

from optlab.optim import param_groups
from optlab.optim.schedules import build_scheduler
from optlab.ranges import as_typed
from optlab.training.instantiate import instantiate_partial, optimizer_nodes
from optlab.training.option_names import unknown_top_level_options
from optlab.training.option_values import ConfigError, option_problems, top_level_problems
from optlab.training.run_id import OPTLAB_DATAMODULE, TRUSTED_PACKAGES, resolve_path

OPTLAB_MODULE = "optlab.training.classifier.ImageClassifier"
MONITORS = {"val/accuracy": "max", "val/loss": "min"}
# Callbacks that use the weights of a single network
SINGLE_NETWORK_CALLBACKS = (
    *("EMAWeightAveraging", "WeightAveraging", "StochasticWeightAveraging", "SWA", "LAWA"),
    *("Snapshots", "Diagnostics"),
)
BEST = {  # required options of callbacks.best: its file must have the best weights of the record
    "_target_": "optlab.training.checkpoints.BestCheckpoint",
    **{"dirpath": "${run_dir}/checkpoints", "filename": "best"},
    **{"save_top_k": 1, "enable_version_counter": False},
    **dict.fromkeys(("every_n_epochs", "every_n_train_steps", "train_time_interval")),
}
HALF = ("16-mixed", "16", 16)  # precisions that Lightning replaces on a CPU
# Update rules that are not elementwise would mix the replicas, which share one stacked tensor
NOT_ELEMENTWISE = {
    "LBFGS": "its line search and curvature pairs span all weights",
    "Muon": "it orthogonalizes whole matrices",
    "Adafactor": "it factors and clips whole matrices",
    "SAM": "it normalizes its perturbation over all weights",
    "ASAM": "it normalizes its perturbation over all weights",
    "SOAP": "it rotates whole matrices",
    "Shampoo": "it preconditions whole matrices",
    "CAME": "it factors and clips whole matrices",
    "Lamb": "it scales whole layers",
    "LARS": "it scales whole layers",
    "MARS": "it clips whole layers",
    "Prodigy": "it estimates one distance for all weights",
    "SophiaH": "it differentiates the gradient of one network",
    "AdaHessian": "it differentiates the gradient of one network",
}
TWO_PASSES = ("optlab.optim.SAM", "optlab.optim.ASAM")


def validate_config(config: DictConfig) -> None:
    """Check a run's config as a whole.

    Raises:
        ConfigError: with every problem that was found, each naming its option.
    """
    problems = [
        *unknown_top_level_options(config),
        *top_level_problems(config),
        *option_problems(config),
        *_trainer_problems(config),
        *_checkpoint(config),
        *_finder(config),
        *_monitors(config),
        *_optimizer_problems(config),
        *_replica_problems(config),
        *_device_problems(config),
        *_numpy_problems(config),
    ] or [
        *_optimizer_errors(config),
        *_part_errors(config),
        *_callback_errors(config),
        *_trainer_errors(config),
    ]
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise ConfigError(f"the config has {count}:\n{listed}")


def on_cuda(config: DictConfig) -> bool:
    """Return whether the run will train on CUDA devices."""
    return config.trainer.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()


def uses_ddp(config: DictConfig) -> bool:
    """Return whether several processes share each batch."""
    return str(config.trainer.strategy).startswith("ddp")


def uses_cuda_graphs(config: DictConfig) -> bool:
    """Return whether training steps are captured as CUDA graphs and replayed."""
    return bool(config.cuda_graphs) and on_cuda(config) and not uses_ddp(config)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _trainer_problems(config: DictConfig) -> Iterator[str]:
    """Yield a message for each value that the Trainer accepts or replaces but a run cannot use."""
    from lightning.pytorch.accelerators import AcceleratorRegistry
    from lightning.pytorch.strategies import StrategyRegistry

    trainer = config.trainer
    accelerators = ["auto", "gpu", *sorted(AcceleratorRegistry.available_accelerators())]
    if trainer.get("accelerator", "auto") not in accelerators:
        chosen = as_typed(trainer.accelerator)
        yield f"trainer.accelerator is {chosen}; allowed: {', '.join(accelerators)}"
    strategies = ["auto", *StrategyRegistry.available_strategies()]
    if trainer.get("strategy", "auto") not in strategies:
        yield f"trainer.strategy is {as_typed(trainer.strategy)}; allowed: {', '.join(strategies)}"
    if trainer.get("fast_dev_run") and config.study != "debug":
        yield (
            f"trainer.fast_dev_run is {as_typed(trainer.fast_dev_run)}; its run is not a result, "
            f"but would count as one in study={config.study}. Use debug=fast_dev_run instead"
        )
    every, epochs = trainer.get("check_val_every_n_epoch") or 1, trainer.get("max_epochs")
    if _is_number(every) and _is_number(epochs) and every > epochs > 0:
        yield (
            f"trainer.check_val_every_n_epoch is {every}, more than trainer.max_epochs; a run must "
            "validate at least once to choose its best weights"
        )
    each = trainer.get("check_val_every_n_epoch", 1)
    if each != 1 and _target(config, "scheduler").endswith((".plateau", ".ReduceLROnPlateau")):
        yield (
            f"trainer.check_val_every_n_epoch is {as_typed(each)}, but "
            "scheduler=plateau needs the validation loss of every epoch; use 1"
        )
    for count in ("epochs", "steps"):
        least, most = trainer.get(f"min_{count}"), trainer.get(f"max_{count}")
        if _is_number(least) and _is_number(most) and least > most > 0:
            yield f"trainer.min_{count} is {least}, more than trainer.max_{count}, {most}"
    if trainer.get("gradient_clip_algorithm") and trainer.get("gradient_clip_val") is None:
        yield (
            f"trainer.gradient_clip_algorithm is {as_typed(trainer.gradient_clip_algorithm)}, "
            "which has no effect without trainer.gradient_clip_val"
        )
    precision = trainer.get("precision")
    if precision in HALF and not (on_cuda(config) or _on_mps(config)):
        yield (
            f"trainer.precision is {precision}, which needs a GPU: Lightning would use bf16-mixed "
            "on the CPU. Use trainer.precision=bf16-mixed"
        )


def _checkpoint(config: DictConfig) -> Iterator[str]:
    if config.ckpt_path is not None and not resolve_path(config.ckpt_path).is_file():
        yield f"ckpt_path is {config.ckpt_path}, which is not a file; use the path of a checkpoint"


def _finder(config: DictConfig) -> Iterator[str]:
    """Reject LearningRateFinder with a scheduler, which keeps the lr that it was built with."""
    if not _target(config, "scheduler"):
        return
    for name, entry in _callbacks(config):
        if str(entry.get("_target_")).endswith(".LearningRateFinder"):
            yield (
                f"callbacks.{name} finds a learning rate that scheduler={config.scheduler.name} "
                "would overwrite at its first step; find it with scheduler=constant and set "
                "optimizer.lr"
            )


def _on_mps(config: DictConfig) -> bool:
    return config.trainer.accelerator in ("auto", "gpu", "mps") and (
        torch.backends.mps.is_available()
    )


def _monitors(config: DictConfig) -> Iterator[str]:
    """Check that best weights and early stopping use validation metrics, never test metrics."""
    own = _is_optlab_module(config)
    for name, entry in _callbacks(config):
        kind = str(entry.get("_target_")).rpartition(".")[2]
        if name == "best":
            written: Any = OmegaConf.to_container(entry, resolve=False)
            for option, kept in BEST.items():
                if written.get(option, kept) != kept:
                    yield (
                        f"callbacks.best.{option} is {as_typed(written[option])}, but a run is "
                        "tested with checkpoints/best.ckpt, its best epoch; use "
                        f"{as_typed(kept)}, or add a ModelCheckpoint under a different name"
                    )
        if kind not in ("BestCheckpoint", "ModelCheckpoint", "EarlyStopping"):
            continue
        path, monitor, mode = f"callbacks.{name}", entry.get("monitor"), entry.get("mode", "min")
        if monitor is None and name != "best":  # a checkpoint now and then
            continue
        if str(monitor).startswith("test") or (own and monitor not in MONITORS):
            allowed = ", ".join(MONITORS) if own else "metrics your module logs in validation"
            yield f"{path}.monitor is {as_typed(monitor)}; allowed: {allowed} (never test)"
        elif monitor in MONITORS and mode != MONITORS[monitor]:
            yield f"{path}.mode is {as_typed(mode)}; for {monitor} it must be {MONITORS[monitor]}"


def _callbacks(config: DictConfig) -> Iterator[tuple[str, DictConfig]]:
    for name, entry in (config.get("callbacks") or {}).items():
        if isinstance(entry, DictConfig):
            yield str(name), entry


def _is_optlab_module(config: DictConfig) -> bool:
    return (config.get("module") or {}).get("_target_") == OPTLAB_MODULE


def _target(config: DictConfig, group: str) -> str:
    return str((config.get(group) or {}).get("_target_") or "")


def _optimizer_problems(config: DictConfig) -> Iterator[str]:
    optimizer, trainer = config.get("optimizer") or {}, config.trainer
    target = _target(config, "optimizer")
    if config.lr_multiplier != 1 and optimizer.get("lr") is None:
        yield (
            f"lr_multiplier is {config.lr_multiplier}, but optimizer={_label(config, 'optimizer')} "
            "has no lr to multiply"
        )
    if _is_optlab_module(config):
        for group, example in (("optimizer", "adam"), ("model", "mlp")):
            if not _target(config, group):
                yield f"{group} is null, but {OPTLAB_MODULE} needs one, such as {group}={example}"
    nodes = optimizer_nodes(config.get("optimizer"))
    for depth, node in enumerate(nodes):
        for switch in ("capturable", "differentiable"):
            if node.get(switch) is True and not (switch == "capturable" and on_cuda(config)):
                path = f"optimizer{'.base' * depth}.{switch}"
                yield f"{path} is true, which this run does not support; leave it false"
    if target in TWO_PASSES:
        of = f"optimizer={_label(config, 'optimizer')} evaluates each batch twice, so"
        if trainer.get("accumulate_grad_batches", 1) != 1:
            yield (
                f"{of} trainer.accumulate_grad_batches={trainer.accumulate_grad_batches} is "
                "not supported; raise data.batch_size instead"
            )
        if config.cuda_graphs:
            yield f"{of} cuda_graphs=true, which captures one pass, is not supported; use false"
        if trainer.get("precision") in ("16-mixed", "16", 16):
            yield (
                f"{of} trainer.precision={trainer.precision}, which scales the loss once per step, "
                "is not supported; use bf16-mixed"
            )
    sizes: Any = optimizer.get("step_sizes")
    if OmegaConf.is_list(sizes) and all(map(_is_number, sizes)) and list(sizes) != sorted(sizes):
        yield f"optimizer.step_sizes is {sizes}; the smaller step size must come first"
    if target.endswith(".LBFGS"):
        if trainer.get("accumulate_grad_batches", 1) != 1:
            yield (
                "optimizer=lbfgs evaluates the loss several times per step, so "
                f"trainer.accumulate_grad_batches={trainer.accumulate_grad_batches} is not "
                "supported; raise data.batch_size instead"
            )
        if (config.get("model") or {}).get("freeze_body"):
            yield "optimizer=lbfgs takes all weights at once; set model.freeze_body=false"
        if trainer.get("gradient_clip_val") is not None:
            yield (
                "optimizer=lbfgs does not support trainer.gradient_clip_val, as its line search "
                "needs the unclipped gradient; use null"
            )
    spares = _is_optlab_module(config) and config.module.get("decay_norm_and_bias") is False
    if spares and target and not any("weight_decay" in node for node in nodes):
        yield (
            f"module.decay_norm_and_bias=false, but optimizer={_label(config, 'optimizer')} has no "
            "weight_decay; leave it true"
        )


def _label(config: DictConfig, group: str) -> str:
    """Return the name of a group's choice, or its class."""
    return str((config.get(group) or {}).get("name") or _target(config, group))


def _replica_problems(config: DictConfig) -> Iterator[str]:
    if config.num_replicas == 1:
        return
    so = f"num_replicas={config.num_replicas}"
    for node in optimizer_nodes(config.get("optimizer")):
        rule = str(node.get("_target_")).rpartition(".")[2]
        if rule in NOT_ELEMENTWISE:
            yield (
                f"{so} with optimizer={node.get('name') or rule}: {NOT_ELEMENTWISE[rule]}. "
                "Sweep over seed=... instead"
            )
    if config.trainer.get("gradient_clip_val") is not None:
        yield f"{so} with trainer.gradient_clip_val: the norm would span all replicas"
    if config.trainer.get("check_val_every_n_epoch", 1) is None:
        yield f"{so} with trainer.check_val_every_n_epoch=null: validate at the end of epochs"
    callbacks = config.get("callbacks") or {}
    if callbacks.get("early_stopping") is not None:
        yield f"{so} with callbacks.early_stopping: replicas would stop at different epochs"
    if callbacks.get("best") is None:
        yield f"{so} with callbacks.best=null: replicas are tested with their best weights"
    for name, entry in _callbacks(config):
        if str(entry.get("_target_")).rpartition(".")[2] in SINGLE_NETWORK_CALLBACKS:
            yield f"{so} with callbacks.{name}: it would see the weights of all replicas as one"
    if _target(config, "scheduler").endswith((".plateau", ".ReduceLROnPlateau")):
        yield f"{so} with scheduler=plateau: replicas would need different learning rates"
    if uses_ddp(config):
        yield f"{so} with trainer.strategy=ddp: replicas are trained on one device"
    if _target(config, "model").endswith(".FineTuned"):
        yield f"{so} with model={_label(config, 'model')}: a frozen body cannot be stacked"
    if config.data.get("seed", config.seed) != config.seed:
        yield f"{so} with data.seed={config.data.seed}: each replica shuffles with its own seed"
    module, data = _target(config, "module"), _target(config, "data")
    if module != OPTLAB_MODULE:
        yield f"{so} with module._target_={module}: it does not support replicas"
    if data != OPTLAB_DATAMODULE and not _is_image_data(data):
        yield f"{so} with data._target_={data}: it does not support replicas"


def _is_image_data(target: str) -> bool:
    """Whether a target inherits from OptLab's data module, which makes batches of several seeds."""
    try:
        return issubclass(get_object(target), get_object(OPTLAB_DATAMODULE))
    except Exception:  # one that cannot be imported is reported with the unknown options
        return False


def _device_problems(config: DictConfig) -> Iterator[str]:
    """Yield a message for missing devices and for options that devices or CUDA graphs preclude."""
    trainer = config.trainer
    if trainer.accelerator in ("gpu", "cuda") and not (
        torch.cuda.is_available() or _on_mps(config)
    ):
        yield (
            f"trainer.accelerator is {trainer.accelerator}, but torch finds no GPU; use "
            "trainer=auto or trainer=cpu"
        )
    is_bf16 = trainer.get("precision") in ("bf16-mixed", "bf16")
    if is_bf16 and on_cuda(config) and not _has_bf16():
        yield "trainer.precision is bf16-mixed, which this GPU only emulates; use 32-true"
    devices = trainer.get("devices", 1)
    if devices in (0, "0") or devices == []:
        yield f"trainer.devices is {devices}; a run needs at least one device"
    for option in ("devices", "num_nodes"):
        value = trainer.get(option, 1)
        if _several(value, config) and trainer.get("strategy", "auto") == "auto":
            yield f"trainer.{option} is {value}; that needs trainer.strategy=ddp (trainer=ddp)"
    if uses_ddp(config):
        if (config.get("model") or {}).get("unfreeze_epoch") is not None:
            yield (
                "trainer.strategy=ddp with model.unfreeze_epoch: weights that are unfrozen later "
                "are not synchronized; use null"
            )
        if _target(config, "optimizer").endswith(".LBFGS"):
            yield "trainer.strategy=ddp with optimizer=lbfgs: line searches would differ by device"
        if '"' in str(resolve_path(config.outputs)):  # Lightning puts it between two
            yield f'trainer.strategy=ddp with outputs={config.outputs}: use a path without "'
    if config.cuda_graphs is True and not uses_cuda_graphs(config):
        yield ("cuda_graphs=true needs a run on one CUDA device without DDP; use cuda_graphs=false")


def _has_bf16() -> bool:
    return torch.cuda.is_bf16_supported(including_emulation=False)


def _several(devices: Any, config: DictConfig) -> bool:
    """Whether `trainer.devices` asks for more than one."""
    if OmegaConf.is_list(devices):
        return len(devices) > 1
    if devices in ("auto", -1, "-1"):
        return on_cuda(config) and torch.cuda.device_count() > 1
    if devices is None or isinstance(devices, bool):  # refused with the wrong values
        return False
    if isinstance(devices, str) and "," in devices:
        return len([device for device in devices.split(",") if device.strip()]) > 1
    return str(devices) != "1"


def _numpy_problems(config: DictConfig) -> Iterator[str]:
    if (config.get("model") or {}).get("name") != "mlp_numpy":
        return
    if not _is_optlab_module(config):
        yield f"model=mlp_numpy uses its own module; leave module._target_ at {OPTLAB_MODULE}"
    elif _target(config, "optimizer"):
        from optlab.training.numpy_run import config_problems

        yield from config_problems(config)


def _optimizer_errors(config: DictConfig) -> Iterator[str]:
    """Yield the errors that the constructors of optimizer and scheduler raise, whatever class."""
    tiny = nn.Sequential(*(nn.Linear(2, 2) for _ in range(3)))  # Muon needs a hidden matrix
    made: Any = torch.optim.SGD(tiny.parameters(), lr=1.0)
    if _target(config, "optimizer"):
        try:
            made = instantiate_partial(config.optimizer)(param_groups(tiny))
            inspect.signature(made.step).bind(closure=lambda: None)
        except Exception as error:
            yield _refusal("optimizer", config.optimizer, error)
            return
    if _target(config, "scheduler"):
        if "lr" not in made.param_groups[0]:
            yield (
                f"scheduler={_label(config, 'scheduler')} sets the learning rate, but "
                f"{config.optimizer._target_} has no lr in its param_groups; use scheduler=constant"
            )
            return
        # The steps per epoch are unknown before data is read, so assume more than any run has
        max_steps = config.trainer.get("max_steps", -1)
        total_steps = max_steps if max_steps > 0 else 10**9
        try:
            build_scheduler(instantiate_partial(config.scheduler), made, total_steps)
        except Exception as error:
            yield _refusal("scheduler", config.scheduler, error)


def _part_errors(config: DictConfig) -> Iterator[str]:
    """Yield the errors that the constructors of data module and network raise on the meta device.

    Only OptLab's own classes are built, as other networks may require another image size.
    """
    shape = {"in_channels": 1, "image_size": 224, "num_classes": 10}
    for group, make in (
        ("data", lambda: instantiate(config.data)),
        ("model", lambda: instantiate_partial(config.model)(**shape)),
    ):
        target = _target(config, group)
        if not target.startswith("optlab.") or target.endswith(".FineTuned"):  # it reads weights
            continue
        try:
            with torch.device("meta"):
                make()
        except Exception as error:
            cause = error.__cause__ or error  # Hydra wraps the error
            if isinstance(cause, ValueError):  # its message is enough for the user
                yield str(cause).replace(".\n\nhint: ", "; ")
            else:
                yield _refusal(group, config[group], cause)


def _callback_errors(config: DictConfig) -> Iterator[str]:
    """Yield the errors that the constructors of Lightning's and OptLab's callbacks raise."""
    for name, entry in _callbacks(config):
        if str(entry.get("_target_")).startswith(TRUSTED_PACKAGES):
            try:
                instantiate(entry, _convert_="all")
            except Exception as error:
                yield f"callbacks.{name} has invalid options: {error.__cause__ or error}"


def _refusal(group: str, part: DictConfig, error: BaseException) -> str:
    chosen = f"{group}={part.name}" if part.get("name") else ""
    command = " ".join(f"python train.py {chosen} --cfg job -p {group}".split())
    return (
        f"{part._target_} has invalid options: {error} ({type(error).__name__}); to see them, "
        f"run {command}"
    )


def _trainer_errors(config: DictConfig) -> Iterator[str]:
    """Yield the error that lightning.Trainer raises, built without loggers and callbacks."""
    if not _target(config, "trainer").startswith(TRUSTED_PACKAGES):
        return
    replaced: dict[str, Any] = {"logger": False, "enable_checkpointing": False}
    replaced |= {"enable_progress_bar": False, "enable_model_summary": False}
    if config.trainer.get("strategy", "auto") != "auto":  # else it would connect to other processes
        replaced |= {"strategy": "auto", "devices": 1}
    quiet = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            instantiate(config.trainer, **replaced)
    except Exception as error:
        cause = error.__cause__ or error
        yield f"{config.trainer._target_} has invalid options: {cause} ({type(cause).__name__})"
    finally:
        quiet.setLevel(level)
