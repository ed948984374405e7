"""The files in the folder of a run, and the lock of the process that trains it."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

EPOCH_COLUMNS = (
    "epoch",
    "step",
    "lr",
    "train/loss",  # mean over the epoch's steps
    "train/accuracy",  # running accuracy over the epoch, on augmented images
    "val/loss",
    "val/accuracy",
    "train_time_s",
)
STEP_COLUMNS = ("step", "train/loss", "lr")
VALIDATION_COLUMNS = ("epoch", "step", "val/loss", "val/accuracy", "train_time_s")
DIAGNOSTIC_COLUMNS = ("epoch", "step", "quantity", "layer", "value")
LOCK_TIMEOUT_S = 5.0  # a killed process may take a moment to release its lock


_SNAPSHOT = re.compile(r"step-(\d{6,18})\.pt")


class RunLocked(ValueError):
    """Raised if another process is training the run; that process will record it."""


class RunFolder:
    """Paths of the files in a run's folder, `outputs/<study>/<run name>-<hash>`; may not exist."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.record = path / "record.json"  # written last: without it the run is unfinished
        self.steps = path / "steps.csv"  # STEP_COLUMNS
        self.epochs = path / "epochs.csv"  # EPOCH_COLUMNS
        self.validation = path / "validation.csv"  # VALIDATION_COLUMNS; of runs that validate more
        self.checkpoints = path / "checkpoints"
        self.figures = path / "figures"
        self.diagnostics = path / "diagnostics.csv"  # DIAGNOSTIC_COLUMNS; of callbacks=diagnostics
        self.snapshots = path / "snapshots"  # weights during training, with callbacks=snapshots
        # Labels, and what the last and the best weights predict; in archives classes only
        self.test_probabilities = path / "test_probabilities.npz"
        self.test_predictions = path / "test_predictions.npz"
        self.test_mistakes = path / "test_mistakes.npz"  # misclassified test images
        self.log = path / "train.log"
        # Kept by Hydra; not there for replicas and for runs from Python
        self.config = path / ".hydra" / "config.yaml"
        self.hydra = path / ".hydra" / "hydra.yaml"
        self._lock = path / ".lock"
        self._commands = path / ".commands"

    def checkpoint(self, weights: str) -> Path:
        """Return the path of the checkpoint with the `best` or the `last` weights."""
        return self.checkpoints / f"{weights}.ckpt"

    @property
    def snapshot_steps(self) -> list[int]:
        """The optimizer steps that have a snapshot, in order."""
        try:
            names = [file.name for file in self.snapshots.iterdir()]
        except OSError:
            return []
        return sorted(int(found[1]) for name in names if (found := _SNAPSHOT.fullmatch(name)))

    def snapshot(self, step: int) -> Path:
        """Return the path of the weights after `step` optimizer steps."""
        return self.snapshots / snapshot_name(step)

    @property
    def event_files(self) -> list[Path]:
        """The TensorBoard event files of the run."""
        return sorted(self.path.glob("events.out.tfevents.*"))

    @property
    def has_begun(self) -> bool:
        """Whether training has left files. Hydra's do not count: plan=true writes them too."""
        return any(each.exists() for each in (self.checkpoints, self.epochs, self.steps))

    @property
    def num_epochs_done(self) -> int:
        """The number of completed epochs, also during training."""
        try:
            return max(0, self.epochs.read_bytes().count(b"\n") - 1)
        except FileNotFoundError:
            return 0

    @property
    def is_locked(self) -> bool:
        """Whether a process is training here."""
        from filelock import FileLock, Timeout  # imported here, as --cfg job needs no lock

        try:
            with FileLock(self._lock, timeout=0):
                return False
        except Timeout:
            return True
        except OSError:  # no such folder or no permission, so no process trains there
            return False

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the folder; the system unlocks it if the process dies.

        Raises:
            RunLocked: if another process is training there.
        """
        from filelock import FileLock, Timeout

        if not is_main_process():
            yield
            return
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            held = FileLock(self._lock).acquire(timeout=LOCK_TIMEOUT_S)
        except Timeout:
            raise RunLocked(
                f"another process is training {self.path}.\n\n"
                "hint: wait until it has finished, then run the same command to use its result"
            ) from None
        with held:
            yield

    def tag(self, command_id: str | None) -> None:
        """Record the ID of a command that includes this run; there may be several."""
        if command_id and command_id not in self._tags():
            self.path.mkdir(parents=True, exist_ok=True)
            with self._commands.open("a") as file:
                file.write(f"{command_id}\n")

    def _tags(self) -> list[str]:
        return self._commands.read_text().split() if self._commands.is_file() else []


def snapshot_name(step: int) -> str:
    """Return the name of a snapshot's file."""
    return f"step-{step:06d}.pt"


def tagged_with(outputs: Path, command_id: str) -> list[Path]:
    """Return the run folders below `outputs` that a command asked for, in order of name."""
    folders = (path.parent for path in sorted(outputs.glob("*/*/.commands")))
    return [folder for folder in folders if command_id in RunFolder(folder)._tags()]


def recorded_runs(outputs: Path) -> list[Path]:
    """Return the folders below `outputs` that have a record.json, in order of name."""
    return [path.parent for path in sorted(outputs.glob("*/*/record.json"))]


def is_main_process() -> bool:
    """Return whether this process writes files; with several devices only the first one does."""
    return all(int(os.environ.get(rank, "0")) == 0 for rank in ("LOCAL_RANK", "NODE_RANK"))
