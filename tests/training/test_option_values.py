"""Values against types and ranges, and what is allowed in place of a wrong one."""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from omegaconf import OmegaConf

from optlab.ranges import SIGNS
from optlab.training.option_values import RANGES, value_problem

NAN, INF = float("nan"), float("inf")
RATE = float | torch.Tensor  # as torch's optimizers have it
PAIR = tuple[RATE, RATE]


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (3, int), (3, float), (1.0e30, float), (True, bool), ("a", str), (None, int | None),
        ("x", Any), (2**63 - 1, int), ([1, 2], Sequence[int]), ([], list[int]),
        ([0.9, 0.99], PAIR), ([1, 2, 3], tuple[int, ...]), ({"a": 1}, Mapping[str, int]),
        (0.5, float | Sequence[float]), ([0.5], float | Sequence[float]),
        ("fast", Literal["fast", 1]), (1, Literal["fast", 1]),
        ("00:01:00", timedelta), ("folder", Path | None), ("whatever", "a type unread"),
        (OmegaConf.create([1, 2]), list[int]),
    ],
    ids=str,
)  # fmt: skip
def test_value_of_the_type_is_right(value, hint):
    assert value_problem("group.option", value, hint) is None


@pytest.mark.parametrize(
    ("value", "hint", "shown", "allowed"),
    [
        (True, int, "true", ["whole"]),
        (1.0, int, "1.0", ["whole"]),
        (2**63, int, "9223372036854775808", ["whole"]),
        (NAN, float, "nan", ["finite"]),
        (-INF, float | None, "-inf", ["finite", "null"]),
        (True, float, "true", ["finite"]),
        (1, bool, "1", ["true", "false"]),
        (None, bool, "null", ["true", "false"]),
        ("None", float | None, "None", ["finite", "null"]),
        (3, str, "3", ["string"]),
        ("fast", RATE, "fast", ["finite"]),
        (0.5, Sequence[int], "0.5", ["list", "whole"]),
        ([0.5], Sequence[int], "[0.5]", ["list", "whole"]),
        ([0.9], PAIR, "[0.9]", ["list", "2", "finite"]),
        ([0.9, NAN], PAIR, "[0.9, nan]", ["list", "2", "finite"]),
        ("x", float | Sequence[float], "x", ["finite", "list", "finite"]),
        ({"a": 1}, int | float, "{'a': 1}", ["finite"]),
        (3, Mapping[str, Any] | None, "3", ["dictionary", "null"]),
        (True, Literal["fast", 1], "true", ["fast", "1"]),
    ],
    ids=str,
)
def test_value_of_another_type_is_refused_in_words(value, hint, shown, allowed):
    option, _, problem = value_problem("group.option", value, hint).partition(f" {shown}")
    assert option.startswith("group.option ")
    terms = r"whole|finite|true|false|string|list|dictionary|fast|\d|null"
    assert re.findall(terms, problem) == allowed


@pytest.mark.parametrize(
    ("within", "inside", "outside"),
    [
        ("> 0", [1.0e-9, 1.0e30], [0, -1]),
        (">= 0", [0], [-1.0e-9]),
        ("<= 0", [0, -1], [0.1]),
        (">= 1, or -1", [1, -1], [0, -2]),
        ("in [0, 1)", [0, 0.5], [1, -0.1]),
        ("in (0, 1]", [1, 0.5], [0, 1.1]),
    ],
)
def test_range_holds_its_bounds_as_written(within, inside, outside):
    for value in inside:
        assert value_problem("option", value, float, within) is None
        assert value_problem("option", [value, value], list[float], within) is None
    for value in outside:
        assert value_problem("option", value, float, within).endswith(f" number {within}")
        assert value_problem("option", [value], list[float], within).endswith(f" each {within}")


def test_range_without_a_type_asks_for_a_number():
    assert value_problem("optimizer.lr", None, within="> 0") is None
    assert value_problem("optimizer.lr", "fast", within="> 0") is not None


def test_message_names_the_option_and_the_value_as_they_are_typed():
    assert re.match(r"a\.b .*\btrue\b", value_problem("a.b", True, int))
    assert re.match(r"a\.b .*\bnull\b", value_problem("a.b", None, int))


@pytest.mark.parametrize("within", sorted(set(RANGES.values())))
def test_every_range_of_the_table_can_be_read(within):
    assert value_problem("option", NAN, float, within) is not None
    assert all(
        part.startswith("in ") or part.rpartition(" ")[0] in SIGNS for part in within.split(", or ")
    )
