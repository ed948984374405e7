"""Search spaces as data (conf/search_space), and the settings that trials draw from them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import qmc

EDGE_SHARE = 0.02  # of a range: a winner this close to an end lies at the edge of its space
SIGNIFICANT_DIGITS = 6  # of a drawn value: readable in folder names and commands


@dataclass(frozen=True)
class Hyperparameter:
    """The range of an option. Points are in [0, 1]; equal distances are equally worth trying."""

    name: str  # below `optimizer.`
    kind: str  # log | one_minus_log | linear | choice
    values: tuple[Any, ...]  # low and high, or the choices

    def at(self, point: float) -> Any:
        """The value at a point in [0, 1]."""
        if self.kind == "choice":
            return self.values[min(int(point * len(self.values)), len(self.values) - 1)]
        low, high = self.values
        if self.kind == "linear":
            value = low + point * (high - low)
        else:
            value = math.exp(math.log(low) + point * (math.log(high) - math.log(low)))
        if self.kind == "one_minus_log":
            value = 1.0 - value
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}")

    def at_edge(self, value: Any) -> bool:
        """Whether a value lies at an end of the range, beyond which a better one may lie."""
        if self.kind == "choice":
            return False
        low, high = self.values
        if self.kind == "one_minus_log":
            value = 1.0 - value
        if self.kind == "linear":
            point = (value - low) / (high - low)
        else:
            point = (math.log(value) - math.log(low)) / (math.log(high) - math.log(low))
        return bool(min(point, 1.0 - point) < EDGE_SHARE)


def read_space(
    optimizer: str, space: Mapping[str, Mapping[str, Sequence[Any]]]
) -> list[Hyperparameter]:
    """The options of a search file, the one most worth tuning first.

    Raises:
        ValueError: for a range that is none, naming the file and the option.
    """
    found = []
    if not isinstance(space, Mapping) or not space:
        raise ValueError(
            f"conf/search_space/{optimizer}.yaml names no option.\n\n"
            "hint: conf/search_space/adam.yaml shows how"
        )
    for name, ranges in space.items():
        where = f"conf/search_space/{optimizer}.yaml: {name}"
        if not isinstance(ranges, Mapping):
            raise ValueError(f"{where} is {ranges}; it must be a range such as {{log: [0.1, 1]}}")
        if len(ranges) != 1:
            raise ValueError(f"{where} has {len(ranges)} ranges; it must have one")
        ((kind, values),) = ranges.items()
        if not isinstance(values, list | tuple) or not values:
            raise ValueError(f"{where} is {values}; it must be a list")
        if kind not in ("log", "one_minus_log", "linear", "choice"):
            raise ValueError(f"{where} is {kind}; allowed: log, one_minus_log, linear, choice")
        numbers = all(isinstance(value, int | float) for value in values)
        if kind != "choice" and not (numbers and len(values) == 2 and values[0] < values[1]):
            raise ValueError(f"{where} is {list(values)}; it must be [low, high]")
        if kind in ("log", "one_minus_log") and values[0] <= 0:
            raise ValueError(f"{where} starts at {values[0]}; a logarithmic range starts above 0")
        found.append(Hyperparameter(name, kind, tuple(values)))
    return found


def grid(tuned: Hyperparameter, trials: int) -> list[dict[str, Any]]:
    """Equally spaced values of one option, both ends included."""
    return [{tuned.name: tuned.at(index / (trials - 1))} for index in range(trials)]


def quasi_random(space: Sequence[Hyperparameter], trials: int, seed: int) -> list[dict[str, Any]]:
    """Points of a scrambled Halton sequence over a space: even in every projection.

    Source: Bousquet et al. 2017, arXiv:1706.03200; Google's tuning playbook, exploration phase.
    """
    points = qmc.Halton(len(space), seed=np.random.default_rng(seed)).random(trials)
    return [
        {each.name: each.at(float(x)) for each, x in zip(space, point, strict=True)}
        for point in points
    ]
