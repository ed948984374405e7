"""One run on disk: its record, and its per-epoch and per-step tables, read when asked for.

A run counts only when its `record.json` is whole: that file is written last, so a folder without
it is unfinished, and one that cannot be read is reported as damaged instead of guessed at.
"""

import json
import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from optlab.judged_weights import judged_weights

RECORD_FORMAT = 1
STATUSES = ("finished", "diverged", "failed")
EPOCH_COLUMNS = (
    "epoch",
    "step",
    "lr",
    "train/loss",  # mean over the epoch's steps
    "train/accuracy",  # share of the epoch's images, as they came: augmented, weights moving
    "val/loss",
    "val/accuracy",
    "train_time_s",
)
STEP_COLUMNS = ("step", "train/loss", "lr")
_NEEDED = {
    "protocol_version": int,
    "study": str,
    "run_name": str,
    "hash": str,
    "seed": int,
    "config": dict,
    "dataset": dict,
    "model": dict,
    "optimizer": dict,
}
_NAMED = ("dataset", "model", "optimizer")  # each of these needs a "name"
_SPLITS = ("validation", "test", "train")
# or null, or not there
_OBJECTS = (*_SPLITS, "target", "device", "versions", "replica", "own_code")


class DamagedRecord(ValueError):
    """A record.json that cannot be counted; the message says what is wrong with it."""


@dataclass(frozen=True, eq=False)
class Run:
    """One recorded run: `record` as written, curves from the CSV files beside it."""

    folder: Path
    record: dict[str, Any]
    notes: list[str] = field(default_factory=list)  # what was wrong with its curve files

    @property
    def status(self) -> str:
        return str(self.record["status"])

    @property
    def is_finished(self) -> bool:
        return self.status == "finished"

    @property
    def command(self) -> str:
        """The command that repeats the run; a comment where there is none."""
        return str(self.record.get("command") or "# started from Python: no command repeats it")

    @property
    def seed(self) -> int:
        return int(self.record["seed"])

    @property
    def fold(self) -> int:
        """Fold of the cross-validation; 0 where there is none."""
        return int(self.record["config"].get("data", {}).get("fold") or 0)

    @property
    def hash(self) -> str:
        return str(self.record["hash"])

    @property
    def optimizer(self) -> str:
        return str(self.record["optimizer"]["name"])

    @property
    def lr(self) -> float | None:
        """The learning rate that was used, `lr_multiplier` included; None for one without."""
        value = self.record["optimizer"].get("lr")
        return float(value) if isinstance(value, int | float) else None

    @property
    def class_names(self) -> list[str]:
        return [str(name) for name in self.record["dataset"].get("class_names") or []]

    @property
    def checksum(self) -> str:
        """Of the data set's images; empty for a run that failed before it had seen them."""
        return str(self.record["dataset"].get("checksum") or "")

    @property
    def judged_weights(self) -> str:
        """`last`, or with early stopping `best`: the weights that the run is ranked by."""
        return judged_weights(self.record["config"])

    def metric(
        self, split: str, weights: str | None = None, quantity: str = "accuracy"
    ) -> float | None:
        """A recorded metric, or None where the run has none.

        Args:
            split: `train`, `validation` or `test`.
            weights: `best` (best validation) or `last`; None for the judged weights.
            quantity: `accuracy` (a fraction), `loss`, or for validation `epoch` and `step`.
        """
        weights = weights or self.judged_weights
        return _finite(((self.record.get(split) or {}).get(weights) or {}).get(quantity))

    def number(self, key: str) -> float | None:
        """A top-level number of the record (`train_time_s`, `images_per_s`, ...), or None."""
        return _finite(self.record.get(key))

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """epochs.csv; without rows where it is missing or unreadable, which `notes` then says."""
        return self._table("epochs.csv", EPOCH_COLUMNS)

    @cached_property
    def steps(self) -> pd.DataFrame:
        """steps.csv, one row an optimizer step; treated like `epochs`."""
        return self._table("steps.csv", STEP_COLUMNS)

    def _table(self, name: str, columns: tuple[str, ...]) -> pd.DataFrame:
        path = self.folder / name
        empty = pd.DataFrame({column: pd.Series(dtype=float) for column in columns})
        try:
            table = pd.read_csv(path)
            missing = [column for column in columns if column not in table.columns]
            if missing:
                raise ValueError(f"no column {', '.join(missing)}")
            return table[list(columns)].astype(float)
        except FileNotFoundError:
            if not (self.status == "failed" and not self.record.get("num_steps")):
                self.notes.append(f"{name} is missing")
        except (ValueError, OSError) as error:  # ParserError and UnicodeDecodeError are ValueErrors
            self.notes.append(f"{name} cannot be read: {' '.join(str(error).split())}")
        return empty


def read_run(folder: Path) -> Run:
    """The run in a folder.

    Raises:
        FileNotFoundError: no record.json, so the run is unfinished.
        DamagedRecord: the record cannot be read, is incomplete, or is of another format.
    """
    path = folder / "record.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedRecord(f"record.json cannot be read ({error})") from error
    problem = _what_is_wrong(record)
    if problem:
        raise DamagedRecord(f"record.json {problem}")
    return Run(folder, record)


def _what_is_wrong(record: Any) -> str | None:
    if not isinstance(record, dict):
        return "holds no object"
    if record.get("format") != RECORD_FORMAT:
        return f"has format {record.get('format')!r}; this version reads {RECORD_FORMAT}"
    if record.get("status") not in STATUSES:
        return f"has status {record.get('status')!r}; known are {', '.join(STATUSES)}"
    for key, kind in _NEEDED.items():
        if not isinstance(record.get(key), kind) or isinstance(record.get(key), bool):
            return f"has no usable {key!r}"
    for key in _NAMED:
        if not isinstance(record[key].get("name"), str):
            return f"has no name under {key!r}"
    problem = _what_is_misshapen(record)
    if problem:
        return problem
    if record["status"] == "finished":
        for split in ("validation", "test"):
            for weights in ("best", "last"):
                value = _finite(((record.get(split) or {}).get(weights) or {}).get("accuracy"))
                if value is None or not 0 <= value <= 1:
                    return f"is of a finished run, but has no {split} accuracy in 0..1"
    return None


def _what_is_misshapen(record: dict[str, Any]) -> str | None:
    """The first part that readers would look into and cannot, so that none of them has to ask."""
    parts = {key: record[key] for key in _OBJECTS if record.get(key) is not None}
    for key, part in parts.items():
        if not isinstance(part, dict):
            return f"has no usable {key!r}"
    for split in _SPLITS:
        for weights, metrics in parts.get(split, {}).items():
            if metrics is not None and not isinstance(metrics, dict):
                return f"has no usable '{split}.{weights}'"
    data = record["config"].get("data", {})
    if not isinstance(data, dict):
        return "has no usable 'config.data'"
    if not isinstance(data.get("fold"), int | None):
        return "has no usable 'config.data.fold'"
    if not isinstance(record["dataset"].get("class_names"), list | None):
        return "has no usable 'dataset.class_names'"
    return None


def _finite(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
