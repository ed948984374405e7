"""record.json: the config, status and results of a run. Written last and atomically."""

import math
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Literal

from optlab.files import write_json
from optlab.judged_weights import judged_weights
from optlab.runs.folder import RunFolder
from optlab.runs.json_fields import DamagedFile, read_fields

RECORD_FORMAT = 1
Status = Literal["finished", "diverged", "failed"]

HINT = "train the run again with rerun=true"


class NoRecord(ValueError):
    """Raised for a folder without a record: an unfinished run, or no run at all."""


@dataclass
class Metrics:
    """Metrics of one split with one set of weights."""

    loss: float | None = None  # mean cross-entropy in nats per image
    accuracy: float | None = None  # a fraction


@dataclass
class EpochMetrics(Metrics):
    """Metrics of the validation after an epoch."""

    epoch: int | None = None  # from 1
    step: int | None = None  # optimizer steps until then


@dataclass
class Evaluation:
    """Metrics with the weights of the best epoch by validation, and with the last weights."""

    best: Metrics | None = None
    last: Metrics | None = None


@dataclass
class Validation:
    """Validation results of the best epoch and of the last one."""

    best: EpochMetrics
    last: EpochMetrics


@dataclass
class DatasetFacts:
    """The data set. A run that failed before loading it has only `name` and `title`."""

    name: str
    title: str | None = None
    checksum: str | None = None  # of all images and labels
    num_train: int | None = None  # images
    num_val: int | None = None
    num_test: int | None = None
    class_names: list[str] = field(default_factory=list)
    in_channels: int | None = None
    image_size: int | None = None  # side of the network's input, pixels
    preparation: str | None = None  # how the web page turns a drawing into an input
    mean: list[float] | None = None  # per channel, to normalize pixels in [0, 1]
    std: list[float] | None = None


@dataclass
class ModelFacts:
    """The network. `target` and `kwargs` build it again."""

    name: str
    target: str | None = None  # dotted path of the class
    kwargs: dict[str, Any] = field(default_factory=dict)
    source: dict[str, Any] | None = None  # target and kwargs of the pretrained network, if any
    num_parameters: int | None = None
    num_trainable_parameters: int | None = None
    num_buffer_elements: int | None = None


@dataclass
class OptimizerFacts:
    """The optimizer; all of its options are in the record's `config`."""

    name: str
    target: str | None = None
    lr: float | None = None  # including lr_multiplier


@dataclass
class Device:
    """The device that a run was trained on."""

    type: str | None = None  # cpu, cuda or mps
    name: str | None = None
    num_threads: int | None = None
    num_devices: int = 1


@dataclass
class Replica:
    """How a run was trained together with other seeds, as one stacked network."""

    of: int = 1  # seeds trained together; each records its share of their common time
    equality: str | None = None  # in what sense its results equal those of a single run


