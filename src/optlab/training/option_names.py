"""Check the names of options, and suggest the closest name for an unknown one.

Must not import torch: unknown names are reported before anything heavy is imported. Otherwise a
finished run with the same other options would be returned as the result.
"""

import ast
import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from optlab.training.run_id import GROUPS, NOT_IN_HASH, OPTIONS

# Flags of lightning.Trainer that OptLab sets -> what to use instead
SET_ELSEWHERE = {
    "callbacks": "the group callbacks: +callbacks.NAME._target_=CLASS",
    "logger": "the group logger: logger=tensorboard, logger=[tensorboard,csv], logger=none",
    "plugins": "trainer.precision and trainer.strategy",
    "default_root_dir": "outputs",
    "enable_checkpointing": "callbacks.best: callbacks.best=null keeps no best checkpoint",
    "barebones": "lean_loop=true, which is as fast and still writes the record",
    "sync_batchnorm": "trainer=ddp, which sets it on GPUs",
}
# `group=null` -> the override passed to Hydra instead, which does not accept null for a group
NULL_CHOICE = {"scheduler": "scheduler=constant", "logger": "logger=none"}
BASE, BASE_GROUP = "optimizer.base", "optimizer@optimizer.base"
_REFERENCE = re.compile(r"\$\{(?:oc\.select:)?\.*(\w+)")  # of an interpolation: its first name


def unknown_top_level_options(config: DictConfig) -> Iterator[str]:
    """Yield one message for each unknown top-level option."""
    known = {*GROUPS, *OPTIONS, *NOT_IN_HASH}
    extra = [str(key) for key in config if key not in known]
    if not extra:
        return
    raw = OmegaConf.to_container(config, resolve=False)
    assert isinstance(raw, dict)
    if "hydra" not in raw and HydraConfig.initialized():
        # Rows of a table refer to helper values as well
        raw["hydra"] = OmegaConf.to_container(HydraConfig.get().sweeper, resolve=False)
    for key in extra:
        others = {other: value for other, value in raw.items() if other != key}
        if key not in _references(others):
            moved = [] if nearest(key, known) else elsewhere(others, key)
            meant = f"unknown option {key}; did you mean {' or '.join(moved)}?"
            yield meant if moved else unknown("", key, known)


def unknown_hydra_options(
    node: DictConfig, path: str = "hydra.", schema: Any = None
) -> Iterator[str]:
    """Yield one message for each unknown option of Hydra's own config.

    Args:
        node: Hydra's config, or a node of it.
        path: path of the node, with a trailing dot.
        schema: the structured config that lists the node's options; None for `HydraConf`.
    """
    schema = OmegaConf.structured(HydraConf) if schema is None else schema
    # `in` would leave out values that are still missing; the schema has no node for hydra/env
    known = [*schema, *(("env",) if path == "hydra." else ())]
    for key in map(str, node):
        if key not in known:
            yield unknown(path, key, known)
        elif key in schema and is_dataclass(OmegaConf.get_type(schema, key)):
            yield from unknown_hydra_options(node[key], f"{path}{key}.", schema[key])


def unknown(path: str, name: str, known: Iterable[str], owner: str = "") -> str:
    """Return the message for an unknown option, with the closest name or all allowed ones.

    Args:
        path: path of the option's node, with a trailing dot; "" at the top level.
        name: name of the option in this node.
        known: allowed names in this node.
        owner: the class that does not accept the option.
    """
    message = f"unknown option {path}{name}" + (f": {owner} does not take it" if owner else "")
    near = nearest(name, known)
    if near:
        return f"{message}; did you mean {path}{near}?"
    allowed = sorted(k for k in map(str, known) if k.startswith("_") == name.startswith("_"))
    return f"{message}; allowed: {', '.join(allowed) or 'none'}"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the allowed name that is most like an unknown one; None if none is."""
    found = difflib.get_close_matches(name, sorted(map(str, known)), n=1)
    return found[0] if found else None


def elsewhere(config: Mapping[Any, Any], name: str) -> list[str]:
    """Return the options, at any level, whose last part is `name` or very similar."""
    paths = list(_paths(config))
    near = difflib.get_close_matches(name, {path.split(".")[-1] for path in paths}, 1, cutoff=0.8)
    return [path for path in paths if path.split(".")[-1] in near]


def _paths(config: Mapping[Any, Any], prefix: str = "") -> Iterator[str]:
    for key, value in config.items():
        if isinstance(value, dict) and key != "hydra":
            yield from _paths(value, f"{prefix}{key}.")
        elif not str(key).startswith("_"):
            yield f"{prefix}{key}"


def to_hydra_override(argument: str) -> str:
    """Return an argument of the command line in Hydra's own form.

    `group=null` becomes `~group`, or the choice of that group that stands for nothing.
    `optimizer.base=adam` chooses the optimizer that another one wraps: Hydra's name of that choice
    is `optimizer@optimizer.base`.
    """
    group, _, values = argument.partition("=")
    if group == BASE and not values.startswith(("{", "'{")):
        return f"{BASE_GROUP}={values}"
    if values == "null" and group in (*GROUPS, "logger"):
        return NULL_CHOICE.get(group, f"~{group}")
    return argument


def trainer_flags() -> list[str]:
    """Return the arguments of lightning.Trainer, from its source: importing it takes seconds."""
    found = find_spec("lightning")
    for folder in (found and found.submodule_search_locations) or ():
        source = Path(folder) / "pytorch" / "trainer" / "trainer.py"
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and node.name == "Trainer":
                (init,) = (n for n in node.body if getattr(n, "name", None) == "__init__")
                assert isinstance(init, ast.FunctionDef)
                return [argument.arg for argument in init.args.kwonlyargs]
    return []


def _references(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {name for item in value.values() for name in _references(item)}
    if isinstance(value, list):
        return {name for item in value for name in _references(item)}
    return set(_REFERENCE.findall(value)) if isinstance(value, str) else set()
