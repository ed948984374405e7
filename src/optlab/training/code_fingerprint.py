"""Detect that a user's own classes have changed since a run was trained with them.

A run is identified by its config, which names classes but contains no code. Without fingerprints,
an edited optimizer would silently keep its old results. Imports neither torch nor user modules.
"""

import hashlib
import sys
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from omegaconf import DictConfig

from optlab.training.environment import targets
from optlab.training.run_id import identity

INSTALLED = ("site-packages", "dist-packages")  # installed packages have versions


def own_code(config: DictConfig) -> dict[str, str]:
    """Return the fingerprints of the user's modules that define a run's classes, by module name.

    The fingerprint of a package covers all its Python files, that of a module only its own file.
    """
    names = sorted({target.partition(".")[0] for target in targets(identity(config))})
    return {name: found for name in names if (found := _fingerprint(name))}


def changed_modules(config: DictConfig, then: Mapping[str, str]) -> list[str]:
    """Return the names of modules whose fingerprint differs from `then`, an earlier `own_code`."""
    if not then:  # most runs use no module of the user's
        return []
    return [name for name, now in own_code(config).items() if then.get(name, now) != now]


@cache
def _fingerprint(name: str) -> str | None:
    """Return 16 hexadecimal digits; None for an installed, built-in or missing module."""
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None or name == "optlab" or name in sys.stdlib_module_names:
        return None
    if spec.submodule_search_locations:
        folders = map(Path, spec.submodule_search_locations)
        files = sorted(file for folder in folders for file in folder.rglob("*.py"))
    else:
        files = [Path(spec.origin)] if spec.has_location and spec.origin else []
    if not files or any(place in files[0].parts for place in INSTALLED):
        return None
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
