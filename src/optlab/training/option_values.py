"""Check the values of options against the types of signatures and one table of ranges.

Must not import torch: a wrong value is refused before anything heavy is imported.
"""

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from optlab.ranges import as_typed, is_within
from optlab.training.option_names import (
    SET_ELSEWHERE,
    nearest,
    unknown,
    unknown_top_level_options,
)
from optlab.training.run_id import OPTLAB_DATAMODULE

# Options that no signature describes
TYPES: dict[str, Any] = {
    **dict.fromkeys(("seed", "num_replicas", "num_threads"), int),
    "lr_multiplier": float,
    **dict.fromkeys(
        ("channels_last", "compile", "cuda_graphs", "lean_loop", "rerun", "plan"), bool
    ),
    **dict.fromkeys(
        ("study", "run_name", "outputs"), str | float
    ),  # YAML reads a name such as 2024 as a number
    "effect": float | None,
    "title": str | float | None,
    "ckpt_path": str | None,
    "on_error": Literal["continue", "stop"],
    "published": dict | None,
    "targets": dict | None,
}
# Ranges of numbers and of the numbers in lists. Where classes differ, `Class.argument` wins.
RANGES = {
    option: within
    for within, options in {
        "> 0": """lr_multiplier effect optimizer.lr optimizer.eps optimizer.step_sizes
            trainer.gradient_clip_val trainer.val_check_interval trainer.limit_train_batches
            trainer.limit_val_batches trainer.limit_test_batches TensorBoardLogger.flush_secs
            hydra.launcher.memory_per_run_gib SAM.rho ASAM.rho""",
        ">= 0": """seed data.seed optimizer.weight_decay optimizer.lr_decay optimizer.lambd
            optimizer.initial_accumulator_value optimizer.momentum_decay optimizer.t0 optimizer.r
            optimizer.weight_lr_power optimizer.warmup_steps optimizer.adamw_lr_ratio
            optimizer.tolerance_grad optimizer.tolerance_change EarlyStopping.patience
            EarlyStopping.min_delta trainer.reload_dataloaders_every_n_epochs
            hydra.sweeper.tuning_seed hydra.sweeper.extra_trials hydra.sweeper.finalists
            hydra.sweeper.finalist_seeds hydra.sweeper.first_seed ASAM.eta
            Diagnostics.hessian_images""",
        ">= 1": """num_replicas optimizer.max_iter optimizer.max_eval optimizer.history_size
            optimizer.num_iterations optimizer.d trainer.max_epochs trainer.min_epochs
            trainer.min_steps trainer.num_nodes trainer.accumulate_grad_batches
            trainer.log_every_n_steps trainer.check_val_every_n_epoch
            hydra.sweeper.max_batch_size hydra.launcher.num_processes Lookahead.k
            EMAWeightAveraging.update_every_n_steps SWA.every_n_steps LAWA.every_n_steps
            Diagnostics.power_iterations Snapshots.steps""",
        ">= 2": "hydra.sweeper.trials LAWA.k Diagnostics.every_n_steps",
        "in [1, 9999]": "hydra.sweeper.seeds",  # further tuning seeds are 10,000 apart
        ">= 5": "hydra.sweeper.rounds",  # fewer seeds cannot support a claim
        ">= 1, or -1": "trainer.max_steps",
        ">= 0, or -1": "trainer.num_sanity_val_steps",
        "<= 0": "optimizer.beta2_decay",
        "in [0, 1)": """optimizer.betas optimizer.momentum optimizer.rho RMSprop.alpha
            module.label_smoothing SWA.start""",
        "in (0, 1)": "AdamWScheduleFree.betas EMAWeightAveraging.decay",
        "in (0, 1]": "Lookahead.alpha",
        "in [0, 1]": "optimizer.dampening ASGD.alpha",
        "in [1, 1024]": "num_threads",  # far more crash the process without a message
    }.items()
    for option in options.split()
}
# Groups whose `name` is a label
LABELED = ("data", "model", "optimizer", "scheduler")
EXTRAS = {"pytorch_optimizer": "optimizers"}  # package -> the extra that installs it
HYDRA_KEYS = ("_target_", "_partial_", "_convert_", "_recursive_", "_args_")
# Packages whose types and ranges are checked; of other classes, only the next tuple is
CHECKED = ("torch.", "lightning.", "schedulefree.", "pytorch_optimizer.", "optlab.")
CHECKED_FOR_EVERY_CLASS = ("optimizer.lr", "trainer.max_epochs", "trainer.max_steps")
CHOICE_WITH = {
    **{"callbacks.early_stopping": "early_stopping", "callbacks.histograms": "full"},
    **{"callbacks.average": "ema", "callbacks.snapshots": "snapshots"},
    "callbacks.diagnostics": "diagnostics",
    **dict.fromkeys(("callbacks.best", "callbacks.figures", "callbacks.progress"), "default"),
}
WORDS = {bool: "true or false", int: "a whole number", float: "a finite number", str: "a string"}


class ConfigError(ValueError):
    """Raised for wrong or contradictory options. Reported, not recorded, as no run was started."""


