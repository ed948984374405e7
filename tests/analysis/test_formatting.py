import pytest

from optlab.analysis.formatting import MINUS, points


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(0.0012, "+0.12"), (-0.0012, f"{MINUS}0.12"), (0.0, "0.00"), (None, "-")],
)
def test_points_are_signed(fraction, text):
    assert points(fraction) == text


def test_the_end_of_an_interval_without_zero_does_not_read_as_zero():
    assert points(-0.000008) == f"{MINUS}0.00"
