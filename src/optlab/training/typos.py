"""Typos on the command line: what was typed, the nearest that exists, what can be chosen."""

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
    """Everything on the command line that names no group, option or knob; None if all does.

    Args:
        arguments: of the command, flags included.
        conf_dir: the config folder; by default conf/ beside the program.
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
                    f"{override.key_or_group}={choice}: there is no such option."
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
        f"{override.key_or_group}={_values(override)[0]}"
        for override in overrides
        if _options(override.key_or_group) and not override.is_delete()
    ]
    config = compose("train", overrides=chosen, return_hydra_config=True)
    problems = []
    for override in overrides:
        if _options(override.key_or_group) or override.is_add() or override.is_force_add():
            continue
        problem = _wrong_key(config, override.key_or_group)
        if problem is not None:
            problems.append(problem)
    return problems


def _wrong_key(config: DictConfig, key: str) -> str | None:
    node: Any = config
    path = ""
    for part in key.split("."):
        if OmegaConf.is_list(node):
            return None
        known = list(node) if OmegaConf.is_dict(node) else []
        if part not in known:
            knobs = [f"{path}{name}" for name in map(str, known) if not name.startswith("_")]
            groups = [] if path else _groups()
            return f"{key}: there is no such knob." + _hint(f"{path}{part}", [*knobs, *groups])
        path += f"{part}."
        if OmegaConf.is_missing(node, part) or OmegaConf.is_interpolation(node, part):
            return None
        node = node[part]
    return None


def _hint(typed: str, known: Iterable[str], prefix: str = "") -> str:
    known = sorted(set(known))
    nearest = difflib.get_close_matches(typed, known, n=3, cutoff=0.5)
    near = [difflib.SequenceMatcher(None, typed, name).ratio() for name in nearest]
    as_near = [name for name, ratio in zip(nearest, near, strict=True) if ratio > near[0] - 0.1]
    named = " or ".join(f"{prefix}{name}" for name in as_near)
    meant = f"\nhint: did you mean {named}?" if as_near else ""
    return f"{meant}\nallowed: {', '.join(known) or 'nothing below it'}"


def _options(group: str) -> list[str]:
    loader = GlobalHydra.instance().config_loader()
    return loader.get_group_options(group, ObjectType.CONFIG)


def _groups() -> list[str]:
    loader = GlobalHydra.instance().config_loader()
    return [group for group in loader.list_groups("") if group != "hydra"]


def _values(override: Override) -> list[str]:
    if override.is_sweep_override():
        return [str(value) for value in override.sweep_string_iterator()]
    return [str(override.get_value_element_as_str())]