def check_top_level(config: DictConfig) -> None:
    """Reject unknown top-level options, and invalid values of the known ones.

    An experiment may define helper values: a key is allowed if another value of the config refers
    to it by interpolation.

    Raises:
        ValueError: if a key is neither in conf/train.yaml nor referred to, an option is missing,
            or a value has the wrong type or is out of range.
    """
    problems = [*unknown_top_level_options(config), *top_level_problems(config)]
    if not OmegaConf.is_interpolation(config, "run_dir"):
        problems.append("run_dir is derived from the config; set outputs or study instead")
    if problems:
        raise ValueError("\n\n".join(problems))


def top_level_problems(config: DictConfig) -> Iterator[str]:
    """Yield a message for each top-level option that is missing or has a wrong value."""
    for group, choice in (("data", "digits"), ("trainer", "cpu"), ("module", "classifier")):
        if config.get(group) is None:
            yield f"{group} is null, but a run needs one, such as {group}={choice}"
    for flag in ("accelerator", "strategy", "max_epochs", "max_steps"):
        if flag not in (config.get("trainer") or (flag,)):
            yield f"trainer.{flag} is missing; do not remove it from the config"
    if (config.get("trainer") or {}).get("max_epochs", 1) is None:  # would be Lightning's 1,000
        yield "trainer.max_epochs is null; it must be a whole number >= 1"
    for option, hint in TYPES.items():
        if option not in config:
            yield f"{option} is missing; do not remove it from the config"
        elif problem := value_problem(option, config[option], hint, RANGES.get(option)):
            yield problem
    if config.get("effect") is not None and not config.get("plan"):
        yield "effect needs plan=true, which computes the number of seeds; this command would train"


def option_problems(config: DictConfig) -> Iterator[str]:
    """Yield a message for each option that its class does not accept, and each wrong value."""
    for group in ("trainer", "module", "data", "model", "optimizer", "scheduler"):
        node = config.get(group)
        if isinstance(node, DictConfig):
            yield from _wrong_below(group, node)
    augment = (config.get("data") or {}).get("augment")
    if isinstance(augment, DictConfig) and config.data.get("_target_") == OPTLAB_DATAMODULE:
        yield from _wrong_below("data.augment", augment, "optlab.data.augment.Augmentation")
    for group in ("callbacks", "logger"):
        node = config.get(group)
        for name, entry in node.items() if isinstance(node, DictConfig) else ():
            path = f"{group}.{name!s}"
            if isinstance(entry, DictConfig) and "_target_" in entry:
                yield from _wrong_below(path, entry)
            elif path in CHOICE_WITH and entry is not None:
                choice = f"callbacks={CHOICE_WITH[path]}"
                yield f"{path} is {as_typed(entry)}; use {choice}, or null to disable it"
            elif entry is not None:
                near = nearest(str(name), [str(other) for other in node if other != name])
                meant = f"; did you mean {group}.{near}?" if near else ""
                yield f"unknown option {path}{meant} (each entry must be null or have a _target_)"


def _wrong_below(path: str, node: DictConfig, target: str | None = None) -> Iterator[str]:
    target = node.get("_target_", target)
    target = None if target is None else str(target)
    labels = {"name"} if path.replace(".base", "") in LABELED else set()
    parameters: dict[str, inspect.Parameter] = {}
    if target is not None:
        try:
            parameters = _parameters(target)
        except Exception as error:
            extra = EXTRAS.get(target.partition(".")[0])
            needs = f"; install it with pip install -e '.[{extra}]'" if extra else ""
            yield f"{path}._target_ is {target}, which cannot be imported: {error}{needs}"
            return
    for name, p in parameters.items() if path.startswith(("callbacks.", "logger.")) else ():
        is_optional = p.default is not p.empty or p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
        if not is_optional and name not in node:
            yield f"{path}.{name} is missing, but {target} requires it"
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    owner = str(target).rpartition(".")[2]
    for key in map(str, node):
        option = f"{path}.{key}"
        is_open = OmegaConf.is_missing(node, key) or OmegaConf.is_interpolation(node, key)
        value = None if is_open else node[key]  # ???, or that of another option
        if path == "trainer" and key in SET_ELSEWHERE:
            yield f"{option} is set by OptLab; use {SET_ELSEWHERE[key]}"
        elif key.startswith("_"):
            if key not in HYDRA_KEYS:
                yield unknown(f"{path}.", key, HYDRA_KEYS)
        elif isinstance(value, DictConfig) and "_target_" in value:
            yield from _wrong_below(option, value)
        elif key in parameters and not is_open:
            hint, within = (
                parameters[key].annotation,
                RANGES.get(f"{owner}.{key}", RANGES.get(option.replace(".base", ""))),
            )
            if not str(target).startswith(CHECKED):
                hint, within = Any, within if option in CHECKED_FOR_EVERY_CLASS else None
            elif hint is inspect.Parameter.empty:  # such as arguments of torch's SummaryWriter
                hint = float if within else Any
            if option == "trainer.max_epochs" and value is not None:  # see top_level_problems
                hint = int
            if problem := value_problem(option, value, hint, within):
                yield problem
        elif key not in {*parameters, *labels} and not takes_any:
            # Those without a default and without a value are passed by OptLab, such as params
            known = labels | {
                name
                for name, p in parameters.items()
                if (p.default is not p.empty or name in node)
                and not (path == "trainer" and name in SET_ELSEWHERE)
            }
            yield unknown(f"{path}.", key, known, owner=str(target or ""))


