"""Intervals against values computed by hand and against SciPy."""

import numpy as np
import pytest
from scipy import stats

from optlab.analysis.formatting import percent_estimate
from optlab.analysis.statistics import bounded, half_width_of_mean, mean_interval


def test_mean_interval_of_four_values_by_hand():
    # mean 2.5, s = sqrt(5 / 3) = 1.290994, t(3; 0.975) = 3.182446: 3.182446 * 1.290994 / 2
    estimate = mean_interval([1.0, 2.0, 3.0, 4.0])
    assert estimate is not None
    assert estimate.mean == 2.5
    assert estimate.high - estimate.mean == pytest.approx(2.054260, abs=1e-6)
    assert (estimate.low, estimate.high) == pytest.approx((0.445740, 4.554260), abs=1e-6)


def test_mean_interval_agrees_with_scipy():
    sample = np.random.default_rng(3).normal(0.97, 0.002, 7)
    estimate = mean_interval(sample)
    low, high = stats.t.interval(0.95, 6, loc=sample.mean(), scale=stats.sem(sample))
    assert estimate is not None
    assert (estimate.low, estimate.high) == pytest.approx((low, high), rel=1e-9)


def test_half_width_at_many_points_is_that_of_each():
    points = np.array([[1.0, 5.0, 2.0], [2.0, 5.0, 8.0], [4.0, 5.0, 1.0]])
    of_each = [mean_interval(column).high - column.mean() for column in points.T]
    np.testing.assert_allclose(half_width_of_mean(points), of_each)


def test_one_value_has_no_interval_and_none_has_no_mean():
    one = mean_interval([0.97])
    assert one is not None
    assert (one.mean, one.low, one.high, one.num_runs) == (0.97, None, None, 1)
    assert mean_interval([]) is None


@pytest.mark.parametrize(
    ("values", "low", "high", "text"),
    [
        ([0.97, 0.98], 0.911469, 1.0, "97.50 (91.15 to 100.00)"),  # half: 12.7062 * 0.005
        ([0.0, 0.01], 0.0, 0.068531, "0.50 (0.00 to 6.85)"),
        ([0.9, 0.91], 0.841469, 0.968531, "90.50 ± 6.35"),
    ],
)
def test_interval_of_a_fraction_ends_at_0_and_1(values, low, high, text):
    estimate = bounded(mean_interval(values))
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=1e-6)
    assert percent_estimate(estimate) == text
