"""Describe config, command, code and machine of a run for its record. Imports no torch."""

import platform
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from optlab import PROTOCOL_VERSION
from optlab.training.commands import run_command, task_overrides
from optlab.training.run_id import identity, resolve_path, run_hash

PACKAGES = ("optlab", "torch", "torchvision", "lightning", "hydra-core", "torchmetrics", "numpy")


def initial_record_fields(config: DictConfig) -> dict[str, Any]:
    """Return the fields of `RunRecord` that are known before anything is built."""
    config_of_run = identity(config)
    return {
        "protocol_version": PROTOCOL_VERSION,
        "study": str(config.study),
        "run_name": str(config.run_name),
        "hash": run_hash(config),
        "command": run_command(),
        "overrides": task_overrides(),
        "seed": config.seed,
        "config": config_of_run,
        "versions": versions(config_of_run),
        "git_commit": git_commit(),
    }


def now() -> str:
    """Return the current UTC time in ISO 8601 format, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def targets(config: Any) -> Iterator[str]:
    """Yield every `_target_` in nested dicts and lists."""
    if isinstance(config, dict):
        for key, value in config.items():
            if key == "_target_" and value is not None:
                yield str(value)
            else:
                yield from targets(value)
    elif isinstance(config, list):
        for value in config:
            yield from targets(value)


def versions(config: dict[str, Any] | None = None) -> dict[str, str]:
    """Return the versions of Python and of the packages that results depend on.

    Args:
        config: a run's identity; the packages that its `_target_`s come from are included.
    """
    found = {"python": platform.python_version()}
    modules = {target.partition(".")[0] for target in targets(config)} - set(PACKAGES)
    by_module = packages_distributions() if modules else {}  # it reads all installed packages
    used = {package for module in modules for package in by_module.get(module, ())}
    for package in [*PACKAGES, *sorted(used - set(PACKAGES))]:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def git_commit() -> str | None:
    """Return the git commit of the program, with `-dirty` if it has changes; None outside git."""
    asked = ["git", "-C", str(resolve_path(sys.argv[0]).absolute().parent)]
    try:
        commit = subprocess.run(
            [*asked, "describe", "--always", "--dirty", "--abbrev=12", "--match="],
            capture_output=True,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return commit.stdout.strip() or None


def cpu_name() -> str:
    """Return the model name of the processor, or its architecture if the name is unknown."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(
            line.partition(":")[2].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def peak_memory_gib() -> float:
    """Return the peak memory of this process in GiB."""
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return float(psutil.Process().memory_info().peak_wset) / 2**30
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes on macOS, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
