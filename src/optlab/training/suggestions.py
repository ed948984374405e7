"""Explain typos on the command line: suggest the closest name and list the allowed ones.

Must not import torch, so that typos are reported at once.
"""

import difflib
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from optlab.training.option_names import (
    BASE,
    BASE_GROUP,
    SET_ELSEWHERE,
    elsewhere,
    nearest,
    trainer_flags,
)

# Options that plugins bring, and the extra that installs each
EXTRAS = {
    "hydra/sweeper=optuna": "optuna",
    "hydra/launcher=joblib": "joblib",
    "hydra/launcher=ray": "ray",
    "hydra/launcher=submitit_local": "submitit",
    "hydra/launcher=submitit_slurm": "submitit",
}
OTHER_SOURCES = ("--config-dir", "-cd", "--config-path", "-cp", "hydra.searchpath")


def explain_overrides(arguments: list[str], conf_dir: Path | None = None) -> str | None:
    """Return messages for all unknown groups, choices and options of a command, or None.

    Args:
        arguments: the command's arguments, including flags.
        conf_dir: the config folder; by default conf/ next to the program.
    """
    if any(argument.startswith(OTHER_SOURCES) for argument in arguments):
        return None  # options may come from there as well
    conf_dir = conf_dir or Path(sys.argv[0]).resolve().parent / "conf"
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_dir), version_base="1.3"):
        try:
            overrides = _parsed(each for each in arguments if re.match("~|[^-].*=", each))
            problems = _wrong_choices(overrides) or _wrong_keys(overrides)
        except (HydraException, ValueError):
            return None  # Hydra's own message shows where parsing or composing stopped
    return "\n\n".join(problems) or None


def _parsed(overrides: Iterable[str]) -> list[Override]:
    parser = OverridesParser.create(GlobalHydra.instance().config_loader())
    return parser.parse_overrides(list(overrides))


def _wrong_choices(overrides: list[Override]) -> list[str]:
    problems = []
    for override in overrides:
        known = _options(override.key_or_group)
        if not known or override.is_delete():
            continue
        is_base = override.get_key_element() == BASE_GROUP  # which Hydra does not accept null for
        typed = BASE if is_base else override.key_or_group
        # Several choices of one group at once are a list
        names = [name for value in _values(override) for name in value.strip("[]").split(",")]
        for choice in (name.strip(" '\"") for name in names):
            if choice not in known and (choice != "null" or is_base):
                extra = EXTRAS.get(f"{typed}={choice}")
                problems.append(
                    f"unknown choice {typed}={choice}"
                    + (
                        f'\nhint: install it with pip install -e ".[{extra}]"'
                        if extra
                        else _hint(choice, known, f"{typed}=")
                    )
                )
    return problems


def _wrong_keys(overrides: list[Override]) -> list[str]:
    """Return a message for each key that the config of the chosen groups does not have."""
    choices = {
        override.get_key_element(): _values(override)
        for override in overrides
        if _options(override.key_or_group) and not override.is_delete()
    }
    config = compose("train", overrides=_first(choices), return_hydra_config=True)
    sweeps = _sweeps(choices, config)
    problems = []
    for override in overrides:
        key = override.key_or_group
        if _options(key) or override.is_force_add() or (override.is_delete() and key in _groups()):
            continue
        problem = _wrong_in_some(override, sweeps)
        # Under a sweeper or launcher, `+` cannot add an option that the class does not accept
        is_free = override.is_add() and not re.match(r"hydra\.(sweeper|launcher)\.(?!params)", key)
        if problem is None and not is_free:
            problem = _wrong_key(config, key, _values(override)[0])
        if problem is not None:
            problems.append(problem)
    return problems


def _sweeps(choices: dict[str, list[str]], config: DictConfig) -> list[dict[str, DictConfig]]:
    """The configs of the choices of each swept group, and of the rows of a table, by name.

    All other groups have their first choice. An experiment may bring sweeps of its own.
    """
    sweeper = config.hydra.sweeper
    params = [f"{option}={values}" for option, values in (sweeper.get("params") or {}).items()]
    brought = [each for each in _parsed(params) if _options(each.key_or_group)]
    choices = {**{each.get_key_element(): _values(each) for each in brought}, **choices}
    rows = (sweeper.get("rows") or {}).items()
    alternatives = [
        {f"{group}={choice}": _first({**choices, group: [choice]}) for choice in choices[group]}
        for group in choices
        if len(choices[group]) > 1
    ]
    found = []
    for named in [*alternatives, {f"row {name}": [*row, *_first(choices)] for name, row in rows}]:
        configs = {}
        for name, overrides in named.items():
            with suppress(HydraException):  # a row may contradict the choices
                configs[name] = compose("train", overrides=overrides)
        found.append(configs)
    return found


