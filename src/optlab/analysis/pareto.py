"""Find the configurations that no other beats in accuracy, time and memory (Pareto front)."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from optlab.analysis.statistics import Estimate
from optlab.analysis.summary import ConfigurationSummary

TOLERANCE = 0.01  # of a cost, relative


@dataclass(frozen=True, eq=False)
class Tradeoff:
    """Accuracy and costs of a configuration, means over its finished runs."""

    row: ConfigurationSummary
    accuracy: Estimate  # on test at the judged weights, a fraction
    train_time_s: float
    peak_memory_gib: float


def tradeoffs(rows: Iterable[ConfigurationSummary]) -> list[Tradeoff]:
    """Return those of the rows that have recorded all three, in their order."""
    found = []
    for row in rows:
        accuracy = row.accuracy("test")
        time, memory = map(row.mean_of_record, ("train_time_s", "peak_memory_gib"))
        if accuracy and time is not None and memory is not None:
            found.append(Tradeoff(row, accuracy, time, memory))
    return found


def pareto_front(accuracy: np.ndarray, *costs: np.ndarray) -> np.ndarray:
    """Return which points no other point dominates, bool (n,).

    A point dominates another if it is nowhere worse and somewhere better; of equal points none
    does. Costs that differ by no more than `TOLERANCE` are equal: clocks and memory vary that much
    from run to run.

    Args:
        accuracy: (n,), of which more is better.
        costs: (n,) each, above 0, of which less is better.
    """
    no_worse = accuracy[:, None] >= accuracy  # (n, n): i than j
    better = accuracy[:, None] > accuracy
    for cost in costs:
        no_worse &= cost[:, None] <= cost * (1 + TOLERANCE)
        better |= cost[:, None] * (1 + TOLERANCE) < cost
    return np.asarray(~(no_worse & better).any(axis=0))
