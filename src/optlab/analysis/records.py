"""One run on disk: its record, and its per-epoch and per-step tables, read when asked for."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from optlab.runs.folder import EPOCH_COLUMNS, STEP_COLUMNS, VALIDATION_COLUMNS, RunFolder
from optlab.runs.json_fields import DamagedFile
from optlab.runs.record import RunRecord, read_record


@dataclass(frozen=True, eq=False)
class Run:
    """One recorded run: `record`, and curves from the CSV files next to it.

    The record is as written, except that `read_study` gives copies of an image folder one path.
    """

    folder: Path
    record: RunRecord
    notes: list[str] = field(default_factory=list)  # what was wrong with its curve files

    @property
    def status(self) -> str:
        return self.record.status

    @property
    def is_finished(self) -> bool:
        return self.record.status == "finished"

    @property
    def command(self) -> str:
        """The command that repeats the run; a comment where there is none."""
        return self.record.command or "# started from Python: no command repeats it"

    @property
    def seed(self) -> int:
        return self.record.seed

    @property
    def fold(self) -> int:
        """Fold of the cross-validation; 0 where there is none."""
        fold = self.data_options.get("fold")
        return fold if isinstance(fold, int) else 0

    @property
    def data_options(self) -> dict[str, Any]:
        """The options of the data set; empty where the config has none."""
        data = self.record.config.get("data")
        return data if isinstance(data, dict) else {}

    @property
    def hash(self) -> str:
        return self.record.hash

    @property
    def optimizer(self) -> str:
        return self.record.optimizer.name

    @property
    def lr(self) -> float | None:
        """The learning rate that was used, `lr_multiplier` included; None for one without."""
        return self.record.optimizer.lr

    @property
    def class_names(self) -> list[str]:
        return self.record.dataset.class_names

    @property
    def checksum(self) -> str:
        """Checksum of the data set's images; empty for a run that failed before it read them."""
        return self.record.dataset.checksum or ""

    @property
    def judged_weights(self) -> str:
        """`last`, or with early stopping `best`."""
        return self.record.judged_weights

    def metric(
        self, split: str, weights: str | None = None, quantity: str = "accuracy"
    ) -> float | None:
        """A recorded metric, or None; see `RunRecord.metric`."""
        return self.record.metric(split, weights, quantity)

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """epochs.csv; without rows where it is missing or unreadable, which `notes` then says."""
        return self._table(RunFolder(self.folder).epochs, EPOCH_COLUMNS)

    @cached_property
    def validations(self) -> pd.DataFrame:
        """Every validation by step: validation.csv where the run has it, else that of epochs.csv.

        Columns are `epoch` (from 1), `step`, `val/loss`, `val/accuracy` and `train_time_s`.
        """
        path = RunFolder(self.folder).validation
        if path.is_file():
            return self._table(path, VALIDATION_COLUMNS)
        return self.epochs[list(VALIDATION_COLUMNS)]

    @cached_property
    def steps(self) -> pd.DataFrame:
        """steps.csv, one row an optimizer step; treated like `epochs`."""
        return self._table(RunFolder(self.folder).steps, STEP_COLUMNS)

    def _table(self, path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
        empty = pd.DataFrame({column: pd.Series(dtype=float) for column in columns})
        try:
            table = pd.read_csv(path)
            missing = [column for column in columns if column not in table.columns]
            if missing:
                raise ValueError(f"no column {', '.join(missing)}")
            return table[list(columns)].astype(float)
        except FileNotFoundError:
            if not (self.status == "failed" and not self.record.num_steps):
                self.notes.append(f"{path.name} is missing")
        except (ValueError, OSError) as error:  # ParserError and UnicodeDecodeError are ValueErrors
            self.notes.append(f"{path.name} cannot be read: {' '.join(str(error).split())}")
        return empty


def read_run(folder: Path) -> Run:
    """Read the run in a folder.

    Raises:
        NoRecord: there is no record.json, so the run is unfinished.
        DamagedFile: the record cannot be read, or an accuracy is no fraction.
    """
    run = Run(folder, read_record(folder))
    for split in ("validation", "test"):
        for weights in ("best", "last"):
            accuracy = run.metric(split, weights)
            if accuracy is not None and not 0 <= accuracy <= 1:
                raise DamagedFile(
                    RunFolder(folder).record,
                    f"has {split}.{weights}.accuracy {accuracy:g}, which is not in 0..1",
                    "log a fraction, and train the run again with rerun=true",
                )
    return run
