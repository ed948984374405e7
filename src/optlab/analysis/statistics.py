"""Student's t interval of a mean over runs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import stdtrit

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and its 95 % interval; `low` and `high` are None without one."""

    mean: float
    low: float | None
    high: float | None
    num_runs: int


def mean_interval(values: Sequence[float] | np.ndarray) -> Estimate | None:
    """Return the mean with Student's t interval. One value has no interval; no value gives None."""
    sample = np.asarray(values, dtype=float)
    n = len(sample)
    if n == 0:
        return None
    mean = float(sample.mean())
    if n == 1:
        return Estimate(mean, None, None, 1)
    half = float(half_width_of_mean(sample))
    return Estimate(mean, mean - half, mean + half, n)


def bounded(estimate: Estimate | None) -> Estimate | None:
    """Cut the interval of a fraction at 0 and 1, which it cannot exceed; loses no coverage."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return estimate
    return replace(estimate, low=max(estimate.low, 0.0), high=min(estimate.high, 1.0))


def half_width_of_mean(sample: np.ndarray) -> np.ndarray | np.floating:
    """Half of Student's t interval of the mean over the first axis, which has two values or more.

    Args:
        sample: (n,) for one mean, (n, m) for the means at m points.
    """
    n = len(sample)
    t = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2))
    return t * sample.std(axis=0, ddof=1) / math.sqrt(n)
