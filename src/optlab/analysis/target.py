"""Time to target: when a run's validation accuracy first reached the frozen target.

The clock counts training time only. A run that never reaches the target, or diverges before it, has
missed it: its time is infinite, and it stays in every count and median.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from optlab.analysis.records import Run


@dataclass(frozen=True)
class Reached:
    """Epoch, optimizer steps and seconds of training at the first validation at the target.

    All are infinite for a miss.
    """

    epoch: float
    step: float
    train_time_s: float

    @property
    def is_miss(self) -> bool:
        return math.isinf(self.epoch)


MISS = Reached(math.inf, math.inf, math.inf)


def accuracy_target(run: Run) -> float | None:
    """The run's target as a fraction; None where its workload has no target."""
    target = run.record.target or {}
    value = target.get("value")
    if target.get("metric") != "val/accuracy" or not isinstance(value, int | float):
        return None
    return float(value)


def time_to_target(run: Run) -> Reached | None:
    """When the run reached its target; None without a target or curves, and if it failed."""
    if run.status == "failed":
        return None
    target, validations = accuracy_target(run), run.validations
    if target is None or (validations.empty and run.is_finished):
        return None  # a lost curve can claim neither
    hits = validations[validations["val/accuracy"] >= target]
    if hits.empty:
        return MISS
    first = hits.iloc[0]
    return Reached(float(first["epoch"]), float(first["step"]), float(first["train_time_s"]))


def median_with_misses(values: Sequence[float]) -> float | None:
    """Median in which a miss is infinite: finite only if more than half of the runs reached it.

    With an even number the middle two are averaged, so half reached and half missed is a miss.
    """
    return median(values) if values else None


def performance_profile(
    times: Mapping[str, Mapping[str, float]], max_ratio: float = 4.0, num_points: int = 301
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Share of workloads that each optimizer solves within tau times the best one's time.

    Args:
        times: for each optimizer, its time to target on each workload (infinite for a miss); the
            same workloads for all.
        max_ratio: the largest tau.

    Returns:
        tau of shape (num_points,) and for each optimizer its share in [0, 1] at every tau.

    Source: Dolan and More 2002; tau up to 4 after Dahl et al. 2023 (AlgoPerf), arXiv:2306.07179.
    """
    tau = np.linspace(1.0, max_ratio, num_points)
    workloads = sorted(next(iter(times.values())))
    table = np.array([[times[name][workload] for workload in workloads] for name in times])
    best = table.min(axis=0)
    solved = (best > 0) & np.isfinite(best)
    ratios = np.full_like(table, np.inf)
    np.divide(table, best, out=ratios, where=solved)  # (num_optimizers, num_workloads)
    shares = (ratios[:, None, :] <= tau[:, None] + 1e-9).mean(axis=2)
    return tau, dict(zip(times, shares, strict=True))
