"""Repeats and what is quoted of them: contenders in turn, medians, ratios pair by pair."""

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Spread:
    """What a table says of repeated measurements."""

    median: float
    min: float
    max: float
    num_repeats: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """
        Raises:
            ValueError: without a value.
        """
        if not values:
            raise ValueError("no repeat was measured")
        return cls(median(values), min(values), max(values), len(values))


def alternate(
    contenders: Mapping[str, Callable[[int], T]], repeats: int, *, warm_up: bool = True
) -> dict[str, list[T]]:
    """Run A B A B ..., so that drift of the machine affects all contenders alike.

    Args:
        contenders: name -> what measures it once, given the number of the repeat.
        repeats: measurements of each.
        warm_up: one more round first (its repeat is -1), whose measurements are thrown away.
    """
    measured: dict[str, list[T]] = {name: [] for name in contenders}
    for repeat in range(-1 if warm_up else 0, repeats):
        for name, measure in contenders.items():
            gc.collect()  # else a contender pays for the garbage of the one before
            value = measure(repeat)
            if repeat >= 0:
                measured[name].append(value)
    return measured


def paired_ratios(numerator: Sequence[float], denominator: Sequence[float]) -> list[float]:
    """The ratio within each repeat: the two measurements of a pair were neighbors in time."""
    return [over / under for over, under in zip(numerator, denominator, strict=True)]
