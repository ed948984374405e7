"""Which trained models there are: the run folders under outputs/, looked at again and again.

A run counts from the moment its record.json appears (it is written last), so a model trained
while the server runs shows up without a restart. What clients name, a model id or a study, is
only ever looked up in the table made here; no text of a request becomes part of a path.
"""

import csv
import hashlib
import json
import logging
import math
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import fmean
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from optlab.web.pictures import first_problem
from optlab.web.record import Dataset, Record

log = logging.getLogger(__name__)

RECORD = "record.json"
REPORT = "index.html"


@dataclass(frozen=True)
class Curve:
    """Per epoch; None where a run has no such number (or it was not finite)."""

    epochs: list[int]
    train_loss: list[float | None]
    val_loss: list[float | None]
    val_accuracy: list[float | None]


@dataclass(frozen=True)
class Run:
    """One run folder that has a readable record."""

    id: str
    study: str
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
    def configuration(self) -> str:
        """Everything but seed and fold: runs that differ in nothing else are repetitions."""
        config = {key: value for key, value in self.record.config.items() if key != "seed"}
        if isinstance(config.get("data"), dict):
            config["data"] = {k: v for k, v in config["data"].items() if k != "fold"}
        return json.dumps(config, sort_keys=True, default=str)

    @property
    def val_accuracy(self) -> float:
        best = self.record.validation.best if self.record.validation else None
        return best.accuracy if best and best.accuracy is not None else 0.0


@dataclass(frozen=True)
class Study:
    """The runs of one study on one dataset."""

    name: str
    folder: Path
    title: str
    runs: tuple[Run, ...]

    @property
    def dataset(self) -> Dataset:
        return self.runs[0].record.dataset

    @cached_property
    def finished(self) -> tuple[Run, ...]:
        return tuple(run for run in self.runs if run.finished)

    @property
    def modified_ns(self) -> int:
        return max(run.modified_ns for run in self.runs)

    def report_files(self) -> dict[str, Path]:
        """The files of its report by name, as they lie there now; empty without a report."""
        try:
            entries = list((self.folder / "report").iterdir())
        except OSError:
            return {}
        files = {entry.name: entry for entry in entries if entry.is_file()}
        return files if REPORT in files else {}

    @cached_property
    def answering(self) -> dict[str, tuple[Run, ...]]:
        """For each optimizer the runs that speak for it, by optimizer name.

        An optimizer may have been run at many learning rates; the configuration with the best
        mean validation accuracy speaks, with all of its seeds.
        """
        configurations: dict[str, dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
        for run in self.finished:
            configurations[run.optimizer][run.configuration].append(run)
        return {
            optimizer: tuple(
                max(alike.values(), key=lambda runs: fmean(run.val_accuracy for run in runs))
            )
            for optimizer, alike in configurations.items()
        }


@dataclass(frozen=True)
class Table:
    """One state of the outputs folder; replaced as a whole, never changed."""

    runs: MappingProxyType[str, Run] = field(default_factory=lambda: MappingProxyType({}))
    studies: MappingProxyType[str, Study] = field(default_factory=lambda: MappingProxyType({}))
    unreadable: tuple[tuple[str, str, str], ...] = ()  # study, folder, why

    def default_study(self) -> Study | None:
        """The newest that can answer; drawings come before photographs."""
        ready = [study for study in self.studies.values() if study.finished]
        return max(ready, key=lambda s: (s.dataset.in_channels == 1, s.modified_ns), default=None)


class Catalogue:
    """The table of runs, brought up to date at most every `interval_s` seconds."""

    def __init__(self, outputs: Path, interval_s: float = 1.0) -> None:
        self.outputs = outputs
        self.interval_s = interval_s
        self._table = Table()
        self._known: dict[Path, tuple[int, Run | str]] = {}
        self._looked_at = -math.inf
        self._lock = threading.Lock()

    def table(self) -> Table:
        """The current table; looks at the folder again when the last look is old.

        Costs one stat for each run. While one thread looks, the others use what is known.
        """
        if time.monotonic() - self._looked_at < self.interval_s:
            return self._table
        first = self._looked_at == -math.inf
        if self._lock.acquire(blocking=first):
            try:
                self._table = self._look()
                self._looked_at = time.monotonic()
            finally:
                self._lock.release()
        return self._table

    def _look(self) -> Table:
        known: dict[Path, tuple[int, Run | str]] = {}
        for folder in _run_folders(self.outputs):
            try:
                modified_ns = (folder / RECORD).stat().st_mtime_ns
            except OSError:
                continue  # unfinished, or deleted while we looked
            seen = self._known.get(folder)
            if seen is None or seen[0] != modified_ns:
                seen = (modified_ns, _read_run(folder, modified_ns))
            known[folder] = seen
        if known == self._known:
            return self._table
        self._known = known
        runs = [run for _, run in known.values() if isinstance(run, Run)]
        unreadable = tuple(
            (folder.parent.name, folder.name, why)
            for folder, (_, why) in known.items()
            if isinstance(why, str)
        )
        return Table(
            MappingProxyType({run.id: run for run in runs}),
            MappingProxyType({study.name: study for study in _studies_of(runs)}),
            unreadable,
        )


def _run_folders(outputs: Path) -> list[Path]:
    """Every outputs/<study>/<run>, in order of name."""
    try:
        studies = sorted(entry for entry in outputs.iterdir() if entry.is_dir())
        return [run for study in studies for run in sorted(study.iterdir()) if run.is_dir()]
    except OSError:  # no outputs yet, or a study deleted while we looked
        return []


def _read_run(folder: Path, modified_ns: int) -> Run | str:
    """The run, or in a sentence why its record cannot be used."""
    try:
        record = Record.model_validate_json((folder / RECORD).read_bytes())
    except OSError:
        return "its record could not be opened"
    except ValidationError as error:
        return f"its record is not understood ({first_problem(error).rstrip('.')})"
    channels = record.dataset.in_channels
    if len(record.dataset.mean) != channels or len(record.dataset.std) != channels:
        return "its record gives a mean and deviation for another number of channels"
    if 0 in record.dataset.std:
        return "its record gives a standard deviation of zero"
    study = folder.parent.name
    return Run(
        id=hashlib.sha256(f"{study}/{folder.name}".encode()).hexdigest()[:12],
        study=study,
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


def _studies_of(runs: list[Run]) -> list[Study]:
    """Runs by study, and by dataset where a folder mixes datasets, which never compare."""
    folders: dict[str, dict[tuple[Any, ...], list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        dataset = run.record.dataset
        key = (dataset.name, dataset.in_channels, dataset.image_size, *dataset.class_names)
        folders[run.study][key].append(run)
    studies = []
    for name, datasets in folders.items():
        for key, members in datasets.items():
            full_name = name if len(datasets) == 1 else f"{name} ({key[0]}, {key[2]} px)"
            folder = members[0].folder.parent
            title = _title_of(folder) or full_name
            studies.append(Study(full_name, folder, title, tuple(members)))
    return studies


def _title_of(folder: Path) -> str | None:
    """The title that study.json gives, if it gives one."""
    try:
        title = json.loads((folder / "study.json").read_text()).get("title")
    except (OSError, ValueError, AttributeError):
        return None
    return title if isinstance(title, str) and title else None
