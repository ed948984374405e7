"""Search spaces: what a point of each kind means, where the edges are, how trials are spread."""

import numpy as np
import pytest
from scipy.stats import qmc

from optlab.studies.search_space import Hyperparameter, grid, quasi_random, read_space

RATE = Hyperparameter("lr", "log", (1e-4, 1e-1))
BETA = Hyperparameter("betas.0", "one_minus_log", (0.01, 0.5))
MOMENTUM = Hyperparameter("momentum", "linear", (0.5, 0.9))
FACTOR = Hyperparameter("scheduler.final_factor", "linear", (0.0, 0.5))
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


@pytest.mark.parametrize(
    ("default", "others"),
    [
        (2e-3, [1e-4, 1e-2, 1e-1]),  # near 1e-3, which gives way
        (1e-3, [1e-4, 1e-2, 1e-1]),
        (1e-4, [1e-3, 1e-2, 1e-1]),  # an end itself
        (2e-4, [1e-4, 1e-2, 1e-1]),  # near an end, which stays
        (1.0, [1e-4, 1e-3, 1e-2]),  # beyond the range
        (None, [1e-4, 1e-3, 1e-1]),  # one of those in the middle
    ],
)
def test_grid_has_the_default_in_place_of_its_nearest_point(default, others):
    rates = [values["lr"] for values in grid(RATE, 4, default)]
    assert rates[0] == default
    assert rates[1:] == pytest.approx(others)


def test_random_trials_are_scipys_halton_points_of_that_seed():
    trials = quasi_random([RATE, MOMENTUM], 16, [3], [])
    points = qmc.Halton(2, rng=np.random.default_rng(3)).random(16)
    assert [trial["lr"] for trial in trials] == pytest.approx(
        list(1e-4 * 1e3 ** points[:, 0]), rel=1e-5
    )
    assert [trial["momentum"] for trial in trials] == pytest.approx(
        list(0.5 + 0.4 * points[:, 1]), rel=1e-5
    )
    assert trials == quasi_random([RATE, MOMENTUM], 16, [3], [])
    assert trials != quasi_random([RATE, MOMENTUM], 16, [4], [])
    assert quasi_random([RATE, MOMENTUM], 15, [3], trials[:1]) == trials[1:]


def test_point_is_drawn_once_and_a_space_without_enough_points_is_refused():
    tried = [{"nesterov": True}]
    found = quasi_random([NESTEROV], 2, [0], tried)
    assert sorted(map(str, found)) == ["{'nesterov': 'maybe'}", "{'nesterov': False}"]
    with pytest.raises(
        ValueError, match=r"\bnesterov\b.*\b3 points\b.*\n\nhint: .*sweeper\.trials\b"
    ):
        quasi_random([NESTEROV], 3, [0], tried)


@pytest.mark.parametrize(
    ("tuned", "value", "low", "high"),
    [  # a quarter of three decades is a factor of 1000 ** 0.25 = 5.62
        (RATE, 1e-1, 0.1, 0.562341),
        (RATE, 1e-4, 1.77828e-5, 1e-4),
        (RATE, 10**-2.5, 0.00133352, 0.00749894),  # an eighth to either side of the middle
        (RATE, 0.05, 0.0177828, 0.1),  # not at the edge: inside of the range
        (BETA, 0.99, 0.99, 1 - 0.01 / 50**0.25),
        (BETA, 0.5, 1 - 0.5, 1 - 0.5 / 50**0.25),  # beyond would be below 0, which it cannot be
        (MOMENTUM, 0.9, 0.8, 0.9),  # beyond would be 1, which it cannot be
        (FACTOR, 0.0, 0.0, 0.125),  # beyond would be below 0, and nothing says whether it can be
    ],
)
def test_second_round_is_near_a_value_or_beyond_an_edge(tuned, value, low, high):
    nearby = tuned.nearby(value)
    ends = sorted([nearby.at(0.0), nearby.at(1.0)])
    assert ends == pytest.approx([low, high], rel=1e-4)


def test_value_without_a_place_in_the_range_stays_in_the_second_round():
    decay = Hyperparameter("weight_decay", "log", (1e-6, 1e-2))
    assert decay.nearby(0.0).values == (0.0,)
    assert not decay.at_edge(0.0)
    assert NESTEROV.nearby(True) is NESTEROV


def test_range_that_was_extended_has_its_edge_there():
    assert RATE.extended_to(1.0).at_edge(1.0)
    assert not RATE.extended_to(1.0).at_edge(0.1)
    assert RATE.extended_to(0.01) is RATE


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("lr", "optimizer.lr"),
        ("betas.0", "optimizer.betas.0"),
        ("scheduler", "scheduler"),
        ("scheduler.final_factor", "scheduler.final_factor"),
        ("data.batch_size", "data.batch_size"),
    ],
)
def test_name_is_an_optimizers_option_unless_it_names_a_group(name, option):
    assert Hyperparameter(name, "linear", (0, 1)).option == option


@pytest.mark.parametrize("name", ["seed", "data", "optimizer"])
def test_what_a_comparison_keeps_the_same_is_not_tuned(name):
    with pytest.raises(ValueError, match=rf"mine\.yaml: {name} .*\n\nhint: "):
        read_space("mine", {name: {"choice": [1, 2]}})


@pytest.mark.parametrize(
    ("ranges", "why"),
    [
        ({"log": [1e-3]}, r"\[0\.001\].*\[low, high\]"),
        ({"log": [0.1, 0.01]}, r"\[0\.1, 0\.01\].*\[low, high\]"),
        ({"log": [0.0, 1.0]}, r"\b0\.0\b.*\blogarithmic\b.* 0$"),
        ({"normal": [0, 1]}, r"\bnormal\b.*\blog, one_minus_log, linear, choice\b"),
        ({"log": [0.1, 1], "linear": [0, 1]}, r"\b2\b"),
        ({"log": ["a", "b"]}, r"\['a', 'b'\].*\[low, high\]"),
        ({"choice": []}, r"\[\].*\blist\b"),
        (0.1, r"\b0\.1\b.*\{log: "),
    ],
)
def test_invalid_range_is_refused_by_file_and_option(ranges, why):
    with pytest.raises(ValueError, match=rf"conf/search_space/mine\.yaml: lr .*{why}"):
        read_space("mine", {"lr": ranges})


@pytest.mark.parametrize("space", [{}, None])
def test_space_without_an_option_is_refused(space):
    with pytest.raises(ValueError, match=r"conf/search_space/mine\.yaml .*\n\nhint: .*/adam\.yaml"):
        read_space("mine", space)
