"""Configurations that nothing else beats."""

import numpy as np
import pytest

from optlab.analysis.pareto import pareto_front


@pytest.mark.parametrize(
    ("points", "front"),
    [
        # The last is as accurate as the first and slower; the third costs least
        ([(0.98, 10, 2), (0.97, 20, 1), (0.90, 5, 1), (0.98, 12, 2)], [0, 1, 2]),
        ([(0.98, 10, 2), (0.98, 10, 2)], [0, 1]),
        ([(0.98, 10, 2), (0.97, 9.95, 1.99)], [0]),  # costs within a hundredth are equal
        ([(0.98, 10, 2), (0.97, 9.8, 2)], [0, 1]),
    ],
)
def test_front_is_what_no_other_point_dominates(points, front):
    assert list(np.flatnonzero(pareto_front(*np.array(points).T))) == front
