"""How sure we can be: intervals of a mean over seeds, and of a paired difference.

A mean gets Student's t interval. A difference between two configurations is taken seed by seed
(and fold by fold), because runs with one seed share their initial weights and batches, and gets a
bootstrap interval of its mean.

The bootstrap is SciPy's, by percentiles, at a level expanded for small samples after Hesterberg
2015, "What Teachers Should Know About the Bootstrap", arXiv:1411.5279 ("expanded percentile
interval"). With the handful of seeds that a study has, the plain percentile and the BCa interval
are far too short: on five normal pairs they cover the truth about 83 % of the time instead of
95 %, the expanded one about 92 % (a test repeats that count). From five pairs on the interval is
trusted to separate; below, its words say that the pairs are too few.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, stdtrit

CONFIDENCE = 0.95
MIN_PAIRS = 5  # the full range of four covers their median only 1 - 2 / 2**4 = 87.5 % of the time

NUM_RESAMPLES = 9999
# Pairs, and the share of intervals that cover the truth: 4,000 studies of normal differences each
_COVERAGE = ((5, 6, 10, 15), (0.92, 0.93, 0.94, 0.95))


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and its 95 % interval; `low` and `high` are None without one."""

    mean: float
    low: float | None
    high: float | None
    n: int

    @property
    def half_width(self) -> float | None:
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


def mean_interval(
    values: Sequence[float] | np.ndarray, confidence: float = CONFIDENCE
) -> Estimate | None:
    """Mean with Student's t interval; one value has no interval, none gives None."""
    sample = np.asarray(values, dtype=float)
    n = len(sample)
    if n == 0:
        return None
    mean = float(sample.mean())
    if n == 1:
        return Estimate(mean, None, None, 1)
    half = float(half_width_of_mean(sample, confidence))
    return Estimate(mean, mean - half, mean + half, n)


def half_width_of_mean(
    sample: np.ndarray, confidence: float = CONFIDENCE
) -> np.ndarray | np.floating:
    """Half of Student's t interval of the mean over the first axis, which has two values or more.

    Args:
        sample: (n,) for one mean, (n, m) for the means at m points.
    """
    n = len(sample)
    t = float(stdtrit(n - 1, (1 + confidence) / 2))
    return t * sample.std(axis=0, ddof=1) / math.sqrt(n)


def expanded_level(n: int, confidence: float = CONFIDENCE) -> float:
    """Level that makes a percentile interval over n values as wide as `confidence` asks.

    Resampling n values underestimates the spread of their mean by sqrt((n - 1) / n) and knows
    normal, not Student, quantiles; both are made good by Phi(-sqrt(n / (n - 1)) t(n - 1)).
    """
    t = float(stdtrit(n - 1, (1 + confidence) / 2))
    level = 1 - 2 * float(ndtr(-math.sqrt(n / (n - 1)) * t))
    return min(level, 1 - 1e-12)  # SciPy wants a level below one


def bootstrap_interval(
    differences: Sequence[float] | np.ndarray, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Interval of the mean of paired differences; the same numbers give the same interval.

    Raises:
        ValueError: fewer than two differences.
    """
    from scipy.stats import bootstrap  # half a second of imports that one seed never needs

    sample = np.asarray(differences, dtype=float)
    if len(sample) < 2:
        raise ValueError(f"an interval needs two paired differences or more, got {len(sample)}")
    result = bootstrap(
        (sample,),
        np.mean,
        n_resamples=NUM_RESAMPLES,
        confidence_level=expanded_level(len(sample), confidence),
        method="percentile",
        rng=np.random.default_rng(0),
    )
    low, high = result.confidence_interval
    return float(low), float(high)


@dataclass(frozen=True)
class PairedDifference:
    """One configuration minus the best one, in accuracy, seed by seed."""

    differences: tuple[float, ...]
    low: float | None
    high: float | None

    @property
    def num_pairs(self) -> int:
        return len(self.differences)

    @property
    def mean(self) -> float | None:
        return float(np.mean(self.differences)) if self.differences else None

    @property
    def verdict(self) -> str:
        """The outcome in words; a claim only where the interval carries it."""
        if self.low is None or self.high is None:
            return "one pair: no interval" if self.num_pairs else "no seed in common"
        if self.low <= 0 <= self.high:
            return "not separable"
        if self.num_pairs < MIN_PAIRS:
            side = "lower" if self.high < 0 else "higher"
            return f"{side} in the mean, {self.num_pairs} pairs are too few to tell"
        return "lower" if self.high < 0 else "higher"

    @property
    def is_separated(self) -> bool:
        return self.verdict in ("lower", "higher")


def paired_difference(
    ours: Mapping[tuple[int, int], float], best: Mapping[tuple[int, int], float]
) -> PairedDifference:
    """Difference on the (seed, fold) pairs that both have.

    Args:
        ours: accuracy for each (seed, fold) of the configuration in question.
        best: the same of the configuration it is compared with.
    """
    keys = sorted(ours.keys() & best.keys())
    differences = tuple(ours[key] - best[key] for key in keys)
    if len(differences) < 2:
        return PairedDifference(differences, None, None)
    # An end that is exactly 0 in whole images is not always so in floats
    low, high = (round(end, 12) for end in bootstrap_interval(differences))
    return PairedDifference(differences, low, high)


def chance_of_a_false_separation(nums_pairs: Sequence[int]) -> float:
    """Chance that at least one of several independent true zeros is called separable.

    Args:
        nums_pairs: number of pairs of each comparison, MIN_PAIRS or more.
    """
    return float(1 - np.prod(np.interp(nums_pairs, *_COVERAGE)))


def linked_sets(tables: Sequence[Mapping[tuple[int, int], float]]) -> list[list[int]]:
    """Indices of settings that share (seed, fold) pairs, directly or through others, together.

    Args:
        tables: (seed, fold) to value, one table a setting.
    """
    sets: list[tuple[list[int], set[tuple[int, int]]]] = []
    for i, table in enumerate(tables):
        touched = [each for each in sets if each[1] & table.keys()]
        members = [i, *(index for indices, _ in touched for index in indices)]
        pairs = set(table).union(*(pairs for _, pairs in touched))
        sets = [each for each in sets if each not in touched] + [(sorted(members), pairs)]
    return [members for members, _ in sets]


def adjusted_means(tables: Sequence[Mapping[tuple[int, int], float]]) -> list[float]:
    """Means of settings as if each had all (seed, fold) pairs that any of them has.

    Some seeds are easier than others, so plain means over different seeds do not compare. Fits
    `value = setting + pair` by least squares and takes the mean over all pairs: population marginal
    means, Searle, Speed and Milliken 1980, doi:10.1080/00031305.1980.10483031. With the same pairs
    for all, these are the plain means.

    Args:
        tables: (seed, fold) to value, one table a setting; all of them one of `linked_sets`.

    Returns:
        One mean a setting.
    """
    if all(table.keys() == tables[0].keys() for table in tables):
        return [math.fsum(table.values()) / len(table) for table in tables]
    pairs = sorted({pair for table in tables for pair in table})
    cells = [(i, pair, value) for i, table in enumerate(tables) for pair, value in table.items()]
    design = np.zeros((len(cells), len(tables) + len(pairs)))
    for row, (i, pair, _) in enumerate(cells):
        design[row, i] = design[row, len(tables) + pairs.index(pair)] = 1
    fit, *_ = np.linalg.lstsq(design, np.array([value for *_, value in cells]))
    return [float(mean) for mean in fit[: len(tables)] + fit[len(tables) :].mean()]
