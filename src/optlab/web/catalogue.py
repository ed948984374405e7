"""Which trained models there are: the run folders under outputs/, looked at again and again.

A run counts from the moment its record.json appears (it is written last), so a model trained
while the server runs shows up without a restart. The trials of a fair sweep, as the report knows
them, cease to count when study.json names them. What clients name, a model id or a study, is only
ever looked up in the table made here; no text of a request becomes part of a path.
"""

import json
import logging
import math
import os
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import groupby
from pathlib import Path
from statistics import fmean
from types import MappingProxyType
from typing import Any

from optlab.analysis.tuning import Tuning
from optlab.web.preprocessing import PEN_WIDTHS
from optlab.web.record import Dataset
from optlab.web.run import RECORD, Failure, Run, read_run

log = logging.getLogger(__name__)

STUDY = "study.json"
REPORT = "index.html"


@dataclass(frozen=True)
class Study:
    """The runs of one study on one dataset; `runs` are one or more."""

    name: str
    folder: Path
    title: str
    runs: tuple[Run, ...]
    failures: tuple[Failure, ...] = ()
    outside: frozenset[str] = frozenset()  # ids of runs that the report does not compare

    @property
    def dataset(self) -> Dataset:
        return self.runs[0].record.dataset

    @property
    def reads_drawings(self) -> bool:
        """Whether its networks know drawings; others know pictures from files."""
        return self.dataset.preparation in PEN_WIDTHS

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
    def best(self) -> dict[str, tuple[Run, ...]]:
        """For each optimizer that has a model its best configuration: all seeds, diverged ones too.

        An optimizer may have been run at many learning rates; as in the report, the one with the
        best mean validation accuracy stands for it.
        """
        configurations: dict[str, dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
        for run in self.runs:
            if run.id not in self.outside:
                configurations[run.optimizer][run.configuration].append(run)
        trained = {
            optimizer: [runs for runs in alike.values() if any(run.finished for run in runs)]
            for optimizer, alike in configurations.items()
        }
        return {
            optimizer: tuple(max(alike, key=lambda runs: fmean(run.score for run in runs)))
            for optimizer, alike in trained.items()
            if alike
        }

    @cached_property
    def answering(self) -> dict[str, tuple[Run, ...]]:
        """For each optimizer the runs that speak for it: the models of its best configuration."""
        return {
            name: tuple(run for run in runs if run.finished) for name, runs in self.best.items()
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
        return max(ready, key=lambda s: (s.reads_drawings, s.modified_ns), default=None)


class Catalogue:
    """The table of runs, brought up to date at most every `interval_s` seconds."""

    def __init__(self, outputs: Path, interval_s: float = 1.0) -> None:
        self.outputs = outputs
        self.interval_s = interval_s
        self._table = Table()
        self._known: dict[Path, tuple[int, Run | Failure | str]] = {}
        self._studies: dict[Path, int | None] = {}
        self._looked_at = -math.inf
        self._lock = threading.Lock()

    def table(self) -> Table:
        """The current table; looks at the folder again when the last look is old.

        Costs one stat for each run and study. While one thread looks, the others use what is known.
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
        known: dict[Path, tuple[int, Run | Failure | str]] = {}
        for folder in _run_folders(self.outputs):
            modified_ns = _modified_ns(folder / RECORD)
            if modified_ns is None:
                continue  # unfinished, or deleted while we looked
            seen = self._known.get(folder)
            if seen is None or seen[0] != modified_ns:
                seen = (modified_ns, read_run(folder, modified_ns))
            known[folder] = seen
        studies = {study: _modified_ns(study / STUDY) for study in {run.parent for run in known}}
        if (known, studies) == (self._known, self._studies):
            return self._table
        self._known, self._studies = known, studies
        return _table_of({folder: found for folder, (_, found) in known.items()})


def _run_folders(outputs: Path) -> list[Path]:
    """Every outputs/<study>/<run>, in order of name."""
    return [run for study in _folders_in(outputs) for run in _folders_in(study)]


def _folders_in(folder: Path) -> list[Path]:
    """In order of name; none where this one is missing, unreadable or deleted while we look.

    A name that is no UTF-8 could not be told to any client.
    """
    try:
        return sorted(
            entry for entry in folder.iterdir() if os.path.isdir(entry) and _is_utf8(entry.name)
        )
    except OSError:
        return []


@cache  # so that a folder is told of once and not at every look
def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        log.warning("a folder is left out, its name is no UTF-8: %r", name)
        return False
    return True


def _modified_ns(file: Path) -> int | None:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return None


def _table_of(found: Mapping[Path, Run | Failure | str]) -> Table:
    """What was found in each run folder, by study; `found` is in order of name."""
    runs: list[Run] = []
    studies: list[Study] = []
    unreadable: list[tuple[str, str, str]] = []
    for folder, entries in groupby(found.items(), key=lambda entry: entry[0].parent):
        meta = _read_meta(folder / STUDY)
        tuning = _tuning_of(folder, meta)
        inside = {path: one for path, one in entries if not _is_trial(one, tuning)}
        trained = [one for one in inside.values() if isinstance(one, Run)]
        failed = [one for one in inside.values() if isinstance(one, Failure)]
        outside = _outside(trained, tuning)
        here = _studies_of(folder, meta.get("title"), trained, failed, outside)
        counted = {failure.folder for study in here for failure in study.failures}
        runs += trained
        studies += here
        unreadable += [
            (folder.name, p.name, why) for p, why in inside.items() if isinstance(why, str)
        ]
        unreadable += [
            (folder.name, failure.folder.name, f"it failed: {failure.reason}")
            for failure in failed
            if failure.folder not in counted
        ]
    return Table(
        MappingProxyType({run.id: run for run in runs}),
        MappingProxyType({study.name: study for study in studies}),
        tuple(unreadable),
    )


def _read_meta(file: Path) -> dict[str, Any]:
    """What study.json says; nothing where there is none that can be read."""
    try:
        meta = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return meta if isinstance(meta, dict) else {}


def _tuning_of(folder: Path, meta: dict[str, Any]) -> Tuning | None:
    """What the fair sweeper noted, where it tuned."""
    try:
        return Tuning.from_meta(meta.get("tuning"))
    except (TypeError, ValueError) as error:  # one damaged study must not take the others along
        log.warning("trials of %s are not told from runs: %s", folder, error)
        return None


def _is_trial(found: Run | Failure | str, tuning: Tuning | None) -> bool:
    """Whether a run only chose settings; such a run neither answers nor counts."""
    if tuning is None or isinstance(found, str):
        return False
    return tuning.is_trial(found.record.hash)


def _outside(runs: Sequence[Run], tuning: Tuning | None) -> frozenset[str]:
    """Runs that the report leaves out of a comparison.

    Those of an older protocol, and beside a tuning's winners those that nobody chose a rate for.
    """
    newest: dict[tuple[str, str], int] = {}
    tuned: set[tuple[str, str]] = set()
    for run in runs:
        newest[run.problem] = max(newest.get(run.problem, 0), run.record.protocol_version)
    fresh: set[str] = set()
    if tuning is not None and tuning.knows_fresh_runs:
        fresh = {run.id for run in runs if tuning.is_fresh(run.record.hash)}
        tuned = {run.problem for run in runs if run.id in fresh}
    return frozenset(
        run.id
        for run in runs
        if run.record.protocol_version != newest[run.problem]
        or (run.problem in tuned and run.id not in fresh)
    )


def _studies_of(
    folder: Path,
    title: Any,
    runs: Sequence[Run],
    failures: Sequence[Failure],
    outside: frozenset[str],
) -> list[Study]:
    """One for each dataset, where a folder mixes datasets, which never compare.

    A failed run knows its dataset by name alone; it is counted with the first of that name, and
    left over where no run of that dataset has trained.
    """
    datasets: dict[tuple[Any, ...], list[Run]] = defaultdict(list)
    for run in runs:
        dataset = run.record.dataset
        shape = (dataset.in_channels, dataset.image_size, dataset.preparation)
        key = (dataset.name, *shape, *dataset.class_names)
        datasets[key].append(run)
    first_of_name = {key[0]: key for key in reversed(datasets)}
    studies: list[Study] = []
    for key, members in datasets.items():
        name = folder.name if len(datasets) == 1 else f"{folder.name} ({key[0]}, {key[2]} px)"
        alike = sum(study.name.startswith(name) for study in studies)
        name += f" #{alike + 1}" if alike else ""  # image folders of one size, say
        failed = tuple(
            failure for failure in failures if first_of_name.get(failure.record.dataset.name) == key
        )
        shown = title if isinstance(title, str) and title else name
        studies.append(Study(name, folder, shown, tuple(members), failed, outside))
    return studies
