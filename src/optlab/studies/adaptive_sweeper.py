"""The adaptive sweeper: rounds of seeds, in which only undecided configurations continue.

After each round it compares validation results (`analysis.adaptive`), stops configurations that are
clearly worse, and continues with the others until only the best is left or the last round is over.
It works with every launcher, as it only passes lists of overrides and reads the runs' records.

The plan is written to study.json before the first run, and the outcome of each round at its end.
Reports ignore the runs of an unfinished round. The same command resumes an interrupted sweep and
makes the same decisions from the same records.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig

from optlab.analysis.adaptive import decide
from optlab.analysis.formatting import join_first, joined
from optlab.analysis.labels import display_name
from optlab.analysis.rounds import round_levels
from optlab.analysis.study import read_study
from optlab.analysis.workloads import Configuration, Workload
from optlab.runs.folder import RunFolder
from optlab.runs.record import find_record
from optlab.runs.study_file import AdaptiveRows, CandidateRow, StudyFile, edit_study_file
from optlab.studies.grid_sweeper import Compose, compose_seeds, refuse_replicas
from optlab.studies.tuning_rows import read_files, restore_if_not_started
from optlab.training.plan import Plan
from optlab.training.run_id import run_dir, run_hash


@dataclass(eq=False)
class Candidate:
    """One configuration on the command line, and the runs that are planned for it."""

    row: CandidateRow
    study: Path
    folders: list[Path]  # one for each planned seed, in order

    def jobs(self, first_seed: int, seeds: range) -> list[list[str]]:
        """Return the overrides of its runs on the seeds of a round."""
        return [[*self.row.typed, f"seed={first_seed + index}"] for index in seeds]


def sweep(
    parsed: list[Override],
    compose: Compose,
    *,
    launcher: Launcher,
    config: DictConfig,
    rounds: list[int],
    first_seed: int,
) -> list[Sequence[JobReturn]]:
    """Run every configuration on the command line in rounds of seeds.

    Args:
        rounds: cumulative number of seeds per configuration after each round, increasing.
        first_seed: first of the consecutive seeds.

    Raises:
        ValueError: if the plan differs from the study's, the study has tuned winners, or its
            study.json cannot be read.
    """
    plan = AdaptiveRows(rounds, round_levels(len(rounds)), first_seed)
    candidates = _candidates(parsed, compose, plan)
    print(
        f"adaptive sweep: {len(candidates)} configurations, rounds of "
        f"{joined([*map(str, rounds)])} seeds, at most {len(candidates) * rounds[-1]} runs",
        flush=True,
    )
    if config.plan:
        return [_print_plan(candidates, launcher, compose, config.effect, plan)]
    before = read_files(one.study for one in candidates)
    for study, file in before.items():
        _refuse_other_plan(study, file or StudyFile(), plan)
    for study in before:
        members = [one for one in candidates if one.study == study]
        with edit_study_file(study) as file:
            _take_progress(members, file)
            _add_rows(file, members, plan)
    folders = [folder for one in candidates for folder in one.folders]
    returned: list[Sequence[JobReturn]] = []
    continuing, num_seeds = candidates, 0
    for number, total in enumerate(rounds, start=1):
        seeds = range(num_seeds, total)
        jobs = [job for one in continuing for job in one.jobs(first_seed, seeds)]
        with restore_if_not_started(before, folders):
            returned.append(launcher.launch(jobs, initial_job_idx=sum(map(len, returned))))
        missing = [
            folder for one in continuing for folder in one.folders[:total] if _is_open(folder)
        ]
        if missing:
            print(
                f"round {number} is incomplete: another command is training "
                f"{join_first([folder.name for folder in missing])}. Run this command again later "
                "to resume the sweep",
                flush=True,
            )
            break
        continuing = _end_round(continuing, plan, number)
        num_seeds = total
        if not continuing:
            break
    return returned


def _candidates(parsed: list[Override], compose: Compose, plan: AdaptiveRows) -> list[Candidate]:
    seeds = range(plan.first_seed, plan.first_seed + plan.rounds[-1])
    found: dict[Path, Candidate] = {}
    for overrides in BasicSweeper.split_arguments(parsed, max_batch_size=None)[0]:
        refuse_replicas(compose(overrides), "adaptive")
        runs = compose_seeds(compose, overrides, seeds)
        folders = [run_dir(run) for run in runs]
        row = CandidateRow(overrides, [run_hash(run) for run in runs])
        found.setdefault(folders[0], Candidate(row, folders[0].parent, folders))
    return list(found.values())


def _print_plan(
    candidates: Sequence[Candidate],
    launcher: Launcher,
    compose: Compose,
    effect: float | None,
    plan: AdaptiveRows,
) -> Sequence[JobReturn]:
    """Print the first round, and the most runs that the others add."""
    no_effect = ["effect=null"] if effect else []  # which is about all rounds
    first = range(plan.rounds[0])
    jobs = [[*job, *no_effect] for one in candidates for job in one.jobs(plan.first_seed, first)]
    returned = launcher.launch(jobs, initial_job_idx=0)
    most = len(candidates) * (plan.rounds[-1] - plan.rounds[0])
    print(f"this is the first round; later rounds add at most {most} runs, if undecided")
    if effect:
        composed = [compose(one.row.typed) for one in candidates]
        runs = [(each, run_dir(each), "") for each in composed]
        Plan.of(runs).print_seeds_for(effect, 1, "a round of {} in hydra.sweeper.rounds")
    return returned


def _refuse_other_plan(study: Path, file: StudyFile, plan: AdaptiveRows) -> None:
    """Raise ValueError if a round of another plan has ended, or the study has tuned winners."""
    if file.tuning and file.tuning.rows:
        raise ValueError(
            f"{study} has tuned configurations, so reports would ignore an adaptive sweep in it."
            "\n\nhint: run the adaptive sweep in a separate study with study=NAME"
        )
    older = file.adaptive
    if older is None or not any(row.num_rounds for row in older.candidates):
        return
    if (older.rounds, older.first_seed) != (plan.rounds, plan.first_seed):
        raise ValueError(
            f"hydra.sweeper.rounds is {plan.rounds} with first_seed={plan.first_seed}, but {study} "
            f"was planned with {older.rounds} and first_seed={older.first_seed}. A plan cannot "
            "change after its first round.\n\nhint: repeat the command with that plan, or use new "
            "seeds with study=NAME and hydra.sweeper.first_seed"
        )


def _take_progress(candidates: Sequence[Candidate], file: StudyFile) -> None:
    """Keep the candidates' status of an earlier command, until a round decides again."""
    rows = {row.runs[0]: row for row in (file.adaptive.candidates if file.adaptive else [])}
    for one in candidates:
        older = rows.get(one.row.runs[0])
        if older is not None and older.runs == one.row.runs:
            one.row.num_rounds, one.row.status = older.num_rounds, older.status


