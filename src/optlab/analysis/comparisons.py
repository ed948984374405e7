"""Claims about differences between configurations, with a controlled error.

Every configuration is compared with the reference, the one that validation ranks first
(`compare`), or with every other one (`compare_all`). A difference is taken seed by seed, because
runs with one seed share their initial weights and their batches. Only seeds are counted: the folds
of a seed share most of their training images, so they are averaged first.

Three corrections keep the stated error:

- Five seeds estimate a variance badly. Each variance of a difference is shrunk towards the median
  over all pairs of configurations, which adds `PRIOR_DF` degrees of freedom. This is the
  moderated t statistic of Smyth 2004, doi:10.2202/1544-6115.1027, equations 1 to 3.
- p-values are adjusted for all comparisons of the table (Holm 1979, https://jstor.org/stable/4615733).
- Intervals hold for all comparisons at once (Dunnett 1955, doi:10.1080/01621459.1955.10501294).

A comparison that is read several times while seeds are added gets only a part of the error rate
each time, its level (`analysis.looks`). Its p-value is multiplied by `ERROR_RATE` / level before
Holm's procedure, and its interval has the confidence level 1 - level.

`scripts/calibrate.py` measures the error rates in simulated studies; see docs/protocol.md.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations, pairwise

import numpy as np
from scipy.special import stdtr, stdtrit

ERROR_RATE = 0.05  # of a whole table of comparisons, and of an interval
POWER = 0.8
PRIOR_DF = 4.0  # degrees of freedom that the median variance counts for
MIN_SEEDS = 5  # fewer seeds make no claim: rounded accuracies often agree by chance
MAX_SEEDS = 10_000  # seeds_needed looks no further

Table = Mapping[tuple[int, int], float]  # (seed, fold) to accuracy
_BySeed = Mapping[int, Mapping[int, float]]  # seed to fold to accuracy


@dataclass(frozen=True)
class Difference:
    """The accuracy of one configuration minus that of another, such as the reference.

    Attributes:
        differences: one per common seed, averaged over folds.
        deviation: moderated standard deviation of one difference. With fewer than two seeds it is
            None, and so are the degrees of freedom, the interval and the p-value.
        degrees_of_freedom: of that deviation.
        low, high: simultaneous interval of the mean difference at confidence level 1 - `level`.
        p_value: adjusted for the level and for all comparisons of the table.
        num_comparisons: number of comparisons in the table.
        level: share of the error rate that this comparison has.
        next_level: the share that it has with more seeds.
    """

    differences: tuple[float, ...]
    deviation: float | None = None
    degrees_of_freedom: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    num_comparisons: int = 1
    level: float = ERROR_RATE
    next_level: float = ERROR_RATE

    @property
    def num_seeds(self) -> int:
        return len(self.differences)

    @property
    def mean(self) -> float | None:
        return float(np.mean(self.differences)) if self.differences else None

    @property
    def is_significant(self) -> bool:
        """Whether a claim is made; a table has a false claim with probability <= `ERROR_RATE`."""
        enough = self.num_seeds >= MIN_SEEDS
        return enough and self.p_value is not None and self.p_value < ERROR_RATE

    @property
    def conclusion(self) -> str:
        """The outcome in words."""
        if not self.differences:
            return "no seed in common"
        if self.num_seeds < MIN_SEEDS:
            return "too few seeds"
        if not self.is_significant:
            return "no significant difference"
        return "lower" if (self.mean or 0) < 0 else "higher"

    @property
    def confidence(self) -> str:
        """The confidence level of the interval, such as `95 %`."""
        return f"{100 * (1 - self.level):.4g} %"

    @property
    def flipped(self) -> "Difference":
        """The same with the two configurations exchanged."""
        return replace(
            self,
            differences=tuple(-difference for difference in self.differences),
            low=None if self.high is None else -self.high,
            high=None if self.low is None else -self.low,
        )

    @property
    def detectable(self) -> float | None:
        """Difference that these seeds, at least `MIN_SEEDS`, would find with a power of 80 %."""
        return self.detectable_with(POWER)

    def detectable_with(self, power: float) -> float | None:
        """Return `detectable` for another power; None with fewer than two seeds."""
        if self.deviation is None or self.degrees_of_freedom is None:
            return None
        num_seeds = max(self.num_seeds, MIN_SEEDS)
        df = self.degrees_of_freedom - self.num_seeds + num_seeds
        quantile = _bonferroni_quantile(self.num_comparisons, df, self.level)
        return _detectable(self.deviation, num_seeds, df, quantile, power)

    @property
    def seeds_needed(self) -> int | None:
        """Seeds that would find a true difference of the observed size with a power of 80 %.

        None where no difference was observed, or more than `MAX_SEEDS` would be needed.
        """
        deviation, df, mean = self.deviation, self.degrees_of_freedom, self.mean
        if deviation is None or df is None or not mean:
            return None
        return seeds_to_find(
            abs(mean), deviation, df - self.num_seeds, self.num_comparisons, self.next_level
        )


def compare(
    reference: Table, others: Sequence[Table], levels: Sequence[float] | None = None
) -> list[Difference]:
    """Compare configurations with the reference; return one difference for each, in order.

    Args:
        reference: accuracy of each (seed, fold) of the configuration that validation ranks first.
        others: the same of all configurations that are compared with it.
        levels: the share of the error rate of each comparison; None: all of it.
    """
    tables = [_by_seed(table) for table in (reference, *others)]
    paired = [_paired(table, tables[0]) for table in tables[1:]]
    return _differences(paired, tables, simultaneous_quantile, levels)


def compare_all(
    tables: Sequence[Table], levels: Mapping[tuple[int, int], float] | None = None
) -> dict[tuple[int, int], Difference]:
    """Compare every pair of configurations, adjusted for all pairs.

    Args:
        tables: accuracy of each (seed, fold), of each configuration.
        levels: by (i, j) with i < j, the share of the error rate of a pair; None: all of it.

    Returns:
        By (i, j) with i < j, the difference of table i minus table j.
    """
    by_seed = [_by_seed(table) for table in tables]
    pairs = list(combinations(range(len(tables)), 2))
    paired = [_paired(by_seed[i], by_seed[j]) for i, j in pairs]
    pair_levels = None if levels is None else [levels[pair] for pair in pairs]
    differences = _differences(paired, by_seed, _bonferroni_quantile, pair_levels)
    return dict(zip(pairs, differences, strict=True))


def num_common_seeds(ours: Table, theirs: Table) -> int:
    """Return how many seeds two configurations have in common, in folds that both have."""
    return len({seed for seed, _ in ours.keys() & theirs.keys()})


def seeds_to_find(
    difference: float,
    deviation: float,
    further_df: float,
    num_comparisons: int,
    level: float = ERROR_RATE,
) -> int | None:
    """Return how many seeds find a true difference with a power of 80 %, at least `MIN_SEEDS`.

    Args:
        difference: in the unit of `deviation`, above 0.
        deviation: standard deviation of the difference of one seed.
        further_df: degrees of freedom of that deviation, beyond the number of seeds.
        num_comparisons: number of comparisons that p-values are adjusted for.
        level: the share of the error rate that the comparison has.

    Returns:
        None where more than `MAX_SEEDS` would be needed.
    """

    def is_found(num_seeds: int) -> bool:
        df = num_seeds + further_df
        quantile = _bonferroni_quantile(num_comparisons, df, level)
        return _detectable(deviation, num_seeds, df, quantile, POWER) <= difference

    sizes = range(MIN_SEEDS, MAX_SEEDS + 1)
    index = bisect_left(sizes, True, key=is_found)  # more seeds find whatever fewer find
    return sizes[index] if index < len(sizes) else None


def prior_df(num_variances: int) -> float:
    """Return the degrees of freedom that the median of `num_variances` counts for."""
    return min(PRIOR_DF, max(0, num_variances - 1))  # one variance says nothing about itself


def _differences(
    paired: Sequence[tuple[float, ...]],
    tables: Sequence[_BySeed],
    quantile: Callable[[int, float, float], float],
    levels: Sequence[float] | None,
) -> list[Difference]:
    """Return a difference for each of `paired`, moderated by the variances of all pairs."""
    every_pair = [_paired(a, b) for a, b in combinations(tables, 2)]
    variances = [np.var(each, ddof=1) for each in every_pair if len(each) >= 2]
    prior = float(np.median(variances)) if variances else 0.0
    further_df = prior_df(len(variances))
    floor = _rounding_variance(tables)
    num_comparisons = sum(len(each) >= 2 for each in paired)

    found = []
    for each, level in zip(paired, levels or [ERROR_RATE] * len(paired), strict=True):
        n = len(each)
        if n < 2:
            found.append(Difference(each, level=level))
            continue
        df = n - 1 + further_df
        moderated = ((n - 1) * float(np.var(each, ddof=1)) + further_df * prior) / df
        variance = max(moderated, floor)
        mean, error = float(np.mean(each)), math.sqrt(variance / n)
        half_width = quantile(num_comparisons, df, level) * error
        p_value = 2 * float(stdtr(df, -abs(mean) / error)) if error else 1.0
        found.append(
            Difference(
                each,
                deviation=math.sqrt(variance),
                degrees_of_freedom=df,
                low=mean - half_width,
                high=mean + half_width,
                p_value=min(1.0, p_value * ERROR_RATE / level),
                num_comparisons=num_comparisons,
                level=level,
            )
        )
    adjusted = holm([each.p_value for each in found])
    return [replace(each, p_value=p) for each, p in zip(found, adjusted, strict=True)]


@cache
def simultaneous_quantile(num_comparisons: int, df: float, level: float = ERROR_RATE) -> float:
    """Return the half width, in standard errors, of intervals that hold together at 1 - `level`.

    This is Dunnett's two-sided quantile. Differences from one reference have correlation 1/2.
    """
    if num_comparisons == 1:
        return float(stdtrit(df, 1 - level / 2))
    from scipy.optimize import brentq  # slow to import, and one comparison never needs them
    from scipy.stats import multivariate_t

    correlation = np.full((num_comparisons, num_comparisons), 0.5)
    np.fill_diagonal(correlation, 1)

    def excess(quantile: float) -> float:
        bounds = np.full(num_comparisons, quantile)
        inside = multivariate_t.cdf(
            bounds, shape=correlation, df=df, lower_limit=-bounds, random_state=0
        )
        return float(inside - (1 - level))

    single = float(stdtrit(df, 1 - level / 2))
    widest = 1.01 * _bonferroni_quantile(num_comparisons, df, level)
    return float(brentq(excess, single, widest, xtol=1e-3))


def _bonferroni_quantile(num_comparisons: int, df: float, level: float) -> float:
    return float(stdtrit(df, 1 - level / (2 * num_comparisons)))


def _detectable(
    deviation: float, num_seeds: int, df: float, quantile: float, power: float
) -> float:
    return (quantile + float(stdtrit(df, power))) * deviation / math.sqrt(num_seeds)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return Holm's adjusted p-values (Holm 1979); None, for no comparison, stays None."""
    order = sorted(
        (index for index, p_value in enumerate(p_values) if p_value is not None),
        key=lambda index: p_values[index] or 0.0,
    )
    adjusted, largest = list(p_values), 0.0
    for rank, index in enumerate(order):
        p_value = p_values[index] or 0.0
        largest = max(largest, min(1.0, p_value * (len(order) - rank)))
        adjusted[index] = largest
    return adjusted


def _by_seed(table: Table) -> _BySeed:
    """Return the accuracies of each seed, by fold."""
    seeds: dict[int, dict[int, float]] = {}
    for (seed, fold), accuracy in table.items():
        seeds.setdefault(seed, {})[fold] = accuracy
    return seeds


def _paired(ours: _BySeed, theirs: _BySeed) -> tuple[float, ...]:
    """Return one difference per common seed, the mean over the folds that both have."""
    differences = []
    for seed in sorted(ours.keys() & theirs.keys()):
        folds = ours[seed].keys() & theirs[seed].keys()
        if folds:
            differences.append(
                math.fsum(ours[seed][fold] - theirs[seed][fold] for fold in folds) / len(folds)
            )
    return tuple(differences)


def _rounding_variance(tables: Sequence[_BySeed]) -> float:
    """Return the variance of a difference that comes from rounding accuracies to whole images.

    The smallest step between two accuracies stands for one image. Without this bound, seeds that
    agree to the image would have no variance, and any difference would be significant.
    """
    values = sorted(
        value for table in tables for folds in table.values() for value in folds.values()
    )
    steps = [high - low for low, high in pairwise(values) if high - low > 1e-9]
    return min(steps) ** 2 / 6 if steps else 0.0
