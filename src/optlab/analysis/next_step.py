"""Suggest what to run next: the seeds that would decide open comparisons, and their cost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from optlab.analysis.comparisons import MIN_SEEDS
from optlab.analysis.summary import ConfigurationSummary, WorkloadSummary


@dataclass(frozen=True)
class NextStep:
    """More seeds for configurations of a workload.

    Attributes:
        labels: labels of the configurations.
        num_seeds: number of seeds per configuration, including the seeds it already has.
        overrides: options that add these seeds to the study's command.
        reason: the purpose of these seeds.
        num_runs: number of runs still to train, including trials if each seed is tuned.
        train_time_s: total training time of these runs, estimated from the finished ones; None
            if no record has it.
    """

    labels: tuple[str, ...]
    num_seeds: int
    overrides: tuple[str, ...]
    reason: str
    num_runs: int
    train_time_s: float | None


def next_step(summary: WorkloadSummary, *, is_tuned: bool = False) -> NextStep | None:
    """Return seeds that could decide open comparisons; None if none is open or too many are needed.

    Args:
        summary: summary of a workload.
        is_tuned: whether a fair sweep has chosen its configurations, and so chooses the seeds.
    """
    if any(row.configuration.progress for row in summary.rows):
        return _after_the_rounds(summary)
    differences = [difference for _, difference in summary.compared()]
    needed = [
        each.seeds_needed for each in differences if not each.is_significant and each.seeds_needed
    ]
    most = max((each.num_seeds for each in differences), default=0)
    if any(each.num_seeds < MIN_SEEDS for each in differences):
        num_seeds, reason = MIN_SEEDS, f"fewer than {MIN_SEEDS} seeds make no claim"
    elif needed and min(needed) > most:
        num_seeds = min(needed)
        reason = "they find the largest undecided difference, if it is real, in 80 % of studies"
    else:
        return None
    override = f"hydra.sweeper.seeds={num_seeds}" if is_tuned else f"seed=range({num_seeds})"
    return _step(summary.finished, num_seeds, (override,), reason)


def _after_the_rounds(summary: WorkloadSummary) -> NextStep | None:
    """Return new seeds for what the last round of an adaptive sweep has left undecided.

    More seeds in the same study would be a look that its rounds have not planned.
    """
    undecided = {
        row: difference.seeds_needed
        for row, difference in summary.compared()
        if (progress := row.configuration.progress) is not None
        and progress.is_open
        and progress.num_rounds == len(progress.rounds)
        and not difference.is_significant
        and difference.seeds_needed
    }
    if summary.best is None or not undecided:
        return None
    rows = (summary.best, *undecided)
    num_seeds = max(MIN_SEEDS, min(undecided.values()))
    first = 1 + max(run.seed for row in rows for run in row.configuration.runs)
    overrides = (
        "study=NAME",
        f"hydra.sweeper.first_seed={first}",
        f"hydra.sweeper.rounds=[{num_seeds}]",
    )
    reason = (
        "only for the configurations that are undecided after the last round, in a study of their "
        "own: these seeds find the largest of the differences, if it is real, in 80 % of studies"
    )
    return _step(rows, num_seeds, overrides, reason, first_seed=first)


def _step(
    rows: Sequence[ConfigurationSummary],
    num_seeds: int,
    overrides: tuple[str, ...],
    reason: str,
    *,
    first_seed: int = 0,
) -> NextStep:
    """Return the step with its cost; runs on seeds below `first_seed` do not count for it."""
    num_missing, train_time_s = 0, 0.0
    for row in rows:
        runs = row.configuration.runs
        num_folds = len({run.fold for run in runs})
        seeds = {run.seed for run in runs if run.seed >= first_seed}
        missing = max(0, num_seeds - len(seeds)) * num_folds
        missing *= 1 + row.configuration.trials_per_seed
        if missing:
            cost = row.mean_of_record("train_time_s")
            train_time_s += missing * (math.nan if cost is None else cost)
            num_missing += missing
    known = None if math.isnan(train_time_s) else train_time_s
    labels = tuple(row.label for row in rows)
    return NextStep(labels, num_seeds, overrides, reason, num_missing, known)
