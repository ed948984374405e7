"""A percent axis that is stretched near 100 %."""

import numpy as np
import pytest

from optlab.plots.percent_axis import stretched_percent
from optlab.plots.style import new_axes


def height_of(ax, percent):
    """Where a value is drawn: 0 at the bottom of the axes, 1 at their top."""
    return ax.transAxes.inverted().transform(ax.transData.transform((1, percent)))[1]


@pytest.mark.parametrize(
    "accuracies",
    [
        [0.8, 0.972, 0.993, 1.0],  # 144 images: one mistake is 0.7 %
        [0.95, 0.9998, 0.99985],
        [0.1, 0.4, 1.0],
        [0.95, 1.0, 1.0],
    ],
)
def test_stretched_axis_shows_perfect_accuracy_at_its_top(accuracies):
    ax = new_axes()
    assert stretched_percent(ax, accuracies)
    assert ax.get_yticklabels()[-1].get_text() == "100"
    heights = [height_of(ax, percent) for percent in ax.get_yticks()]
    assert 0.95 < heights[-1] < 0.99
    assert np.diff(heights).min() > 0.04  # labels do not collide
    drawn = [height_of(ax, 100 * accuracy) for accuracy in sorted(set(accuracies))]
    assert drawn[0] > 0
    assert np.diff(drawn).min() > 0.005  # what differs is drawn apart, mistakes from none as well


def test_stretched_axis_has_no_place_for_100_where_nothing_comes_near():
    ax = new_axes()
    stretched_percent(ax, [0.95, 0.978])
    assert ax.get_ylim()[1] == pytest.approx(98.13)  # 100 - 0.85 * 2.2
    assert "100" not in [label.get_text() for label in ax.get_yticklabels()]


@pytest.mark.parametrize("accuracies", [[0.3, 0.8], [0.95, 0.955], []])
def test_axis_stays_linear_where_stretching_shows_nothing(accuracies):
    ax = new_axes()
    assert stretched_percent(ax, accuracies) == ""
    assert ax.get_yscale() == "linear"
