"""Preflight: what contradicts itself in a config, found before data is read or a GPU is touched.

A constructor checks its own values; here is what spans components, and then what the constructors
of optimizer, schedule, data module and network say. All that is wrong is collected and raised once.
"""

import difflib
import inspect
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from torch import nn

from optlab.optim import param_groups
from optlab.training.build import graphed, maker, on_cuda
from optlab.training.record import Refused

PRECISIONS = ("32-true", "bf16-mixed", "64-true")
ACCELERATORS = ("auto", "cpu", "gpu", "mps")
STRATEGIES = ("auto", "ddp")
TRAINER_KNOBS = (
    *("max_epochs", "max_steps", "accelerator", "devices", "strategy", "precision", "num_threads"),
    *("compile", "channels_last", "steps_per_call"),
    *("accumulate_grad_batches", "gradient_clip_norm"),
)
CALLBACK_KNOBS = ("best", "early_stopping", "figures", "tensorboard_figures", "histograms")
MONITORS = {"val/accuracy": "max", "val/loss": "min"}
# Update rules that look beyond the single weight mix up replicas that lie in one stacked tensor.
NOT_ELEMENTWISE = {
    "LBFGS": "its line search and curvature pairs span all weights",
    "Muon": "it orthogonalises whole matrices",
    "Adafactor": "it factors and clips whole matrices",
}


def preflight(config: DictConfig) -> None:
    """Checks a run's config as a whole.

    Raises:
        Refused: with every problem that was found, each naming its knob.
    """
    problems = [
        *_ranges(config),
        *_ignored_knobs(config),
        *_monitors(config),
        *_optimizer_limits(config),
        *_replica_limits(config),
        *_device_limits(config),
        *_device(config),
        *_numpy_limits(config),
    ] or [*_refused_values(config), *_refused_parts(config)]
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise Refused(f"the config has {count}:\n{listed}")


def _ranges(config: DictConfig) -> Iterator[str]:
    positive = {
        "lr_scale": config.lr_scale,
        "optimizer.lr": config.optimizer.get("lr"),
        "trainer.gradient_clip_norm": config.trainer.gradient_clip_norm,
    }
    for knob, value in positive.items():
        if value is not None and not (_is_number(value) and 0 < value < float("inf")):
            yield f"{knob} is {value}; it must be a finite number > 0"
    counts = {
        f"trainer.{name}": config.trainer[name]
        for name in ("max_epochs", "num_threads", "steps_per_call", "accumulate_grad_batches")
    }
    for knob, value in {**counts, "num_replicas": config.num_replicas}.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            yield f"{knob} is {value}; it must be a whole number >= 1"
    max_steps, smoothing = config.trainer.max_steps, config.label_smoothing
    if not (isinstance(max_steps, int) and (max_steps == -1 or max_steps >= 1)):
        yield f"trainer.max_steps is {max_steps}; allowed: >= 1, or -1 for no bound"
    if not (_is_number(smoothing) and 0 <= smoothing < 1):
        yield f"label_smoothing is {smoothing}; it must be a number in [0, 1)"
    if not isinstance(config.seed, int) or isinstance(config.seed, bool) or config.seed < 0:
        yield f"seed is {config.seed}; it must be a whole number >= 0"
    for knob, value, allowed in (
        ("weight_decay_on", config.weight_decay_on, ("all", "kernels")),
        ("trainer.precision", config.trainer.precision, PRECISIONS),
        ("trainer.accelerator", config.trainer.accelerator, ACCELERATORS),
        ("trainer.strategy", config.trainer.strategy, STRATEGIES),
    ):
        if value not in allowed:
            yield f"{knob} is {value}; allowed: {', '.join(allowed)}"
    if not (isinstance(config.trainer.compile, bool) or config.trainer.compile == "graph"):
        yield f"trainer.compile is {config.trainer.compile!r}; allowed: false, true, graph"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _ignored_knobs(config: DictConfig) -> Iterator[str]:
    """Knobs that the class or function they are meant for does not take."""
    for knob in ("seed", "seeds", "steps_per_call"):
        if knob in config.data:
            whose = "trainer.steps_per_call" if knob == "steps_per_call" else "seed"
            yield f"data.{knob} is not read; what it stands for is {whose}"
    yield from _unknown("trainer", config.trainer, TRAINER_KNOBS)
    nodes: dict[str, Any] = {
        group: config[group] for group in ("data", "model", "optimizer", "scheduler", "logger")
    }
    own_entries = []
    for name, node in config.callbacks.items():
        if isinstance(node, DictConfig) and "_target_" in node:
            nodes[f"callbacks.{name}"] = node
        else:
            own_entries.append(name)
    yield from _unknown("callbacks", own_entries, CALLBACK_KNOBS)
    for path, node in nodes.items():
        target = node.get("_target_")
        if target is None:
            continue
        try:
            parameters = inspect.signature(get_object(target)).parameters
        except Exception as error:
            yield f"{path}._target_ is {target}, which cannot be imported: {error}"
            continue
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            continue
        labels = {"name"} if path in ("model", "optimizer", "scheduler") else set()
        for knob in node:
            if not str(knob).startswith("_") and knob not in parameters and knob not in labels:
                yield f"{path}.{knob} is no knob of {target}{_nearest(knob, parameters)}"


