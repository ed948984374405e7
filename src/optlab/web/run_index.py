"""Index the trained models below outputs/, read again when they change.

Runs are read, checked and ranked as for the report, by `optlab.analysis`: what the report does not
compare does not answer here unless it is asked for by its id. A run counts from the moment its
record.json appears (it is written last), so a model trained while the server runs shows up without
a restart. What clients name, a model id or a study, is only ever looked up in the table made here;
no text of a request becomes part of a path.
"""

import hashlib
import logging
import math
import os
import re
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from optlab.analysis import ConfigurationSummary, Run, read_study, summarize
from optlab.analysis.summary import WorkloadSummary
from optlab.data.image_dataset import Preparation
from optlab.data.preprocessing import PEN_WIDTHS
from optlab.runs.folder import RunFolder
from optlab.runs.study_file import study_path
from optlab.web import schemas
from optlab.web.pictures import first_problem

log = logging.getLogger(__name__)

REPORT = "index.html"
LEADING_FOLDERS = re.compile(r"(?<![\w:/.…])/(?:[^\s/'\",:;]+/)+")  # of an absolute path
MAX_REASON_LENGTH = 240  # characters


class Input(BaseModel):
    """The input of the networks of one study, and the classes that they know."""

    model_config = ConfigDict(frozen=True)

    title: str  # of the data set
    class_names: tuple[str, ...] = Field(min_length=2)
    in_channels: Literal[1, 3]
    image_size: int = Field(ge=4, le=512)  # side, pixels
    preparation: Preparation

    @classmethod
    def of(cls, run: Run) -> "Input":
        """Return the input of a run.

        Raises:
            ValueError: pictures cannot be prepared as its record says.
        """
        dataset = asdict(run.record.dataset)
        try:
            read = cls(**dataset | {"title": dataset["title"] or dataset["name"]})
        except ValidationError as error:
            raise ValueError(f"in its record, dataset.{first_problem(error)}") from error
        for name in ("mean", "std"):
            if len(dataset[name] or ()) != read.in_channels:
                raise ValueError(f"dataset.{name} of its record has another number of channels")
        return read


@dataclass(frozen=True, eq=False)
class Model:
    """A finished run that can be asked."""

    id: str
    run: Run
    input: Input

    @property
    def optimizer(self) -> str:
        return self.run.optimizer


@dataclass(frozen=True, eq=False)
class Study:
    """A workload of a report, as far as its networks read the same input; one or more models."""

    name: str
    folder: Path
    title: str
    input: Input
    rows: tuple[ConfigurationSummary, ...]  # in the order of their rank
    models: tuple[Model, ...]  # of rows, and runs that the report does not compare
    num_others: Mapping[str, int]  # by optimizer: trained runs that it does not compare
    modified_ns: int

    @property
    def reads_drawings(self) -> bool:
        """Whether its networks know drawings; others know pictures from files."""
        return self.input.preparation in PEN_WIDTHS

    @property
    def optimizers(self) -> list[str]:
        """All that were run, also without a result: by rank, then by name."""
        names = [row.configuration.optimizer for row in self.rows]
        return list(dict.fromkeys([*names, *sorted(self.num_others)]))

    @cached_property
    def best(self) -> dict[str, ConfigurationSummary]:
        """For each optimizer with a model its best configuration, as the report ranks them.

        An optimizer may have been run at many learning rates; the best one stands for it.
        """
        best: dict[str, ConfigurationSummary] = {}
        for row in self.rows:
            if row.num_finished:
                best.setdefault(row.configuration.optimizer, row)
        return dict(sorted(best.items()))

    @cached_property
    def answering(self) -> dict[str, tuple[Model, ...]]:
        """For each optimizer the models that answer: all seeds of its best configuration."""
        by_run = {model.run: model for model in self.models}
        found = {
            name: tuple(by_run[run] for run in row.configuration.finished if run in by_run)
            for name, row in self.best.items()
        }
        return {name: models for name, models in found.items() if models}

    def report_files(self) -> dict[str, Path]:
        """The files of its report by name, as they are now; empty without a report."""
        try:
            entries = list((self.folder / "report").iterdir())
        except OSError:
            return {}
        files = {entry.name: entry for entry in entries if entry.is_file()}
        return files if REPORT in files else {}


@dataclass(frozen=True)
class Table:
    """One state of the outputs folder; replaced as a whole, never changed."""

    studies: MappingProxyType[str, Study] = field(default_factory=lambda: MappingProxyType({}))
    unusable: tuple[schemas.Unusable, ...] = ()
    unfinished: tuple[schemas.UnfinishedRun, ...] = ()  # have begun and have no record yet

    @cached_property
    def models(self) -> dict[str, tuple[Model, Study]]:
        """Every model by its id, with its study."""
        return {
            model.id: (model, study) for study in self.studies.values() for model in study.models
        }

    def default_study(self) -> Study | None:
        """Return the newest study that can answer; drawings come before photographs."""
        ready = [study for study in self.studies.values() if study.answering]
        return max(ready, key=lambda s: (s.reads_drawings, s.modified_ns), default=None)


@dataclass(frozen=True)
class _Seen:
    """The state of a study's folder, and what was read from it."""

    modified_ns: Mapping[Path, int]  # of each record, and of study.json
    studies: tuple[Study, ...]
    unusable: tuple[schemas.Unusable, ...]