@dataclass
class RunRecord:
    """All fields of record.json. Fields that a diverged or failed run did not reach are None."""

    protocol_version: int
    status: Status
    study: str
    run_name: str
    hash: str  # of all options that can change a result
    seed: int
    config: dict[str, Any]  # what the hash covers
    dataset: DatasetFacts
    model: ModelFacts
    optimizer: OptimizerFacts
    reason: str | None = None  # why there is no result
    command: str | None = None  # command to repeat the run; None if started from Python
    overrides: list[str] = field(default_factory=list)
    own_code: dict[str, str] = field(default_factory=dict)  # fingerprints of the user's modules
    validation: Validation | None = None
    train: Evaluation | None = None
    test: Evaluation | None = None
    confusion_matrix: list[list[int]] | None = None  # test images; rows: true, columns: predicted
    target: dict[str, Any] | None = None  # metric, value, origin
    num_epochs: int | None = None
    num_steps: int | None = None  # optimizer steps
    train_time_s: float | None = None  # without evaluation, logging and compiling
    wall_time_s: float | None = None
    batch_norm_time_s: float | None = None  # None where no statistics were recomputed
    images_per_s: float | None = None
    peak_memory_gib: float | None = None
    optimizer_share: float | None = None  # fraction of a step's time, without forward and backward
    evaluations_per_step: float | None = None  # forward and backward passes
    optimizer_state_bytes: int | None = None
    device: Device | None = None
    replica: Replica | None = None
    versions: dict[str, str] = field(default_factory=dict)
    git_commit: str | None = None
    started_at: str | None = None  # UTC, ISO 8601
    finished_at: str | None = None
    format: int = RECORD_FORMAT

    @property
    def has_result(self) -> bool:
        """Whether nothing is left to train: it finished, or it diverged and would do so again."""
        return self.status in ("finished", "diverged")

    @property
    def judged_weights(self) -> str:
        """`last`, or `best` with early stopping: the weights that the run is ranked by."""
        return judged_weights(self.config)

    @property
    def objective(self) -> float:
        """The value that sweepers maximize: validation accuracy at the judged weights, or nan."""
        accuracy = self.metric("validation")
        return accuracy if self.status == "finished" and accuracy is not None else math.nan

    @property
    def outcome(self) -> str:
        """The outcome in one line."""
        if self.status != "finished":
            return f"{self.status}: {self.reason}"
        validation, test = (
            "none" if value is None else f"{value:.2%}"
            for value in map(self.metric, ("validation", "test"))
        )
        epoch = self.metric("validation", quantity="epoch")
        return (
            f"validation {validation} ({self.judged_weights} weights, epoch {epoch}), test {test}, "
            f"{self.train_time_s or 0.0:.1f} s of training"
        )

    def metric(
        self, split: str, weights: str | None = None, quantity: str = "accuracy"
    ) -> float | None:
        """Return a metric, or None if the run has none.

        Args:
            split: `train`, `validation` or `test`.
            weights: `best` (best validation) or `last`; None for the judged weights.
            quantity: `accuracy` or `loss`; for validation also `epoch` and `step`.
        """
        metrics = getattr(getattr(self, split), weights or self.judged_weights, None)
        value: float | None = getattr(metrics, quantity, None)
        return value


def write_record(folder: Path, record: RunRecord) -> None:
    """Write record.json atomically, so that a crash never leaves a partial file."""
    write_json(RunFolder(folder).record, asdict(record))


def read_record(folder: Path) -> RunRecord:
    """Read the record of the run in a folder.

    Raises:
        NoRecord: if the folder does not exist or has no record.
        DamagedFile: if the record cannot be read, a field is missing or has the wrong type, or the
            format has another version.
    """
    files = RunFolder(folder)
    try:
        record = read_fields(files.record, RunRecord, version=RECORD_FORMAT, hint=HINT)
    except FileNotFoundError as error:
        raise _no_record(files) from error
    if record.status == "finished":
        for split, weights in product(("validation", "test"), ("best", "last")):
            if record.metric(split, weights) is None:
                problem = f"belongs to a finished run, but has no {split}.{weights}.accuracy"
                raise DamagedFile(files.record, problem, HINT)
    return record


def find_record(folder: Path) -> RunRecord | None:
    """Read the record of the run in a folder; None if there is none, or a damaged one.

    Raises:
        OSError: if the file cannot be read; the run may be fine.
    """
    try:
        return read_record(folder)
    except NoRecord:
        return None
    except DamagedFile as error:
        if isinstance(error.__cause__, OSError):
            raise error.__cause__ from None
        return None


def _no_record(files: RunFolder) -> NoRecord:
    if not files.path.is_dir():
        problem, hint = "is not a folder", "use the folder outputs/<study>/<run name>-<hash>"
    elif files.has_begun:
        problem = "is unfinished: it has no record.json yet"
        hint = "run its command again to resume where it stopped"
    else:
        problem, hint = "is not a run: it has no record.json", "use the folder of a run"
    return NoRecord(f"{files.path} {problem}.\n\nhint: {hint}")
