"""Intervals against values computed by hand and against SciPy."""

import numpy as np
import pytest
from scipy import stats

from optlab.results.statistics import (
    MIN_PAIRS,
    NUM_RESAMPLES,
    adjusted_means,
    bootstrap_interval,
    chance_of_a_false_separation,
    expanded_level,
    half_width_of_mean,
    linked_sets,
    mean_interval,
    paired_difference,
)


def test_mean_interval_of_four_values_by_hand():
    # mean 2.5, s = sqrt(5 / 3) = 1.290994, t(3; 0.975) = 3.182446: 3.182446 * 1.290994 / 2
    estimate = mean_interval([1.0, 2.0, 3.0, 4.0])
    assert estimate is not None
    assert estimate.mean == 2.5
    assert estimate.half_width == pytest.approx(2.054260, abs=1e-6)
    assert (estimate.low, estimate.high) == pytest.approx((0.445740, 4.554260), abs=1e-6)


def test_mean_interval_agrees_with_scipy():
    sample = np.random.default_rng(3).normal(0.97, 0.002, 7)
    estimate = mean_interval(sample)
    low, high = stats.t.interval(0.95, 6, loc=sample.mean(), scale=stats.sem(sample))
    assert estimate is not None
    assert (estimate.low, estimate.high) == pytest.approx((low, high), rel=1e-9)


def test_half_width_at_many_points_is_that_of_each():
    points = np.array([[1.0, 5.0, 2.0], [2.0, 5.0, 8.0], [4.0, 5.0, 1.0]])
    alone = [mean_interval(column).half_width for column in points.T]
    np.testing.assert_allclose(half_width_of_mean(points), alone)


def test_one_value_has_no_interval_and_none_has_no_mean():
    one = mean_interval([0.97])
    assert one is not None
    assert (one.mean, one.low, one.high, one.n) == (0.97, None, None, 1)
    assert one.half_width is None
    assert mean_interval([]) is None


@pytest.mark.parametrize(
    ("n", "level"),
    # erf(sqrt(n / (n - 1)) t / sqrt(2)) with t(n - 1; 0.975) = 2.776445, 2.262157 and 2.045230
    [(5, 0.998092), (10, 0.982899), (30, 0.962492)],
)
def test_expanded_level_by_hand(n, level):
    assert expanded_level(n) == pytest.approx(level, abs=1e-6)