class RunIndex:
    """The table of models, brought up to date at most every `interval_s` seconds.

    Args:
        outputs: the folder of studies.
        only: the name of a study's folder, where the others are not wanted.
    """

    def __init__(self, outputs: Path, interval_s: float = 1.0, only: str | None = None) -> None:
        self.outputs = outputs
        self.interval_s = interval_s
        self.only = only
        self._table = Table()
        self._seen: dict[Path, _Seen] = {}
        self._looked_at = -math.inf
        self._lock = threading.Lock()

    def table(self) -> Table:
        """Return the current table; look at the folder again if the last look is old.

        Costs a few stats for each run and study. While one thread looks, the others use what is
        known.
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
        seen: dict[Path, _Seen] = {}
        unfinished: list[schemas.UnfinishedRun] = []
        for folder in _folders_in(self.outputs):
            if self.only not in (None, folder.name):
                continue
            runs = [RunFolder(run) for run in _folders_in(folder)]
            files = [*(run.record for run in runs), study_path(folder)]
            modified = {file: ns for file in files if (ns := modified_ns(file)) is not None}
            unfinished += [
                schemas.UnfinishedRun(
                    study=folder.name,
                    run=run.path.name,
                    num_epochs=run.num_epochs_done,
                    training=run.is_locked,
                )
                for run in runs
                if run.record not in modified and run.has_begun
            ]
            old = self._seen.get(folder)
            if old is not None and old.modified_ns == modified:
                seen[folder] = old
            elif modified.keys() - {study_path(folder)}:
                seen[folder] = _read(folder, modified)
        if seen == self._seen and tuple(unfinished) == self._table.unfinished:
            return self._table
        self._seen = seen
        return Table(
            MappingProxyType({one.name: one for each in seen.values() for one in each.studies}),
            tuple(problem for each in seen.values() for problem in each.unusable),
            tuple(unfinished),
        )


def _folders_in(folder: Path) -> list[Path]:
    """Return subfolders in order of name; none if the folder is missing or cannot be read.

    A name that is no UTF-8 could not be sent to any client.
    """
    try:
        return sorted(
            entry for entry in folder.iterdir() if os.path.isdir(entry) and _is_utf8(entry.name)
        )
    except OSError:
        return []


@cache  # logs a folder once and not at every look
def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        log.warning("skipping a folder whose name is not UTF-8: %r", name)
        return False
    return True


def modified_ns(file: Path) -> int | None:
    """Return when a file was last written; None if it does not exist."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return None


def _read(folder: Path, modified: Mapping[Path, int]) -> _Seen:
    """Read a study's folder; without studies if it cannot be read."""
    try:
        recorded = read_study(folder)
    except (OSError, ValueError) as error:
        log.warning("%s is left out: %s", folder, error)
        return _Seen(modified, (), ())
    unusable = [(path, why) for path, why in recorded.damaged if path != study_path(folder)]
    latest_ns = max(modified.values())
    parts = [
        study
        for workload in recorded.workloads
        for study in _studies(folder, summarize(workload), latest_ns, unusable)
    ]
    names, titles = [folder.name], [recorded.title]
    if len(parts) > 1:
        names = _numbered([f"{folder.name} ({part.name})" for part in parts])
        titles = _numbered([f"{recorded.title} ({part.title})" for part in parts])
    studies = tuple(
        replace(part, name=name, title=title)
        for part, name, title in zip(parts, names, titles, strict=False)
    )
    problems = tuple(
        schemas.Unusable(study=folder.name, run=path.name, problem=_in_one_line(path, why))
        for path, why in unusable
        if _is_utf8(path.name)
    )
    return _Seen(modified, studies, problems)


def _numbered(texts: list[str]) -> list[str]:
    """Number repeated texts, from the second on."""
    counts = [texts[:index].count(text) for index, text in enumerate(texts)]
    return [f"{text} #{n + 1}" if n else text for text, n in zip(texts, counts, strict=True)]


def _studies(
    folder: Path, summary: WorkloadSummary, latest_ns: int, unusable: list[tuple[Path, str]]
) -> Iterator[Study]:
    """Yield a study for each input of a workload; add runs that cannot be used to `unusable`."""
    workload = summary.workload
    by_input: dict[Input, list[Run]] = {}
    for run in (*workload.runs, *(run for run, _ in workload.left_out)):
        if run.status != "failed" and _is_utf8(run.folder.name):
            try:
                by_input.setdefault(Input.of(run), []).append(run)
            except ValueError as error:
                unusable.append((run.folder, str(error)))
    if not by_input:
        failed = [run for run in workload.runs if run.status == "failed"]
        unusable += [(run.folder, f"it failed: {run.record.reason}") for run in failed]
    without_input = [
        row for row in summary.rows if all(run.status == "failed" for run in row.configuration.runs)
    ]
    for read, runs in by_input.items():
        rows = [
            row
            for row in summary.rows
            if row in without_input or any(run in runs for run in row.configuration.runs)
        ]
        without_input = []  # counted with the first input
        compared = {run for row in rows for run in row.configuration.runs}
        finished = sorted((run for run in runs if run.is_finished), key=lambda run: run.folder)
        yield Study(
            name=workload.name,
            folder=folder,
            title=workload.title,
            input=read,
            rows=tuple(rows),
            models=tuple(Model(_id(run.folder), run, read) for run in finished),
            num_others=Counter(run.optimizer for run in runs if run not in compared),
            modified_ns=latest_ns,
        )


def _id(folder: Path) -> str:
    """Return the id of a run; the same after it was trained again."""
    return hashlib.sha256(f"{folder.parent.name}/{folder.name}".encode()).hexdigest()[:12]


def _in_one_line(folder: Path, reason: str | None) -> str:
    """Shorten a reason to one line, without paths of this computer."""
    text = (reason or "no reason recorded").replace(str(folder.parents[1].absolute()), "outputs")
    text = LEADING_FOLDERS.sub("…/", text)
    return textwrap.shorten(text, MAX_REASON_LENGTH, placeholder=" ...")


def failure_reason(run: Run) -> str:
    """Return why a run failed, in one line and without paths of this computer."""
    return _in_one_line(run.folder, run.record.reason)
