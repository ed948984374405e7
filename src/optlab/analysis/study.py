"""A study on disk: every run folder below it, sorted into what counts and what does not."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from pathlib import Path

from optlab.analysis.formatting import joined
from optlab.analysis.labels import as_text
from optlab.analysis.published import rows_without_a_figure
from optlab.analysis.records import Run, read_run
from optlab.analysis.rounds import Rounds
from optlab.analysis.tuning import Tuning
from optlab.analysis.workloads import (
    Configuration,
    Workload,
    group_runs,
    mixes_code,
    shared_config,
    workload_key,
)
from optlab.runs.folder import RunFolder, recorded_runs
from optlab.runs.json_fields import DamagedFile
from optlab.runs.record import NoRecord
from optlab.runs.study_file import StudyFile, WinnerRow, read_study_file, study_path

OUTSIDE_THE_TUNING = (
    "next to a tuning only its winners on their fresh seeds count; study=NAME keeps others apart"
)
UNFINISHED_ROUND = "this round of the adaptive sweep has not ended; the same command resumes it"
BEYOND_THE_ROUNDS = (
    "the adaptive sweep's claims are planned for other seeds; study=NAME keeps further ones apart"
)


@dataclass(frozen=True, eq=False)
class Study:
    """All that a study's folder holds.

    `runs` are those with a whole record, tuning trials included; `unfinished` are folders without
    a record; `damaged` pairs a folder with the reason why its record does not count.
    """

    folder: Path
    runs: tuple[Run, ...]
    unfinished: tuple[Path, ...] = ()
    damaged: tuple[tuple[Path, str], ...] = ()
    warnings: tuple[str, ...] = ()  # what every reader must know before the figures
    file: StudyFile = field(default_factory=StudyFile)

    @property
    def name(self) -> str:
        return self.file.study or self.folder.name

    @property
    def title(self) -> str:
        return self.file.title or self.name

    def is_tuned(self, workload: Workload) -> bool:
        """Whether a fair sweep has chosen the configurations of a workload."""
        if self.tuning is None or not self.tuning.winners:
            return self.tuning is not None
        tuned = {workload_key(run) for run in (*self.tuning_runs, *self.fresh_runs)}
        return any(workload_key(run) in tuned for run in workload.runs)

    @cached_property
    def tuning(self) -> Tuning | None:
        """The fair sweeper's trials and winners, where there are any."""
        return Tuning.from_file(self.file)

    @cached_property
    def tuning_runs(self) -> tuple[Run, ...]:
        """Trials on a tuning seed: they choose hyperparameters and are in no final figure."""
        return tuple(run for run in self.runs if self.tuning and run.hash in self.tuning.trials)

    @cached_property
    def fresh_runs(self) -> tuple[Run, ...]:
        """Runs of tuned winners on their fresh seeds."""
        return tuple(run for run in self.runs if self.tuning and run.hash in self.tuning.fresh)

    @cached_property
    def outside_tuning(self) -> tuple[Run, ...]:
        """Runs on a tuned workload that the tuning did not ask for, or no longer asks for.

        Next to tuned runs they would be judged at a learning rate that nobody chose for them, or
        get a second chance. Where no winner has a fresh run (yet), none of a workload's runs is
        outside.
        """
        if self.tuning is None or not self.tuning.winners:
            return ()
        tuned = {workload_key(run) for run in self.fresh_runs}
        asked_for = {run.folder for run in (*self.tuning_runs, *self.fresh_runs)}
        return tuple(
            run for run in self.runs if workload_key(run) in tuned and run.folder not in asked_for
        )

    @cached_property
    def rounds(self) -> Rounds | None:
        """The rounds of the study's adaptive sweeps, where there are any."""
        return Rounds.from_file(self.file)

    @cached_property
    def beyond_rounds(self) -> tuple[tuple[Run, str], ...]:
        """Runs of an adaptive sweep's configurations on further seeds, each with the reason.

        Their claims are planned for the seeds of the rounds; others would be a further look.
        """
        if self.rounds is None:
            return ()
        planned = {
            as_text(shared_config(run)) for run in self.runs if self.rounds.is_planned(run.hash)
        }
        return tuple(
            (run, UNFINISHED_ROUND if self.rounds.is_pending(run.hash) else BEYOND_THE_ROUNDS)
            for run in self.runs
            if as_text(shared_config(run)) in planned and not self.rounds.counts(run.hash)
        )

    @cached_property
    def counted_runs(self) -> tuple[Run, ...]:
        others = {run.folder for run in (*self.tuning_runs, *self.outside_tuning)}
        others |= {run.folder for run, _ in self.beyond_rounds}
        return tuple(run for run in self.runs if run.folder not in others)

    @cached_property
    def workloads(self) -> list[Workload]:
        """The counted runs as comparisons, one for each dataset and network."""
        nuisance, winners = (
            (self.tuning.options, self.tuning.winner_of_run) if self.tuning else ((), {})
        )
        return [
            replace(
                workload,
                configurations=tuple(map(self._as_read, workload.configurations)),
                left_out=(*workload.left_out, *self._outside(workload)),
            )
            for workload in group_runs(self.counted_runs, nuisance, winners)
        ]

    def _as_read(self, configuration: Configuration) -> Configuration:
        """A configuration with what study.json says of its looks and rounds."""
        looks = [row.num_seeds for row in self.file.looks if row.configuration == configuration.key]
        progress = None
        if self.rounds:
            progress = self.rounds.progress(run.hash for run in configuration.runs)
        return replace(
            configuration, looks=frozenset(chain.from_iterable(looks)), progress=progress
        )

    def _outside(self, workload: Workload) -> list[tuple[Run, str]]:
        keys = {workload_key(run) for run in workload.runs}
        outside = [(run, OUTSIDE_THE_TUNING) for run in self.outside_tuning]
        return [
            (run, reason)
            for run, reason in (*outside, *self.beyond_rounds)
            if workload_key(run) in keys
        ]


