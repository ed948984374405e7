"""Images that only one of two configurations recognizes."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from optlab.analysis.disagreement import Disagreement, Votes, hardest_images
from optlab.plots.disagreement import DisagreementDisplay, HardestImagesDisplay
from optlab.plots.palette import line_style


def votes(optimizer, majority, labels):
    row = SimpleNamespace(label=optimizer, name=optimizer.title())
    return Votes(row, labels, majority, 1.0 * (majority == labels), None)


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
        styles={name: line_style(name) for name in ("adam", "sgd")},
    )


def test_half_of_a_row_is_recognized_by_each(display):
    (each,) = display.rows
    assert display.shown(each) == [*range(6), *range(30, 36)]
    artists = display.plot().artists["captions"]
    captions = [text.get_text() for text in artists]
    assert len(captions) == 12
    assert all(re.fullmatch("yes\n.* no", caption) for caption in captions)
    colors = [text.get_color() for text in artists]
    assert colors == [line_style("sgd").color] * 6 + [line_style("adam").color] * 6


def test_images_that_no_run_has_kept_are_not_shown(display):
    display.pictures = {index: display.pictures[index] for index in (3, 31, 32)}
    (each,) = display.rows
    assert display.shown(each) == [3, 31, 32]
    display.pictures = {}
    assert display.rows == []


def test_hardest_images_come_with_what_most_configurations_read():
    labels = np.array([0, 1, 2])
    answers = [[0, 0, 0], [0, 0, 1], [0, 1, 1], [0, 1, 1]]
    four = [votes(name, np.array(each), labels) for name, each in zip("abcd", answers, strict=True)]
    hardest = hardest_images(four)
    assert hardest.tolist() == [2]  # of image 1, half are right
    display = HardestImagesDisplay(
        votes=four,
        images=hardest,
        pictures={2: np.zeros((8, 8), np.uint8)},
        class_names=["no", "yes", "maybe"],
    )
    (caption,) = display.plot().artists["captions"]
    assert re.fullmatch("maybe\n.* yes", caption.get_text())