def _first(choices: dict[str, list[str]]) -> list[str]:
    """The overrides for the first choice of each group."""
    return [f"{group}={values[0]}" for group, values in choices.items()]


def _wrong_in_some(override: Override, sweeps: list[dict[str, DictConfig]]) -> str | None:
    """The message for an option that only some choices of a sweep have."""
    key, value = override.key_or_group, _values(override)[0]
    for configs in sweeps:
        having = [name for name, each in configs.items() if not _wrong_key(each, key, value)]
        lacking = [name for name in configs if name not in having]
        if having and lacking:
            return (
                f"{key} is an option of {', '.join(having)}, but not of {', '.join(lacking)}\n"
                f"hint: start {', '.join(lacking)} with a separate command, without {key}; the "
                "report includes all runs of a study, from any command"
            )
    return None


def _wrong_key(config: DictConfig, key: str, value: str) -> str | None:
    group, _, flag = key.partition(".")
    if group == "trainer" and flag not in config.trainer:
        if flag in SET_ELSEWHERE:
            return f"{key} is set by OptLab\nhint: use {SET_ELSEWHERE[flag]}"
        if flag in trainer_flags():
            return f"{key} is not in the config yet\nhint: add it with a plus: +{key}={value}"
    node: Any = config
    whole: Any = OmegaConf.to_container(config)
    path = ""
    for part in key.split("."):
        if OmegaConf.is_list(node):
            return None
        known = list(node) if OmegaConf.is_dict(node) else []
        if part not in known:
            options = [f"{path}{name}" for name in map(str, known) if not name.startswith("_")]
            options += [] if path else _groups()
            also: list[str] = []
            if path == "trainer.":
                addable = {*trainer_flags()} - {*known} - {*SET_ELSEWHERE}
                also = [f"+trainer.{flag}" for flag in addable]
            moved = elsewhere(whole, part)
            names = [name.rpartition(".")[2] for name in [*options, *also]]
            if moved and (moved[0].split(".")[-1] == part or not nearest(part, names)):
                return f"unknown option {key}\nhint: did you mean {' or '.join(moved)}?"
            return f"unknown option {key}" + _hint(f"{path}{part}", options, also=also)
        path += f"{part}."
        if OmegaConf.is_missing(node, part) or OmegaConf.is_interpolation(node, part):
            return None
        node = node[part]
    return None


def _hint(typed: str, known: Iterable[str], prefix: str = "", also: Iterable[str] = ()) -> str:
    known = sorted(set(known))
    names = {name.rpartition(".")[2]: name for name in [*known, *also]}  # the path is the same
    last = typed.rpartition(".")[2]
    found = [names[name] for name in difflib.get_close_matches(last, names, n=3, cutoff=0.5)]
    near = [difflib.SequenceMatcher(None, typed, name).ratio() for name in found]
    as_near = [name for name, ratio in zip(found, near, strict=True) if ratio > near[0] - 0.12]
    named = " or ".join(f"{prefix}{name}" for name in as_near)
    meant = f"\nhint: did you mean {named}?" if as_near else ""
    return f"{meant}\nallowed: {', '.join(known) or 'none (it has no options)'}"


def _options(group: str) -> list[str]:
    loader = GlobalHydra.instance().config_loader()
    return loader.get_group_options(group, ObjectType.CONFIG)


def _groups() -> list[str]:
    loader = GlobalHydra.instance().config_loader()
    return [group for group in loader.list_groups("") if group not in ("hydra", "search_space")]


def _values(override: Override) -> list[str]:
    """The value of an override, or each one of a sweep, as it would be typed."""
    if override.is_sweep_override():
        return [str(value) for value in override.sweep_string_iterator()]
    return [str(override.input_line).partition("=")[2]]