def read_study(folder: str | Path) -> Study:
    """Read a study's folder; curves are read later, when a figure asks for them.

    Raises:
        ValueError: the folder does not exist, or holds no run at all.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(
            f"there is no study folder {folder}.{_nearby(folder)}\n\n"
            "hint: a study is a folder below outputs/, made by train.py -m optimizer=sgd,adam"
        )
    runs: list[Run] = []
    unfinished: list[Path] = []
    damaged: list[tuple[Path, str]] = []
    first_of_its_kind: dict[str, Path] = {}
    for child in sorted(path for path in folder.iterdir() if path.is_dir()):
        try:
            run = read_run(child)
        except NoRecord:
            if RunFolder(child).has_begun:
                unfinished.append(child)
            continue
        except DamagedFile as error:
            damaged.append((child, error.problem))
            continue
        kind = json.dumps([run.hash, run.record.config], sort_keys=True)
        twin = first_of_its_kind.setdefault(kind, child)
        if twin == child:
            runs.append(run)
        else:  # a copied folder must not count one seed twice
            damaged.append((child, f"is the same run as {twin.name} (hash {run.hash})"))
    _give_copies_one_path(runs)
    file, warnings = StudyFile(), []
    try:
        file = read_study_file(folder)
    except DamagedFile as error:
        damaged.append((error.path, error.problem))
        warnings.append(
            f"{error.problem}. It says which runs are trials of a tuning: if this study has any, "
            "they are among the results below."
        )
    damaged += [(study_path(folder), reason) for reason in rows_without_a_figure(file.published)]
    if not runs and not unfinished and not damaged:
        raise ValueError(
            f"{folder} holds no run.\n\n"
            "hint: name the folder of a study, such as outputs/mnist-mlp, not outputs or one run"
        )
    study = Study(folder, tuple(runs), tuple(unfinished), tuple(damaged), tuple(warnings), file)
    return replace(study, warnings=(*study.warnings, *_edited_since_tuned(study)))


def _give_copies_one_path(runs: Sequence[Run]) -> None:
    """Let runs on copies of one image folder have one path, if possible one that exists.

    The path tells image folders apart (`workload_key`), but one folder has another path on another
    computer, such as where an archive was made.
    """
    copies: dict[str, list[Run]] = {}
    for run in runs:
        if run.record.dataset.name == "image_folder" and "root" in run.data_options:
            copies.setdefault(run.checksum, []).append(run)
    copies.pop("", None)  # runs that failed before they had seen the images
    for same in copies.values():
        paths = [str(run.data_options["root"]) for run in same]
        chosen = next((path for path in dict.fromkeys(paths) if Path(path).is_dir()), paths[0])
        for run in same:
            run.data_options["root"] = chosen


def _edited_since_tuned(study: Study) -> list[str]:
    """A warning where a configuration's trials and its winner's runs are not of one code."""
    if study.tuning is None:
        return []
    runs: dict[str, list[Run]] = {}
    labels = {
        text: study.tuning.label(row)
        for row in (*study.tuning.rows, *study.tuning.winners)
        for text in (row.hash, *(row.runs if isinstance(row, WinnerRow) else ()))
    }
    for run in (*study.tuning_runs, *study.fresh_runs):
        if run.hash in labels:
            runs.setdefault(labels[run.hash], []).append(run)
    edited = sorted(label for label, found in runs.items() if mixes_code(found))
    if not edited:
        return []
    return [
        f"A class was edited between the trials and the runs of {joined(edited)}: its learning "
        "rate was chosen for another version. Repeat the sweep with rerun=true."
    ]


def _nearby(folder: Path) -> str:
    """The studies next to a folder which does not exist, as a sentence."""
    parent = folder.parent
    if not parent.is_dir():
        return ""
    names = sorted({run.parent.name for run in recorded_runs(parent)})
    return f" Next to it there are: {', '.join(names[:12])}." if names else ""
