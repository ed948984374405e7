"""Answers to typos on the command line: the nearest name that exists, and what can be chosen.

Must not import torch, so that a typo is answered at once.
"""

import difflib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from optlab.training.option_names import RENAMED, SET_ELSEWHERE, nearest, trainer_flags

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
    """Everything on the command line that names no group, choice or option; None if all does.

    Args:
        arguments: of the command, flags included.
        conf_dir: the config folder; by default conf/ next to the program.
    """
    if any(argument.startswith(OTHER_SOURCES) for argument in arguments):
        return None  # options may come from there as well
    conf_dir = conf_dir or Path(sys.argv[0]).resolve().parent / "conf"
    overrides = []
    for argument in arguments:
        if argument.startswith("-") or "=" not in argument:
            continue
        try:
            overrides.append(OverridesParser.create().parse_override(argument))
        except HydraException:
            return None  # Hydra's own message shows where parsing stopped
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_dir), version_base="1.3"):
        try:
            problems = _wrong_options(overrides) or _wrong_keys(overrides)
        except (HydraException, ValueError):
            return None  # the config files themselves do not compose
    return "\n\n".join(problems) or None


def _wrong_options(overrides: list[Override]) -> list[str]:
    problems = []
    for override in overrides:
        options = _options(override.key_or_group)
        if not options or override.is_delete():
            continue
        for choice in _values(override):
            if choice not in options and choice != "null":
                extra = EXTRAS.get(f"{override.key_or_group}={choice}")
                problems.append(
                    f"unknown choice {override.key_or_group}={choice}"
                    + (
                        f'\nhint: it comes with pip install -e ".[{extra}]"'
                        if extra
                        else _hint(choice, options, f"{override.key_or_group}=")
                    )
                )
    return problems


def _wrong_keys(overrides: list[Override]) -> list[str]:
    """Keys that the config composed from the chosen groups does not have."""
    chosen = [
        f"{override.key_or_group}={_first(override)}"
        for override in overrides
        if _options(override.key_or_group) and not override.is_delete()
    ]
    config = compose("train", overrides=chosen, return_hydra_config=True)
    problems = []
    for override in overrides:
        if _options(override.key_or_group) or override.is_add() or override.is_force_add():
            continue
        if override.is_delete() and override.key_or_group in _groups():
            continue
        problem = _wrong_key(config, override.key_or_group, _first(override))
        if problem is not None:
            problems.append(problem)
    return problems


def _wrong_key(config: DictConfig, key: str, value: str) -> str | None:
    if key in RENAMED:
        return f"{key} is an old name\nhint: write {RENAMED[key]}"
    group, _, flag = key.partition(".")
    if group == "trainer" and flag not in config.trainer:
        if flag in SET_ELSEWHERE:
            return f"{key} is set by OptLab\nhint: use {SET_ELSEWHERE[flag]}"
        if flag in trainer_flags():
            return f"{key} is not in the config yet\nhint: add it with a plus: +{key}={value}"
    node: Any = config
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
            typed = f"{path}{part}"
            old = nearest(typed, RENAMED, cutoff=0.8)
            if old:
                return f"unknown option {key}\nhint: {old} is an old name; write {RENAMED[old]}"
            return f"unknown option {key}" + _hint(typed, options, also=also)
        path += f"{part}."
        if OmegaConf.is_missing(node, part) or OmegaConf.is_interpolation(node, part):
            return None
        node = node[part]
    return None


def _hint(typed: str, known: Iterable[str], prefix: str = "", also: Iterable[str] = ()) -> str:
    known = sorted(set(known))
    found = difflib.get_close_matches(typed, [*known, *also], n=3, cutoff=0.5)
    near = [difflib.SequenceMatcher(None, typed, name).ratio() for name in found]
    as_near = [name for name, ratio in zip(found, near, strict=True) if ratio > near[0] - 0.12]
    named = " or ".join(f"{prefix}{name}" for name in as_near)
    meant = f"\nhint: did you mean {named}?" if as_near else ""
    return f"{meant}\nallowed: {', '.join(known) or 'nothing below it'}"


def _options(group: str) -> list[str]:
    loader = GlobalHydra.instance().config_loader()
    return loader.get_group_options(group, ObjectType.CONFIG)


def _groups() -> list[str]:
    loader = GlobalHydra.instance().config_loader()
    return [group for group in loader.list_groups("") if group not in ("hydra", "search_space")]


def _first(override: Override) -> str:
    """The value of an override, or the first one of a sweep, as it would be typed."""
    if override.is_sweep_override():
        return _values(override)[0]
    return str(override.input_line).partition("=")[2]


def _values(override: Override) -> list[str]:
    if override.is_sweep_override():
        return [str(value) for value in override.sweep_string_iterator()]
    value = override.value()
    if isinstance(value, list):  # several choices of one group at once
        return [str(choice) for choice in value]
    return [str(override.get_value_element_as_str())]
