"""Claims about differences, against SciPy, arithmetic and made studies."""

import numpy as np
import pytest
from scipy import stats

from optlab.analysis.comparisons import MIN_SEEDS, compare, simultaneous_quantile


def table(values):
    return {(seed, 0): value for seed, value in enumerate(values)}


def one_difference(ours, reference):
    (difference,) = compare(table(reference), [table(ours)])
    return difference


def test_two_configurations_get_the_paired_t_test_of_scipy():
    rng = np.random.default_rng(0)
    ours, reference = rng.normal(0.97, 0.002, 7), rng.normal(0.972, 0.003, 7)
    difference = one_difference(ours, reference)
    expected = stats.ttest_rel(ours, reference)
    interval = expected.confidence_interval(0.95)
    assert difference.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert (difference.low, difference.high) == pytest.approx(tuple(interval), rel=1e-9)


def test_variance_moves_towards_the_median_by_hand():
    # Differences to the reference 0: a = 1, 3, 5, 7, 9 (variance 10) and b = 5, 5, 5, 5, 5 (0);
    # b - a = 4, 2, 0, -2, -4 (10). Median 10, prior of 2 degrees of freedom from 3 variances.
    reference, a, b = (table(v) for v in ([0.0] * 5, [1.0, 3, 5, 7, 9], [5.0] * 5))
    first, second = compare(reference, [a, b])
    assert (first.degrees_of_freedom, second.degrees_of_freedom) == (6, 6)
    assert first.deviation == pytest.approx(10**0.5)  # (4 * 10 + 2 * 10) / 6
    assert second.deviation == pytest.approx((20 / 6) ** 0.5)  # (4 * 0 + 2 * 10) / 6


def test_p_values_are_adjusted_after_holm_by_hand():
    reference = table([0.0] * 6)
    others = [table(np.array([1.0, -1, 1, -1, 1, -1]) + shift) for shift in (0.3, 3.0, 1.0)]
    unadjusted = []
    for difference in compare(reference, others):
        error = difference.deviation / 6**0.5
        unadjusted.append(
            2 * stats.t.sf(abs(difference.mean) / error, difference.degrees_of_freedom)
        )
    third, first, second = unadjusted
    expected = [max(third, 2 * second), 3 * first, 2 * second]
    assert [d.p_value for d in compare(reference, others)] == pytest.approx(expected)


def test_simultaneous_quantile_is_dunnetts():
    # Dunnett 1964, table III, two-sided 95 %, 10 degrees of freedom: 2, 4 and 9 comparisons
    assert simultaneous_quantile(1, 10) == pytest.approx(stats.t.ppf(0.975, 10))
    found = [simultaneous_quantile(number, 10) for number in (2, 4, 9)]
    assert found == pytest.approx([2.57, 2.89, 3.24], abs=0.01)


@pytest.mark.parametrize(
    ("differences", "conclusion"),
    [
        ([], "no seed in common"),
        ([-0.01], "too few seeds"),
        ([-0.1] * (MIN_SEEDS - 1), "too few seeds"),
        ([-0.01, -0.02, -0.03, 0.02, -0.01], "no significant difference"),
        ([0.0] * 5, "no significant difference"),
        ([-0.01, -0.02, -0.03, -0.02, -0.01], "lower"),
        ([0.01, 0.02, 0.03, 0.02, 0.01], "higher"),
    ],
)
def test_conclusion_follows_from_the_seeds(differences, conclusion):
    difference = one_difference([0.5 + each for each in differences], [0.5] * len(differences))
    assert difference.conclusion == conclusion
    assert difference.is_significant == (conclusion in ("lower", "higher"))


def test_only_common_seeds_are_paired():
    reference = {(0, 0): 0.97, (1, 0): 0.99, (2, 0): 0.98}
    (difference,) = compare(reference, [{(0, 0): 0.96, (1, 0): 0.97, (7, 0): 0.10}])
    assert difference.differences == pytest.approx((-0.01, -0.02))


def test_folds_of_a_seed_count_once():
    reference = {(0, fold): 0.9 for fold in range(5)}
    (difference,) = compare(reference, [{(0, fold): 0.8 + 0.01 * fold for fold in range(5)}])
    assert difference.differences == pytest.approx((-0.08,))
    assert difference.conclusion == "too few seeds"


def test_agreement_to_the_image_is_not_certainty():
    # One image of 360 lower on every seed: rounding has a variance of a sixth image squared
    difference = one_difference([349 / 360] * 5, [350 / 360] * 5)
    assert difference.deviation == pytest.approx((1 / 360) / 6**0.5)


def test_seeds_needed_are_what_the_detectable_difference_says():
    rng = np.random.default_rng(2)
    reference = rng.normal(0.97, 0.002, 10)
    difference = one_difference(reference + rng.normal(0.001, 0.003, 10), reference)
    needed = difference.seeds_needed
    assert needed > 10
    assert difference.detectable > abs(difference.mean)
    # t quantiles are near the normal ones: (1.96 + 0.84)^2 variance / mean^2
    expected = (2.8 * difference.deviation / difference.mean) ** 2
    assert needed == pytest.approx(expected, rel=0.1)


def test_power_of_the_detectable_difference_is_eighty_percent():
    rng = np.random.default_rng(3)
    noise = rng.normal(0, 1, (2000, 10))
    unit = (stats.t.ppf(0.975, 9) + stats.t.ppf(0.8, 9)) / 10**0.5
    p_values = stats.ttest_1samp(noise + unit, 0, axis=1).pvalue
    assert (p_values < 0.05).mean() == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize("num_seeds", [5, 10])
def test_equal_configurations_are_rarely_called_different(num_seeds):
    # 400 studies of five equals, the best chosen on correlated validation noise: at most 5 %,
    # here with three standard errors of the count
    rng = np.random.default_rng(num_seeds)
    false_claims = 0
    for _ in range(400):
        test = rng.normal(size=(5, num_seeds))
        validation = 0.3 * test + (1 - 0.3**2) ** 0.5 * rng.normal(size=test.shape)
        order = np.argsort(-validation.mean(axis=1))
        found = compare(table(test[order[0]]), [table(test[index]) for index in order[1:]])
        false_claims += any(difference.is_significant for difference in found)
    assert false_claims / 400 < 0.05 + 3 * (0.05 * 0.95 / 400) ** 0.5


def test_comparison_with_a_part_of_the_error_rate_has_larger_p_and_a_wider_interval():
    rng = np.random.default_rng(5)
    reference, a, b = (table(each) for each in rng.normal(0.9, 0.01, (3, 8)))
    whole = compare(reference, [a, b])
    tenth = compare(reference, [a, b], levels=[0.005, 0.005])
    for one, other in zip(whole, tenth, strict=True):
        assert other.p_value == pytest.approx(min(1.0, 10 * one.p_value))
        widths = [each.high - each.low for each in (one, other)]
        quantiles = [
            simultaneous_quantile(2, one.degrees_of_freedom, level) for level in (0.05, 0.005)
        ]
        assert widths[1] / widths[0] == pytest.approx(quantiles[1] / quantiles[0])
        assert other.detectable > one.detectable
