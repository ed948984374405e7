"""What the sections of a problem say about the rows they show, and about how runs are paired."""

import pytest

from optlab.results import sections
from optlab.results.page import ReportFolder, Text
from optlab.results.sections import problem_sections
from optlab.results.study import read_study
from optlab.results.summary import summarize


@pytest.fixture
def said(tmp_path):
    """The paragraphs of each section of a study's only problem."""

    def texts_of(writer):
        (problem,) = read_study(writer.folder).problems
        made = problem_sections(summarize(problem), ReportFolder(tmp_path), "", tuned=False)
        return {
            section.title: " ".join(b.text for b in section.blocks if isinstance(b, Text))
            for section in made
        }

    return texts_of


SHARED = "a pair starts from the same weights and sees the same batches"
APART = "Paired by seed; these settings do not share weights or batches."


def test_optimizers_share_weights_and_batches(five_optimizers, said):
    text = said(five_optimizers)["Paired differences"]
    assert SHARED in text
    assert APART not in text


@pytest.mark.parametrize(
    "knob", [{"data.batch_size": 256}, {"model.hidden": [32]}, {"module.label_smoothing": 0.1}]
)
def test_settings_of_other_data_or_network_share_neither(knob, new_study, said):
    writer = new_study()
    writer.run("adam", accuracy=0.98)
    writer.run("adam", accuracy=0.97, config=knob)
    text = said(writer)["Paired differences"]
    assert APART in text
    assert SHARED not in text


def test_networks_share_neither(new_study, said):
    writer = new_study()
    for model in ("mlp", "cnn"):
        writer.run("adam", model=model)
    assert APART in said(writer)["Paired differences"]


def test_cut_pictures_say_so(five_optimizers, said, monkeypatch):
    whole = said(five_optimizers)
    assert not any("picture shows" in text for text in whole.values())
    monkeypatch.setattr(sections, "MOST_ROWS", 2)
    cut = said(five_optimizers)
    assert "The picture shows the 2 best of 5 settings by time." in cut["Time to target"]
    by_validation = "The picture shows the 2 best of 5 settings by validation"
    for title in (
        "Paired differences", "F1 of each class", "Generalisation gap", "Training cost",
    ):  # fmt: skip
        assert by_validation in cut[title]


def test_hardest_class_is_that_of_all_settings_shown_or_not(new_study, said, monkeypatch):
    writer = new_study(classes=3)
    for optimizer, accuracy, matrix in (
        ("adam", 0.98, [[9, 1, 0], [0, 10, 0], [0, 0, 10]]),  # alone, class 0 is its hardest
        ("sgd", 0.97, [[10, 0, 0], [0, 10, 0], [0, 5, 5]]),
    ):
        writer.run(optimizer, accuracy=accuracy, record={"confusion_matrix": matrix})
    monkeypatch.setattr(sections, "MOST_ROWS", 1)
    # F1 of class 2 is 1 and 2 * 5 / (5 + 10) = 2/3
    assert "Hardest for all together: 2 (83.3 % on average)" in said(writer)["F1 of each class"]
