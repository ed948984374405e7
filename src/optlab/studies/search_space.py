"""Search spaces as data (conf/search_space), and the values that trials draw from them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from optlab.training.option_values import RANGES, value_problem
from optlab.training.run_id import GROUPS, OPTIONS

EDGE_SHARE = 0.02  # of a range: a winner this close to an end is at the edge of its space
NEARBY_SHARE = 0.25  # of a range: the part that the second round of trials samples
SIGNIFICANT_DIGITS = 6  # of a drawn value: readable in folder names and commands
NOT_TUNED = ("data", "model", "optimizer", "seed", "ckpt_path")  # what a comparison keeps fixed

Values = dict[str, Any]  # a value for each tuned option, by the names of the search file


@dataclass(frozen=True)
class Hyperparameter:
    """The range of a hyperparameter, scaled to [0, 1] so that trials can sample it uniformly."""

    name: str  # as in the search file
    kind: str  # log | one_minus_log | linear | choice
    values: tuple[Any, ...]  # low and high, or the choices

    @property
    def option(self) -> str:
        """The option as typed: a name is below `optimizer.` unless it names another group."""
        first = self.name.partition(".")[0]
        return self.name if first in (*GROUPS, *OPTIONS) else f"optimizer.{self.name}"

    def at(self, point: float) -> Any:
        """Return the value at a point in [0, 1], or beyond for a range."""
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

    def point(self, value: Any) -> float | None:
        """Return the position of a value, in [0, 1] within the range; None if it has none."""
        if self.kind == "choice" or isinstance(value, bool) or not isinstance(value, int | float):
            return None
        low, high = self.values
        if self.kind == "one_minus_log":
            value = 1.0 - value
        if self.kind == "linear":
            return float((value - low) / (high - low))
        if value <= 0:
            return None
        return (math.log(value) - math.log(low)) / (math.log(high) - math.log(low))

    def at_edge(self, value: Any) -> bool:
        """Whether a value is at an end of the range, so that a better one may be beyond it."""
        point = self.point(value)
        return point is not None and min(point, 1.0 - point) < EDGE_SHARE

    def nearby(self, value: Any) -> "Hyperparameter":
        """Return the quarter of the range around a value, or beyond the edge if it is at one.

        A range is not extended to values that `option_values` does not allow. A value without a
        position in the range becomes the only choice; choices do not change.
        """
        point = self.point(value)
        if point is None:
            return self if self.kind == "choice" else replace(self, kind="choice", values=(value,))
        if self.at_edge(value):
            beyond = max(point, 1.0) + NEARBY_SHARE, min(point, 0.0) - NEARBY_SHARE
            outer = beyond[0] if point > 0.5 else beyond[1]
            option = self.option.rstrip("0123456789").rstrip(".")  # betas.0 is one of betas
            within = RANGES.get(option)
            if within and value_problem(option, self.at(outer), within=within) is None:
                return self._between(point, outer)
        start = min(max(point - NEARBY_SHARE / 2, 0.0), 1.0 - NEARBY_SHARE)
        return self._between(start, start + NEARBY_SHARE)

    def extended_to(self, value: Any) -> "Hyperparameter":
        """Return the range, with an end moved to a value beyond it."""
        point = self.point(value)
        if point is None or 0.0 <= point <= 1.0:
            return self
        return self._between(min(point, 0.0), max(point, 1.0))

    def _between(self, *points: float) -> "Hyperparameter":
        ends = sorted(map(self.at, points))
        if self.kind == "one_minus_log":
            ends = [1.0 - ends[1], 1.0 - ends[0]]
        return replace(self, values=tuple(ends))


def read_space(
    optimizer: str, space: Mapping[str, Mapping[str, Sequence[Any]]]
) -> list[Hyperparameter]:
    """Return the options of a search file, in its order.

    Raises:
        ValueError: for an invalid range, with the file and the option.
    """
    found = []
    if not isinstance(space, Mapping) or not space:
        raise ValueError(
            f"conf/search_space/{optimizer}.yaml has no options.\n\n"
            "hint: see conf/search_space/adam.yaml for an example"
        )
    for name, ranges in space.items():
        where = f"conf/search_space/{optimizer}.yaml: {name}"
        if name in NOT_TUNED:
            raise ValueError(
                f"{where} cannot be tuned, as it must be the same for all trials.\n\n"
                "hint: to compare several values, list them on the command line"
            )
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


def grid(tuned: Hyperparameter, trials: int, default: Any) -> list[Values]:
    """Return the default, then equally spaced values of a range.

    The default replaces the nearest of these values, but not an end of the range if possible.
    """
    points = [index / (trials - 1) for index in range(trials)]
    at = tuned.point(default)
    at = 0.5 if at is None else at
    inner = points[1:-1] if 0.0 < at < 1.0 else points
    points.remove(min(inner or points, key=lambda point: abs(point - at)))
    return [{tuned.name: default}, *({tuned.name: tuned.at(point)} for point in points)]


def stratified(tuned: Hyperparameter, number: int, seed: Sequence[int]) -> list[Values]:
    """Return a random value from each of `number` equal parts of a range."""
    points = (np.arange(number) + np.random.default_rng(seed).random(number)) / number
    return [{tuned.name: tuned.at(float(point))} for point in points]


def quasi_random(
    space: Sequence[Hyperparameter], number: int, seed: Sequence[int], tried: Sequence[Values]
) -> list[Values]:
    """Return points of a scrambled Halton sequence, which covers each projection of a space evenly.

    Args:
        space: the hyperparameters.
        number: number of points.
        seed: seed of the scrambling.
        tried: earlier points, which are not drawn again.

    Raises:
        ValueError: if the space has too few points.

    Source: Bousquet et al. 2017, arXiv:1706.03200; Google's tuning playbook, exploration phase.
    """
    from scipy.stats import qmc  # late: it takes 0.5 s, while the server imports torch

    points = qmc.Halton(len(space), seed=np.random.default_rng(seed)).random(100 * number)
    drawn = (
        {each.name: each.at(float(x)) for each, x in zip(space, point, strict=True)}
        for point in points
    )
    distinct = {str(values): values for values in drawn if values not in tried}
    found = list(islice(distinct.values(), number))
    if len(found) < number:
        raise ValueError(
            f"the search space of {', '.join(each.name for each in space)} has only "
            f"{len(tried) + len(distinct)} points, fewer than the trials.\n\n"
            "hint: lower hydra.sweeper.trials, or add options or values to conf/search_space"
        )
    return found