def _unknown(group: str, knobs: Iterable[Any], known: Sequence[str]) -> Iterator[str]:
    for knob in knobs:
        if knob not in known:
            yield f"{group}.{knob} is read by nothing{_nearest(knob, known)}"


def _nearest(knob: Any, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(str(knob), list(known), n=1)
    return f"; did you mean {nearest[0]}?" if nearest else ""


def _monitors(config: DictConfig) -> Iterator[str]:
    watching = {"callbacks.best": config.callbacks.best}
    early_stopping = config.callbacks.get("early_stopping")
    if isinstance(early_stopping, DictConfig):
        watching["callbacks.early_stopping"] = early_stopping
    elif early_stopping is not None:
        yield (
            f"callbacks.early_stopping is {early_stopping}; it is null or has a _target_: "
            "callbacks=early_stopping switches it on"
        )
    for path, node in watching.items():
        if node.monitor not in MONITORS:
            allowed = ", ".join(MONITORS)
            yield f"{path}.monitor is {node.monitor}; allowed: {allowed} (never test)"
        elif node.mode != MONITORS[node.monitor]:
            better = MONITORS[node.monitor]
            yield f"{path}.mode is {node.mode}; {node.monitor} is better at its {better}"


def _optimizer_limits(config: DictConfig) -> Iterator[str]:
    optimizer, trainer = config.optimizer, config.trainer
    # What these classes do not check themselves, and then diverge or divide by zero
    for ending, knob, allowed, is_allowed in (
        (".RMSprop", "alpha", "it must be in [0, 1)", lambda alpha: 0 <= alpha < 1),
        ("ScheduleFree", "betas", "each must be in (0, 1)", lambda beta: 0 < beta < 1),
    ):
        values = optimizer.get(knob)
        numbers = list(values) if OmegaConf.is_list(values) else [values]
        concerned = ending in optimizer._target_ and all(map(_is_number, numbers))
        if concerned and not all(map(is_allowed, numbers)):
            yield f"optimizer.{knob} is {values}; {allowed}"
    if optimizer._target_.endswith(".LBFGS"):
        if trainer.accumulate_grad_batches > 1:
            yield (
                "optimizer=lbfgs evaluates its loss several times a step, so "
                f"trainer.accumulate_grad_batches={trainer.accumulate_grad_batches} is refused; "
                "raise data.batch_size instead"
            )
        if config.model.get("freeze_body"):
            yield "optimizer=lbfgs takes all weights at once; set model.freeze_body=false"
        if trainer.gradient_clip_norm is not None:
            yield "optimizer=lbfgs with trainer.gradient_clip_norm: line search needs the true one"
    if config.weight_decay_on == "kernels" and "weight_decay" not in optimizer:
        yield (
            f"weight_decay_on=kernels, but optimizer={optimizer.name} has no weight_decay; "
            "leave weight_decay_on at all"
        )


def _refused_values(config: DictConfig) -> Iterator[str]:
    """What optimizer and schedule say against their values; any class may stand there."""
    tiny = param_groups(nn.Linear(1, 1), config.weight_decay_on)
    # How many steps an epoch has only the data will tell: nothing is longer than this run
    total_steps = config.trainer.max_steps if config.trainer.max_steps > 0 else 10**9
    for group, arguments, lengths in (
        ("optimizer", (tiny,), {}),
        ("scheduler", (), {"total_steps": total_steps}),
    ):
        part = config[group]
        try:
            made = maker(part, **lengths)(*arguments)
            if group == "optimizer":
                inspect.signature(made.step).bind(lambda: None)
        except Exception as error:
            yield _refusal(group, part, error)


def _refused_parts(config: DictConfig) -> Iterator[str]:
    """What data module and network say against their values, built without data or memory.

    Of our own classes alone: another's may rightly want images of one size.
    """
    shape = {"in_channels": 1, "image_size": 224, "num_classes": 10}
    for group, make in (
        ("data", lambda: instantiate(config.data)),
        ("model", lambda: maker(config.model)(**shape)),
    ):
        target = config[group]._target_
        if not target.startswith("optlab.") or target.endswith(".FineTuned"):  # it reads weights
            continue
        try:
            with torch.device("meta"):
                make()
        except Exception as error:
            cause = error.__cause__ or error  # Hydra's words hide it
            if isinstance(cause, ValueError):  # which says all that a user can act on
                yield str(cause).replace(".\n\nhint: ", "; ")
            else:
                yield _refusal(group, config[group], cause)


def _refusal(group: str, part: DictConfig, error: BaseException) -> str:
    return (
        f"{part._target_} refuses its knobs: {error} ({type(error).__name__}); "
        f"python train.py {group}={part.name} --cfg job -p {group} shows them"
    )


def _replica_limits(config: DictConfig) -> Iterator[str]:
    if config.num_replicas == 1:
        return
    so = f"num_replicas={config.num_replicas}"
    rule = config.optimizer._target_.rpartition(".")[2]
    if rule in NOT_ELEMENTWISE:
        yield (
            f"{so} with optimizer={config.optimizer.name}: {NOT_ELEMENTWISE[rule]}; "
            "sweep seed=... instead"
        )
    if config.trainer.gradient_clip_norm is not None:
        yield f"{so} with trainer.gradient_clip_norm: the norm would span all replicas"
    if config.callbacks.get("early_stopping") is not None:
        yield f"{so} with early stopping: replicas would stop at different epochs"
    if config.scheduler._target_.endswith(".plateau"):
        yield f"{so} with scheduler=plateau: replicas would need different rates"
    if config.trainer.strategy == "ddp":
        yield f"{so} with trainer.strategy=ddp: replicas are trained on one device"
    if config.model._target_.endswith(".FineTuned"):
        yield f"{so} with model={config.model.name}: a frozen body cannot be stacked"


def _device_limits(config: DictConfig) -> Iterator[str]:
    """What several devices, or CUDA graphs, would get wrong or hang in."""
    trainer = config.trainer
    if trainer.strategy == "ddp":
        if config.model.get("unfreeze_epoch") is not None:
            yield "trainer.strategy=ddp with model.unfreeze_epoch: its weights join too late"
        if config.optimizer._target_.endswith(".LBFGS"):
            yield "trainer.strategy=ddp with optimizer=lbfgs: each device would search its own line"
    if trainer.compile == "graph" and not graphed(config):
        yield (
            "trainer.compile=graph records what one CUDA device is to do, and this run has none "
            "of its own; use true or false"
        )


def _numpy_limits(config: DictConfig) -> Iterator[str]:
    if config.model.name == "mlp_numpy":
        from optlab.training.numpy_run import limits

        yield from limits(config)


def _device(config: DictConfig) -> Iterator[str]:
    trainer = config.trainer
    if trainer.accelerator == "gpu" and not torch.cuda.is_available():
        yield "trainer.accelerator is gpu, but torch sees none; use trainer=auto or trainer=cpu"
    if trainer.precision == "bf16-mixed" and on_cuda(config) and not _has_bf16():
        yield "trainer.precision is bf16-mixed, which this GPU only emulates; use 32-true"
    if trainer.devices == 0:
        yield "trainer.devices is 0; a run needs one or more"
    if trainer.devices not in (0, 1) and trainer.strategy != "ddp":
        yield f"trainer.devices is {trainer.devices}; that needs trainer.strategy=ddp (trainer=ddp)"


def _has_bf16() -> bool:
    return torch.cuda.is_bf16_supported(including_emulation=False)