def _parameters(target: str) -> dict[str, inspect.Parameter]:
    """Return the parameters of a class or function, with types where annotations can be read."""
    made = get_object(target)
    try:
        parameters = dict(inspect.signature(made, eval_str=True).parameters)
    except NameError:  # types that are imported for a type checker only
        parameters = dict(inspect.signature(made).parameters)
    if target.endswith(".TensorBoardLogger"):  # passes the rest to SummaryWriter
        from torch.utils.tensorboard import SummaryWriter

        del parameters["kwargs"]
        parameters = {**inspect.signature(SummaryWriter).parameters, **parameters}
    return parameters


def value_problem(
    option: str, value: Any, hint: Any = Any, within: str | None = None
) -> str | None:
    """Return what is wrong with the value of an option, or None.

    Args:
        option: the name as typed on the command line.
        value: the value in the config.
        hint: the expected type; with a range, Any means a number or null.
        within: the allowed range of numbers, as in RANGES.
    """
    if OmegaConf.is_config(value):
        value = OmegaConf.to_container(value, resolve=True)
    if within and hint is Any:
        hint = float | None
    if _fits(value, hint) and (within is None or is_within(value, within)):
        return None
    words, null = _describe_type(hint), "null" if NoneType in get_args(hint) else ""
    if within:
        words += f", each {within}" if "a list" in words else f" {within}"
    if not (words or null):
        return f"{option} is {as_typed(value)}; no value is allowed"
    return f"{option} is {as_typed(value)}; it must be {', or '.join(filter(None, (words, null)))}"


def check_arguments(path: str, init: Callable[..., Any], values: Mapping[str, Any]) -> None:
    """Raise ValueError for arguments of the wrong type or out of range.

    Args:
        path: config node of the arguments.
        init: function with type annotations.
        values: the arguments it was called with, by name; other names are ignored.
    """
    hints = inspect.signature(init).parameters
    found = (
        value_problem(
            f"{path}.{name}", values[name], hints[name].annotation, RANGES.get(f"{path}.{name}")
        )
        for name in hints
    )
    if problems := [problem for problem in found if problem]:
        raise ValueError("\n".join(problems))


def _fits(value: Any, hint: Any) -> bool:
    kind, arms = get_origin(hint) or hint, get_args(hint)
    if kind in (Union, UnionType):
        return any(_fits(value, arm) for arm in arms)
    if kind is Literal:
        return any(value == arm and type(value) is type(arm) for arm in arms)
    if kind is Any or not isinstance(kind, type):  # what only the class itself understands
        return True
    if kind is float:
        return _fits(value, int) or (type(value) is float and math.isfinite(value))
    if kind is int:
        return type(value) is int and abs(value) < 2**63
    if kind in (bool, str, NoneType):
        return type(value) is kind
    if issubclass(kind, Mapping):
        return isinstance(value, dict)
    if kind is tuple and arms and arms[-1] is not ...:
        return isinstance(value, list) and len(value) == len(arms) and all(map(_fits, value, arms))
    if issubclass(kind, Sequence | Set):
        of = arms[0] if arms else Any
        return isinstance(value, list) and all(_fits(element, of) for element in value)
    # Another class may accept a string or a dict; a tensor cannot be given as an option
    return isinstance(value, str | list | dict) and kind.__name__ != "Tensor"


def _describe_type(hint: Any) -> str:
    """Describe a type in words, without null; "" for classes that cannot be given as an option."""
    kind, arms = get_origin(hint) or hint, get_args(hint)
    if kind in (Union, UnionType):
        choices = [each for arm in arms if get_origin(arm) is Literal for each in get_args(arm)]
        kinds = [arm for arm in arms if get_origin(arm) is not Literal and arm is not NoneType]
        words = [_describe_type(arm) for arm in kinds if not (arm is int and float in arms)]
        words.append(_any_of(choices))
        return " or ".join(filter(None, dict.fromkeys(words)))
    if kind is Literal:
        return _any_of(arms)
    if kind in WORDS or not isinstance(kind, type):
        return WORDS.get(kind, "")
    if issubclass(kind, Mapping):
        return "a dictionary"
    if not issubclass(kind, Sequence | Set):
        return ""
    length = f"{len(arms)} " if kind is tuple and ... not in arms else ""
    of = _describe_type(arms[-1] if kind is tuple and length else arms[0]) if arms else "a value"
    return f"a list of {length}{of.removeprefix('a ')}s"


def _any_of(choices: Sequence[Any]) -> str:
    *others, last = dict.fromkeys(map(str, choices)) or ("",)
    return f"{', '.join(others)} or {last}" if others else last
