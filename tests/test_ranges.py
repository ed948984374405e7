import math

import pytest

from optlab.ranges import check, check_choice, is_within


@pytest.mark.parametrize(
    ("value", "within"),
    [
        (0.5, "> 0"), (0, ">= 0"), (-1, ">= 1, or -1"), (0, "in [0, 1)"), (1, "in (0, 1]"),
        (-2.5, "<= 0"), (27, "< 28"), ([0.9, 0.0], "in [0, 1)"), ((), "> 0"), (None, "> 0"),
    ],
    ids=str,
)  # fmt: skip
def test_number_within_its_range_passes(value, within):
    check("group.option", value, within)


@pytest.mark.parametrize(
    ("value", "within", "shown"),
    [
        (0, "> 0", r"\b0\b.* > 0"), (1, "in [0, 1)", r"\b1\b.* in \[0, 1\)"),
        (0.0, "in (0, 1]", r"\b0\.0\b.* in \(0, 1\]"), (-2, ">= 1, or -1", "-2.* >= 1, or -1"),
        ([0.9, 1.0], "in [0, 1)", r"\[0\.9, 1\.0\].*\beach .* in \[0, 1\)"),
        ((0.9, 1.0), "in [0, 1)", r"\[0\.9, 1\.0\].*\beach .* in \[0, 1\)"),
        (math.inf, "> 0", r"\binf\b.* > 0"), (math.nan, ">= 0", r"\bnan\b.* >= 0"),
    ],
    ids=str,
)  # fmt: skip
def test_number_out_of_its_range_is_refused_by_name(value, within, shown):
    with pytest.raises(ValueError, match=rf"group\.option .*{shown}$"):
        check("group.option", value, within)


def test_unknown_choice_lists_all_and_names_the_nearest():
    check_choice("model.init", "zeros", ("zeros", "ones"))
    with pytest.raises(ValueError, match=r"model\.init .*zero\b.* zeros, ones\n\nhint: .* zeros\b"):
        check_choice("model.init", "zero", ("zeros", "ones"))
    with pytest.raises(ValueError, match=r"zeros, ones$"):
        check_choice("model.init", 7, ("zeros", "ones"))


def test_value_that_is_no_number_is_within_every_range():
    assert is_within("auto", "> 0")
    assert is_within([None, 1], "> 0")
    assert not is_within([None, -1], "> 0")


def test_text_is_not_a_number_within_a_range():
    with pytest.raises(ValueError, match="large"):
        check("group.option", "large", "> 0")