def test_bootstrap_interval_is_scipys_percentile_interval_at_the_expanded_level():
    differences = np.array([-0.0012, 0.0004, -0.0021, -0.0008, -0.0015, 0.0001])
    expected = stats.bootstrap(
        (differences,),
        np.mean,
        n_resamples=NUM_RESAMPLES,
        confidence_level=expanded_level(6),
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert bootstrap_interval(differences) == (expected.low, expected.high)


def test_bootstrap_interval_agrees_with_all_resamples_of_five_counted_out():
    differences = np.array([-0.004, -0.001, -0.002, 0.001, -0.003])
    index = np.stack(np.meshgrid(*[np.arange(5)] * 5), axis=-1).reshape(-1, 5)  # all 5**5
    means = differences[index].mean(axis=1)
    tail = (1 - expanded_level(5)) / 2
    exact = np.quantile(means, [tail, 1 - tail])
    assert bootstrap_interval(differences) == pytest.approx(exact, abs=3e-4)


def test_bootstrap_interval_of_three_pairs_is_their_range():
    assert bootstrap_interval([-0.03, -0.01, -0.02]) == pytest.approx((-0.03, -0.01))


def test_bootstrap_interval_repeats_itself():
    differences = np.random.default_rng(1).normal(size=10)
    assert bootstrap_interval(differences) == bootstrap_interval(differences)


def test_bootstrap_interval_refuses_one_pair():
    with pytest.raises(ValueError, match="needs two paired differences or more, got 1"):
        bootstrap_interval([0.1])


def test_expanded_interval_covers_the_truth_far_more_often_than_the_plain_one():
    # Five normal pairs around 0, 2,000 studies: measured 0.83 for the plain percentile interval
    # and 0.92 for the expanded one.
    rng = np.random.default_rng(0)
    covered = {0.95: 0, expanded_level(5): 0}
    for _ in range(2000):
        means = rng.normal(size=5)[rng.integers(0, 5, (1000, 5))].mean(axis=1)
        for level in covered:
            low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
            covered[level] += bool(low <= 0 <= high)
    plain, expanded = (number / 2000 for number in covered.values())
    assert plain == pytest.approx(0.83, abs=0.03)
    assert expanded == pytest.approx(0.92, abs=0.025)


def pairs(values):
    return {(seed, 0): value for seed, value in enumerate(values)}


def test_paired_difference_uses_the_seeds_that_both_have():
    ours = {(0, 0): 0.96, (1, 0): 0.97, (7, 0): 0.10}
    best = {(0, 0): 0.97, (1, 0): 0.99, (2, 0): 0.98}
    difference = paired_difference(ours, best)
    assert difference.differences == pytest.approx((-0.01, -0.02))
    assert difference.mean == pytest.approx(-0.015)


def test_paired_difference_pairs_by_fold_as_well():
    ours = {(0, 0): 0.90, (0, 1): 0.92}
    best = {(0, 0): 0.91, (0, 1): 0.92}
    assert paired_difference(ours, best).differences == pytest.approx((-0.01, 0.0))


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ([], "no seed in common"),
        ([-0.01], "one pair: no interval"),
        ([-0.01, 0.01], "not separable"),
        ([-0.01, -0.02, -0.03], "lower in the mean, 3 pairs are too few to tell"),
        ([0.01, 0.02], "higher in the mean, 2 pairs are too few to tell"),
        ([-0.01, -0.02, -0.03, 0.02, -0.01], "not separable"),
        ([-0.01, -0.02, -0.03, -0.02, -0.01], "lower"),
        ([0.01, 0.02, 0.03, 0.02, 0.01], "higher"),
        ([0.0, 0.0, 0.0, 0.0, 0.0], "not separable"),
    ],
)
def test_verdict_claims_no_more_than_the_interval_carries(differences, verdict):
    best = [0.5] * len(differences)
    ours = [0.5 + difference for difference in differences]
    result = paired_difference(pairs(ours), pairs(best))
    assert result.verdict == verdict
    assert result.is_separated == (verdict in ("lower", "higher"))


def test_below_the_least_number_of_pairs_nothing_separates():
    clear = paired_difference(pairs([0.1] * (MIN_PAIRS - 1)), pairs([0.9] * (MIN_PAIRS - 1)))
    assert not clear.is_separated


def test_chance_of_a_false_separation_by_hand():
    assert chance_of_a_false_separation([15]) == pytest.approx(0.05)
    assert chance_of_a_false_separation([5] * 4) == pytest.approx(0.283607, abs=1e-6)  # 1 - 0.92^4
    assert chance_of_a_false_separation([5, 100]) == pytest.approx(1 - 0.92 * 0.95)


def test_adjusted_means_are_the_plain_ones_where_all_have_the_same_pairs():
    assert adjusted_means([pairs([0.1, 0.2]), pairs([0.3, 0.6])]) == [
        pytest.approx(0.15),
        pytest.approx(0.45),
    ]


def test_adjusted_means_take_into_account_which_seeds_a_setting_has():
    # seeds worth 0, 1, 2 and 3 points; the second setting is 0.5 worse and has the good ones alone
    first = {(seed, 0): float(seed) for seed in range(4)}
    second = {(seed, 0): seed - 0.5 for seed in (2, 3)}
    assert adjusted_means([first, second]) == [pytest.approx(1.5), pytest.approx(1.0)]


def test_settings_are_linked_by_a_chain_of_shared_pairs():
    a, b, c = {(0, 0): 1.0, (1, 0): 2.0}, {(1, 0): 3.0, (2, 0): 4.0}, {(2, 0): 5.0}
    assert linked_sets([a, c, b]) == [[0, 1, 2]]
    assert adjusted_means([a, b, c]) == [pytest.approx(value) for value in (2.0, 3.0, 4.0)]
    assert linked_sets([a, c]) == [[0], [1]]
    assert linked_sets([c, a, c]) == [[1], [0, 2]]


def test_interval_that_ends_at_zero_separates_nothing():
    # Right of 10,000 images: the interval of the mean difference ends at 0 exactly
    ours = pairs([right / 10_000 for right in (9357, 9020, 9467, 9204, 9271)])
    best = pairs([right / 10_000 for right in (9361, 9019, 9472, 9210, 9277)])
    difference = paired_difference(ours, best)
    assert difference.high == 0
    assert difference.verdict == "not separable"
