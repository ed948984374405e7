"""Detect that a user's own classes have changed since a run was trained with them.

A run is recognized by its config, which names classes but holds no code: without this, an edited
optimizer would silently keep its old results. Imports neither torch nor the user's modules.
"""

import hashlib
import sys
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from omegaconf import DictConfig

from optlab.training.environment import targets
from optlab.training.identity import identity

INSTALLED = ("site-packages", "dist-packages")  # what is there has a version of its own


def own_code(config: DictConfig) -> dict[str, str]:
    """Fingerprints of the user's own modules that a run's classes come from, by name.

    For a package, all its Python files count. For a single file, what it imports does not.
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
    """16 hexadecimal digits; None for what is installed, built in or not to be found."""
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
