"""One run folder, read and checked: a run that trained, one that failed, or why it is neither."""

import csv
import hashlib
import json
import logging
import math
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from optlab.judged_weights import judged_weights
from optlab.web.pictures import first_problem
from optlab.web.record import AnyRecord, FailedRecord, Record

log = logging.getLogger(__name__)

RECORD = "record.json"
LEADING_FOLDERS = re.compile(r"(?<![\w:/.…])/(?:[^\s/'\",:;]+/)+")  # of an absolute path
MAX_REASON_LENGTH = 240  # characters


@dataclass(frozen=True)
class Curve:
    """Per epoch; None where a run has no such number (or it was not finite)."""

    epochs: list[int]
    train_loss: list[float | None]
    val_loss: list[float | None]
    val_accuracy: list[float | None]


@dataclass(frozen=True)
class Run:
    """One run that trained: to its end, or until it diverged."""

    id: str
    folder: Path
    modified_ns: int
    record: Record
    curve: Curve

    @property
    def optimizer(self) -> str:
        return self.record.optimizer.name

    @property
    def finished(self) -> bool:
        return self.record.status == "finished"

    @property
    def problem(self) -> tuple[str, str]:
        """Dataset and network: what runs are compared on."""
        return self.record.dataset.name, self.record.model.name

    @property
    def configuration(self) -> str:
        """Everything but seed and fold: runs that differ in nothing else are repetitions."""
        config = {key: value for key, value in self.record.config.items() if key != "seed"}
        if isinstance(config.get("data"), dict):
            config["data"] = {k: v for k, v in config["data"].items() if k != "fold"}
        return json.dumps(config, sort_keys=True, default=str)

    @property
    def score(self) -> float:
        """Validation accuracy; a run that diverged counts as guessing, as in the report."""
        if not self.finished:
            return 1 / len(self.record.dataset.class_names)
        weights = judged_weights(self.record.config)
        judged = getattr(self.record.validation, weights) if self.record.validation else None
        return judged.accuracy if judged and judged.accuracy is not None else 0.0


@dataclass(frozen=True)
class Failure:
    """One run that failed: counted, but there is no network to ask."""

    folder: Path
    record: FailedRecord

    @property
    def optimizer(self) -> str:
        return self.record.optimizer.name

    @property
    def reason(self) -> str:
        """In one line, without where on this computer the runs lie."""
        reason = (self.record.reason or "no reason recorded").replace(
            str(self.folder.parents[1].absolute()), "outputs"
        )
        reason = LEADING_FOLDERS.sub("…/", reason)
        return textwrap.shorten(reason, MAX_REASON_LENGTH, placeholder=" ...")


def read_run(folder: Path, modified_ns: int) -> Run | Failure | str:
    """The run, or in a sentence why its record cannot be used."""
    try:
        record = AnyRecord.validate_json((folder / RECORD).read_bytes())
    except OSError:
        return "its record could not be opened"
    except ValidationError as error:
        return f"its record is not understood ({first_problem(error).rstrip('.')})"
    if isinstance(record, FailedRecord):
        return Failure(folder, record)
    channels = record.dataset.in_channels
    if len(record.dataset.mean) != channels or len(record.dataset.std) != channels:
        return "its record gives a mean and deviation for another number of channels"
    address = f"{folder.parent.name}/{folder.name}"
    return Run(
        id=hashlib.sha256(address.encode()).hexdigest()[:12],
        folder=folder,
        modified_ns=modified_ns,
        record=record,
        curve=_read_curve(folder / "epochs.csv"),
    )


def _read_curve(file: Path) -> Curve:
    """The epochs of a run; empty where it left none."""
    try:
        with file.open(newline="") as handle:
            rows = list(csv.DictReader(handle))
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        log.warning("no curve from %s: %s", file, error)
        rows = []

    def column(name: str) -> list[float | None]:
        return [_number(row.get(name)) for row in rows]

    epochs = [int(value or 0) for value in column("epoch")]
    return Curve(epochs, column("train/loss"), column("val/loss"), column("val/accuracy"))


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
