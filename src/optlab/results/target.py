"""Time to target: when a run's validation accuracy first reached the frozen target.

The clock is training time alone. A run that never reaches the target, or diverges before it, has
missed it: its time is infinite, and it stays in every count and median.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from optlab.results.records import Run


@dataclass(frozen=True)
class Reached:
    """First epoch, step and second of training at the target; infinite for a miss."""

    epoch: float
    step: float
    train_time_s: float

    @property
    def is_miss(self) -> bool:
        return math.isinf(self.epoch)


MISS = Reached(math.inf, math.inf, math.inf)


def target_of(run: Run) -> float | None:
    """The run's target as a fraction; None where its problem has no target."""
    target = run.record.get("target") or {}
    value = target.get("value")
    if target.get("metric") != "val/accuracy" or not isinstance(value, int | float):
        return None
    return float(value)


def time_to_target(run: Run, target: float | None = None) -> Reached | None:
    """When the run reached `target` (default: its own); None without one or without curves."""
    target = target_of(run) if target is None else target
    if target is None:
        return None
    epochs = run.epochs
    if epochs.empty and run.is_finished:
        return None  # its curve is lost: neither reached nor missed can be claimed
    hits = epochs[epochs["val/accuracy"] >= target]
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
    """Share of problems that each optimizer solves within tau times the best one's time.

    Args:
        times: for each optimizer, its time to target on each problem (infinite for a miss); the
            same problems for all.
        max_ratio: the largest tau.

    Returns:
        tau of shape (num_points,) and for each optimizer its share in [0, 1] at every tau.

    Source: Dolan and More 2002; tau up to 4 after Dahl et al. 2023 (AlgoPerf), arXiv:2306.07179.
    """
    problems = sorted(next(iter(times.values())))
    best = {
        problem: min(by_problem[problem] for by_problem in times.values()) for problem in problems
    }
    tau = np.linspace(1.0, max_ratio, num_points)
    profile = {}
    for name, by_problem in times.items():
        ratios = np.array(
            [
                by_problem[problem] / best[problem] if 0 < best[problem] < math.inf else math.inf
                for problem in problems
            ]
        )
        profile[name] = (ratios[None, :] <= tau[:, None] + 1e-9).mean(axis=1)
    return tau, profile
