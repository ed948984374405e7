"""What to run next: the seeds that would decide what a workload leaves open, and what they cost."""

import math
from dataclasses import dataclass

from optlab.analysis.comparisons import MIN_SEEDS
from optlab.analysis.summary import WorkloadSummary


@dataclass(frozen=True)
class NextStep:
    """More seeds for every configuration of a workload.

    Attributes:
        num_seeds: of each configuration, those that it has included.
        override: the option that asks for them.
        reason: what they are for.
        num_runs: that are still to train, trials included where each seed is tuned.
        train_time_s: seconds of training of these runs together, as long as the finished ones
            took; None where no record says it.
    """

    num_seeds: int
    override: str
    reason: str
    num_runs: int
    train_time_s: float | None


def next_step(summary: WorkloadSummary, *, is_tuned: bool = False) -> NextStep | None:
    """Return what would decide more comparisons; None where nothing is open, or too much needed.

    Args:
        summary: of a workload.
        is_tuned: whether a fair sweep has chosen its configurations, and so chooses the seeds.
    """
    if any(row.configuration.progress for row in summary.rows):
        return None  # an adaptive sweep has planned all seeds
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
    num_missing, train_time_s = 0, 0.0
    for row in summary.finished:
        runs = row.configuration.runs
        num_folds = len({run.fold for run in runs})
        missing = max(0, num_seeds - len({run.seed for run in runs})) * num_folds
        missing *= 1 + row.configuration.trials_per_seed
        if missing:
            cost = row.mean(lambda run: run.record.train_time_s)
            train_time_s += missing * (cost.mean if cost else math.nan)
            num_missing += missing
    override = f"hydra.sweeper.seeds={num_seeds}" if is_tuned else f"seed=range({num_seeds})"
    known = None if math.isnan(train_time_s) else train_time_s
    return NextStep(num_seeds, override, reason, num_missing, known)
