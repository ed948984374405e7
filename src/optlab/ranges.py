"""Check values of options, with consistent error messages."""

import math
import operator
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

SIGNS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le, "": operator.eq}


def check(option: str, value: Any, within: str) -> None:
    """Raise ValueError unless a number, or each number of a list, is in a range.

    What is not a number raises the error of `float`.

    Args:
        option: the option as it is typed, for the message.
        value: a finite number or a list of such numbers; None passes.
        within: such as `> 0`, `in [0, 1)`, or `>= 1, or -1`.
    """
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    values = list(value) if is_list else [value]
    # float() also takes a tensor of one number, such as a learning rate
    if not is_within([float(each) for each in values if each is not None], within):
        shown, subject = (values, "each") if is_list else (as_typed(value), "it")
        raise ValueError(f"{option} is {shown}; {subject} must be {within}")


def check_choice(option: str, value: Any, allowed: Iterable[str]) -> None:
    """Raise ValueError unless a value is one of those allowed.

    Args:
        option: the option as it is typed, for the message.
        value: what was chosen.
        allowed: the names to choose from.
    """
    names = list(allowed)
    if value not in names:
        near = get_close_matches(str(value), names, n=1)
        hint = f"\n\nhint: did you mean {near[0]}?" if near else ""
        raise ValueError(
            f"{option} is {as_typed(value)}; it must be one of {', '.join(names)}{hint}"
        )


def as_typed(value: Any) -> Any:
    """Return a value as it is typed on the command line: null, true and false for Python's."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else value


def is_within(value: Any, within: str) -> bool:
    """Return whether a number, or each number of a list, is in a range; True for non-numbers.

    Args:
        value: as in a config; types are checked elsewhere.
        within: see `check`.
    """
    if isinstance(value, list):
        return all(is_within(element, within) for element in value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return True
    return math.isfinite(value) and any(_is_in(value, part) for part in within.split(", or "))


def _is_in(value: float, part: str) -> bool:
    if interval := re.fullmatch(r"in ([\[(])(.+), (.+)([\])])", part):
        start, low, high, end = interval.groups()
        above = _is_in(value, f"{'>=' if start == '[' else '>'} {low}")
        return above and _is_in(value, f"{'<=' if end == ']' else '<'} {high}")
    sign, _, bound = part.rpartition(" ")
    return SIGNS[sign](value, float(bound))
