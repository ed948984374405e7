"""Search spaces: what a point of each kind means, where the edges are, how trials are spread."""

import numpy as np
import pytest
from scipy.stats import qmc

from optlab.studies.search_space import Hyperparameter, grid, quasi_random, read_space

RATE = Hyperparameter("lr", "log", (1e-4, 1e-1))
BETA = Hyperparameter("betas.0", "one_minus_log", (0.01, 0.5))
MOMENTUM = Hyperparameter("momentum", "linear", (0.5, 0.9))
NESTEROV = Hyperparameter("nesterov", "choice", (False, True, "maybe"))


@pytest.mark.parametrize(
    ("tuned", "point", "value"),
    [
        (RATE, 0.0, 1e-4),
        (RATE, 1.0, 1e-1),
        (RATE, 1 / 3, 1e-3),  # three decades, a third of the way
        (BETA, 0.0, 0.99),
        (BETA, 1.0, 0.5),
        (BETA, 0.5, 1 - np.sqrt(0.01 * 0.5)),  # the geometric mean of 1 - beta
        (MOMENTUM, 0.25, 0.6),
        (NESTEROV, 0.0, False),
        (NESTEROV, 0.5, True),
        (NESTEROV, 0.99, "maybe"),
        (NESTEROV, 1.0, "maybe"),  # the end belongs to the last
    ],
)
def test_point_of_a_range_is_the_value_that_far_along_it(tuned, point, value):
    found = tuned.at(point)
    assert found == (value if isinstance(value, bool | str) else pytest.approx(value, rel=1e-5))


@pytest.mark.parametrize("tuned", [RATE, BETA, MOMENTUM])
def test_edge_is_the_outermost_fiftieth_on_either_side(tuned):
    assert [tuned.at_edge(tuned.at(x)) for x in (0.0, 0.015, 0.025, 0.5, 0.975, 0.985, 1.0)] == [
        True, True, False, False, False, True, True,
    ]  # fmt: skip


def test_choice_has_no_edge():
    assert not any(NESTEROV.at_edge(value) for value in NESTEROV.values)


def test_grid_of_rates_has_both_ends_and_equal_ratios():
    assert [trial["lr"] for trial in grid(RATE, 4)] == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1])


def test_random_trials_are_scipys_halton_points_of_that_seed():
    trials = quasi_random([RATE, MOMENTUM], 16, seed=3)
    points = qmc.Halton(2, rng=np.random.default_rng(3)).random(16)
    assert [trial["lr"] for trial in trials] == pytest.approx(
        list(1e-4 * 1e3 ** points[:, 0]), rel=1e-5
    )
    assert [trial["momentum"] for trial in trials] == pytest.approx(
        list(0.5 + 0.4 * points[:, 1]), rel=1e-5
    )
    assert trials == quasi_random([RATE, MOMENTUM], 16, seed=3)
    assert trials != quasi_random([RATE, MOMENTUM], 16, seed=4)


@pytest.mark.parametrize(
    ("ranges", "why"),
    [
        ({"log": [1e-3]}, r"must be \[low, high\]"),
        ({"log": [0.1, 0.01]}, r"must be \[low, high\]"),
        ({"log": [0.0, 1.0]}, "starts above 0"),
        ({"normal": [0, 1]}, "allowed: log, one_minus_log, linear, choice"),
        ({"log": [0.1, 1], "linear": [0, 1]}, "has 2 ranges"),
        ({"log": ["a", "b"]}, r"must be \[low, high\]"),
        ({"choice": []}, "must be a list"),
        (0.1, "must be a range such as"),
    ],
)
def test_range_that_is_none_is_refused_by_file_and_option(ranges, why):
    with pytest.raises(ValueError, match=rf"conf/search_space/mine\.yaml: lr .*{why}"):
        read_space("mine", {"lr": ranges})


@pytest.mark.parametrize("space", [{}, None])
def test_space_without_an_option_is_refused(space):
    with pytest.raises(ValueError, match=r"conf/search_space/mine\.yaml names no option"):
        read_space("mine", space)
