"""Images that only one of two configurations recognizes."""

from types import SimpleNamespace

import numpy as np
import pytest

from optlab.analysis.disagreement import Disagreement, Votes
from optlab.plots.disagreement import DisagreementDisplay
from optlab.plots.palette import style_of


def votes(optimizer, majority, labels):
    row = SimpleNamespace(label=optimizer, configuration=SimpleNamespace(optimizer=optimizer))
    return Votes(row, labels, majority, np.zeros(len(labels)), None)


@pytest.fixture
def display():
    """Of 40 images of class 1, adam recognizes the first 30 and sgd the others."""
    labels = np.ones(40, int)
    adam = votes("adam", np.repeat([1, 0], [30, 10]), labels)
    sgd = votes("sgd", np.repeat([0, 1], [30, 10]), labels)
    pictures = {index: np.zeros((8, 8), np.uint8) for index in range(40)}
    return DisagreementDisplay(
        disagreements=[Disagreement(sgd, adam, 1.0, np.arange(30), np.arange(30, 40))],
        pictures=pictures,
        class_names=["no", "yes"],
        styles={name: style_of(name) for name in ("adam", "sgd")},
    )


def test_half_of_a_row_is_recognized_by_each(display):
    (each,) = display.rows
    assert display.shown(each) == [*range(6), *range(30, 36)]
    captions = [text.get_text() for text in display.plot().artists["captions"]]
    assert captions == ["is yes\nsgd: no"] * 6 + ["is yes\nadam: no"] * 6


def test_images_that_no_run_has_kept_are_not_shown(display):
    display.pictures = {index: display.pictures[index] for index in (3, 31, 32)}
    (each,) = display.rows
    assert display.shown(each) == [3, 31, 32]
    display.pictures = {}
    assert display.rows == []