def _is_open(folder: Path) -> bool:
    """Whether another process is training there; a run that left no record has failed."""
    return find_record(folder) is None and RunFolder(folder).is_locked


def _end_round(continuing: Sequence[Candidate], plan: AdaptiveRows, number: int) -> list[Candidate]:
    """Note that a round is over, and decide unless it is the last one; return the others."""
    for one in continuing:
        one.row.num_rounds, one.row.status = number, "open"
    remaining: list[Candidate] = []
    for folder in dict.fromkeys(one.study for one in continuing):
        members = [one for one in continuing if one.study == folder]
        with edit_study_file(folder) as file:
            _add_rows(file, members, plan)
            if number < len(plan.rounds):
                # As a report would read it now: only the runs of finished rounds count
                for workload in replace(read_study(folder), file=file).workloads:
                    remaining += _decide(workload, members, plan, number)
                for one in members:
                    if one not in remaining and not _has_result(one, plan.rounds[number - 1]):
                        one.row.status = "no result"
    return remaining


def _decide(
    workload: Workload, members: Sequence[Candidate], plan: AdaptiveRows, number: int
) -> list[Candidate]:
    """Note which of a workload's candidates stop; return and print the others."""
    decision = decide(workload)

    def of(configurations: Iterable[Configuration]) -> list[Candidate]:
        hashes = {run.hash for each in configurations for run in each.runs}
        return [one for one in members if not hashes.isdisjoint(one.row.runs)]

    for configuration, status in decision.stopped.items():
        for one in of([configuration]):
            one.row.status = status
    continuing = of(decision.continuing)
    names = {each: display_name(each.label) for each in workload.configurations}
    stopped = [f"{names[each]} ({status})" for each, status in decision.stopped.items()]
    further = [names[each] for each in decision.continuing]
    print(
        f"{workload.name}, round {number} of {len(plan.rounds)}, {plan.rounds[number - 1]} seeds: "
        + (f"{join_first(stopped)} stopped" if stopped else "no configuration is clearly worse")
        + (
            f"; {join_first(further)} continue to {plan.rounds[number]}"
            if continuing
            else "; the sweep is complete"
        ),
        flush=True,
    )
    return continuing


def _has_result(candidate: Candidate, num_seeds: int) -> bool:
    records = map(find_record, candidate.folders[:num_seeds])
    return any(record is not None and record.status == "finished" for record in records)


def _add_rows(file: StudyFile, candidates: Sequence[Candidate], plan: AdaptiveRows) -> None:
    """Add the candidates' rows to those of earlier commands with the same plan."""
    older = file.adaptive
    same = older is not None and (older.rounds, older.first_seed) == (plan.rounds, plan.first_seed)
    rows = {row.runs[0]: row for row in (older.candidates if older and same else [])}
    rows |= {one.row.runs[0]: one.row for one in candidates}
    file.adaptive = replace(plan, candidates=[*rows.values()])
