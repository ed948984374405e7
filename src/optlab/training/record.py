"""record.json: what a run was and what came of it. Written last and atomically.

A folder without a record is unfinished and never counts. No torch here: a study looks at the
records of its runs before anything heavy is imported.
"""

import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any

from optlab.files import whole_file
from optlab.judged_weights import judged_weights
from optlab.training.identity import resolve_path

RECORD_FORMAT = 1
COMMAND_ID = "OPTLAB_COMMAND"  # the environment variable by which a study's command is known
MARKS = ".commands"  # in a run's folder: the ids of the commands that asked for it
RESULTS = ("finished", "diverged")  # outcomes that training again would only repeat
PACKAGES = ("optlab", "torch", "torchvision", "lightning", "hydra-core", "torchmetrics", "numpy")


class ConfigError(ValueError):
    """A config that contradicts itself. It is reported and not recorded: nothing was started."""


class RunLocked(ValueError):
    """Another process is training the run, and will record it."""


def write_record(run_dir: Path, record: dict[str, Any]) -> None:
    """Writes record.json in one atomic step; a crash leaves the old one or none, never half."""
    write_json(run_dir / "record.json", {"format": RECORD_FORMAT, **record})


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes strict JSON (a number that is not finite becomes null) in one atomic step."""
    with whole_file(path) as partial, partial.open("w") as file:
        json.dump(_finite(content), file, indent=1, allow_nan=False)
        file.flush()
        os.fsync(file.fileno())


def read_record(run_dir: Path) -> dict[str, Any] | None:
    """The record of a run; None where there is none, or none that can be read."""
    record = read_json(run_dir / "record.json")
    return record if record is not None and "status" in record else None


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object from a file; None where there is none, or none that can be read."""
    try:
        content = json.loads(path.read_text())
    except (FileNotFoundError, IsADirectoryError, json.JSONDecodeError, UnicodeDecodeError):
        return None
    return content if isinstance(content, dict) else None


def num_epochs_done(folder: Path) -> int:
    """Epochs of a run that are over, also while it is in training."""
    try:
        return max(0, (folder / "epochs.csv").read_bytes().count(b"\n") - 1)
    except FileNotFoundError:
        return 0


def in_training(folder: Path) -> bool:
    """Whether a process holds the run in a folder."""
    from filelock import FileLock, Timeout  # here: --cfg job asks for no lock

    try:
        with FileLock(folder / ".lock", timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # no such folder, or none that can be written: nobody trains there
        return False


def objective(record: dict[str, Any]) -> float:
    """What a sweeper maximizes: validation accuracy at the judged weights; nan without a result."""
    if record.get("status") != "finished":
        return math.nan
    return float(record["validation"][judged_weights(record["config"])]["accuracy"])


def has_result(record: dict[str, Any] | None) -> bool:
    """Whether there is nothing left to train: the run finished, or diverged as it would again."""
    return record is not None and record["status"] in RESULTS


def describe(record: dict[str, Any]) -> str:
    """One line for people: the outcome of a run."""
    if record["status"] != "finished":
        return f"{record['status']}: {record['reason']}"
    weights = judged_weights(record["config"])
    validation, test = (record[split][weights] for split in ("validation", "test"))
    return (
        f"validation {validation['accuracy']:.2%} ({weights} weights, "
        f"epoch {validation['epoch']}), test {test['accuracy']:.2%}, "
        f"{record['train_time_s']:.1f} s of training"
    )


def is_main_process() -> bool:
    """Whether this process writes: of a run over several devices only the first one does."""
    return all(int(os.environ.get(rank, "0")) == 0 for rank in ("LOCAL_RANK", "NODE_RANK"))


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def mark(folder: Path, command_id: str | None) -> None:
    """Notes in a run's folder that a command asked for it; several may."""
    marks = folder / MARKS
    if command_id and not (marks.is_file() and command_id in marks.read_text().split()):
        folder.mkdir(parents=True, exist_ok=True)
        with marks.open("a") as file:
            file.write(f"{command_id}\n")


def marked_with(outputs: Path, command_id: str) -> list[Path]:
    """The run folders that a command asked for."""
    marks = outputs.glob(f"*/*/{MARKS}")
    return [each.parent for each in marks if command_id in each.read_text().split()]


def targets(config: Any) -> Iterator[str]:
    """Every `_target_` in nested dicts and lists."""
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
    """Versions of Python and of the packages that numbers depend on.

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
    """The commit of the checkout that ran, `-dirty` where it was changed; None outside of git."""
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
    """The processor as it calls itself, where the system says."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(
            line.partition(":")[2].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def peak_memory_gib() -> float:
    """The largest memory that this process has had, GiB."""
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return float(psutil.Process().memory_info().peak_wset) / 2**30
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes on macOS, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
