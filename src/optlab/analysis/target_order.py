"""Test which configuration reaches the target in fewer steps, paired by seed.

Runs with one seed start from the same weights and see the same batches, so steps are compared seed
by seed; folds of a seed are averaged. Where every run of two configurations reached the target,
the logarithms of their steps are compared by the moderated paired t test of `comparisons`. Where a
run missed it, an exact sign test counts the seeds in which each was earlier. A miss is later than
the last step of its run (right-censored). All p-values of a workload are adjusted together by
Holm's method, and multiplied by the number of looks (`looks`).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from scipy.special import bdtr, stdtr

from optlab.analysis.comparisons import ERROR_RATE, MIN_SEEDS, compare_all, holm
from optlab.analysis.looks import look_level
from optlab.analysis.target import time_to_target
from optlab.analysis.workloads import Configuration

MIN_SIGNS = 6  # of five seeds even the smallest p-value of a sign test is above 0.05


@dataclass(frozen=True)
class StepsClaim:
    """A test of two configurations: `earlier` reached the target in fewer steps than `later`.

    Attributes:
        num_seeds: that the test counts; of a sign test without ties.
        p_value: adjusted for all tests of the workload.
        test: `t` or `sign`.
    """

    earlier: str  # labels
    later: str
    num_seeds: int
    p_value: float
    test: str

    @property
    def is_significant(self) -> bool:
        return self.p_value < ERROR_RATE


@dataclass(frozen=True)
class Attempt:
    """One seed: log of the steps to the target, infinite for a miss; its last validated step."""

    log_steps: float
    horizon: float


def steps_claims(configurations: Sequence[Configuration]) -> list[StepsClaim]:
    """Test each pair of configurations that has enough seeds.

    Args:
        configurations: of one workload, with one target.
    """
    attempts = {one.label: _attempts(one) for one in configurations}
    by_label = {one.label: one for one in configurations}
    return compare_steps(
        attempts, lambda ours, theirs, n: look_level(by_label[ours], by_label[theirs], n)
    )


def compare_steps(
    by_label: Mapping[str, Mapping[int, Attempt]],
    level: Callable[[str, str, int], float] = lambda ours, theirs, num_seeds: ERROR_RATE,
) -> list[StepsClaim]:
    """Test each pair of configurations that has enough seeds.

    Args:
        by_label: label of a configuration to its attempts by seed.
        level: of two labels and their number of common seeds, the share of the error rate that
            their comparison has.
    """
    labels, attempts = list(by_label), list(by_label.values())
    complete = [
        index
        for index, found in enumerate(attempts)
        if found and all(math.isfinite(each.log_steps) for each in found.values())
    ]
    tables = [{(seed, 0): each.log_steps for seed, each in attempts[i].items()} for i in complete]
    differences = {(complete[i], complete[j]): one for (i, j), one in compare_all(tables).items()}
    claims: list[StepsClaim] = []
    for i, j in combinations(range(len(labels)), 2):
        ours, theirs = labels[i], labels[j]
        seeds = attempts[i].keys() & attempts[j].keys()
        difference = differences.get((i, j))
        if difference is None:
            signs = [_sign(attempts[i][seed], attempts[j][seed]) for seed in sorted(seeds)]
            num_seeds, is_later = sum(map(abs, signs)), sum(signs) > 0
            p_value = _sign_test(signs) if num_seeds >= MIN_SIGNS else None
        else:
            num_seeds, is_later = difference.num_seeds, (difference.mean or 0.0) > 0
            error = (difference.deviation or 0.0) / math.sqrt(max(num_seeds, 1))
            p_value = None
            if num_seeds >= MIN_SEEDS and difference.degrees_of_freedom is not None:
                t = abs(difference.mean or 0.0) / error if error else 0.0
                p_value = 2 * float(stdtr(difference.degrees_of_freedom, -t))
        if p_value is not None:
            p_value = min(1.0, p_value * ERROR_RATE / level(ours, theirs, len(seeds)))
            pair = (theirs, ours) if is_later else (ours, theirs)
            test = "sign" if difference is None else "t"
            claims.append(StepsClaim(*pair, num_seeds, p_value, test))
    adjusted = holm([claim.p_value for claim in claims])
    return [
        replace(claim, p_value=p_value)
        for claim, p_value in zip(claims, adjusted, strict=True)
        if p_value is not None
    ]


def _attempts(configuration: Configuration) -> dict[int, Attempt]:
    """By seed, the mean over its folds; a seed that missed the target in one fold missed it."""
    by_seed: dict[int, list[Attempt]] = {}
    for run in configuration.runs:
        reached = time_to_target(run)
        if reached is None:
            continue
        # What has diverged would never have reached it; another run may have ended too early
        last = math.inf if run.status == "diverged" else float(run.record.num_steps or 0)
        steps = reached.step
        horizon = math.log(max(last, 1.0)) if math.isfinite(last) else math.inf
        log_steps = math.log(max(steps, 1.0)) if math.isfinite(steps) else math.inf
        by_seed.setdefault(run.seed, []).append(Attempt(log_steps, horizon))
    return {
        seed: Attempt(
            float(np.mean([each.log_steps for each in folds])),
            min(each.horizon for each in folds),
        )
        for seed, folds in by_seed.items()
    }


def _sign(ours: Attempt, theirs: Attempt) -> int:
    """Return -1 where ours was earlier, 1 where theirs was, 0 where neither or nobody knows."""
    if ours.log_steps < theirs.log_steps:
        is_known = math.isfinite(theirs.log_steps) or ours.log_steps <= theirs.horizon
        return -int(is_known)
    return -_sign(theirs, ours) if theirs.log_steps < ours.log_steps else 0


def _sign_test(signs: Sequence[int]) -> float:
    """Return the two-sided p-value of an exact sign test; zeros do not count."""
    num_seeds = sum(map(abs, signs))
    rarer = min(signs.count(1), signs.count(-1))
    return min(1.0, 2 * float(bdtr(rarer, num_seeds, 0.5)))
