"""Comparisons: what their lines are, and rows beyond the axis."""

import pytest
from displays import note
from made_studies import summary_of

from optlab.plots.comparisons import (
    GeneralizationGapDisplay,
    PairedDifferencesDisplay,
    TrainingCostDisplay,
)


@pytest.fixture
def five_seeds(new_study):
    """Five seeds of adam and sgd, four of rmsprop."""
    writer = new_study()
    for seed in range(5):
        for optimizer in ("adam", "sgd", *(["rmsprop"] if seed < 4 else [])):
            writer.run(optimizer, seed)
    return writer


def test_forest_plot_says_what_its_lines_are(five_seeds):
    display = PairedDifferencesDisplay.from_summary(summary_of(five_seeds)).plot()
    assert "Adam" in display.ax.get_xlabel()
    assert "95 %" in note(display)
    words = {
        label: text.get_text()
        for label, text in zip(display.labels, display.artists["words"], strict=True)
    }
    assert words["rmsprop"].endswith(", too few seeds")
    assert "seeds" not in words["sgd"]
    assert len(display.artists["intervals"]) == 2


def test_forest_plot_moves_a_far_row_out_of_the_way(new_study):
    writer = new_study()
    for optimizer, test in (("adam", 0.97), ("adamw", 0.9695), ("sgd", 0.969), ("adagrad", 0.5)):
        for seed in range(3):
            writer.run(optimizer, seed, accuracy=test + 0.01, test_accuracy=test - seed * 1e-5)
    display = PairedDifferencesDisplay.from_summary(summary_of(writer)).plot()
    (arrow,) = display.artists["beyond"]
    assert (arrow.get_marker(), arrow.get_ydata()[0]) == ("<", display.labels.index("adagrad"))
    assert display.ax.get_xlim()[0] > -1


def test_gap_is_a_line_from_test_to_train(new_study):
    writer = new_study()
    writer.run("adam", accuracy=0.97, test_accuracy=0.96)  # trains to 0.97 + 0.014
    display = GeneralizationGapDisplay.from_summary(summary_of(writer)).plot()
    (line,) = display.artists["gaps"]
    assert list(line.get_xdata()) == pytest.approx([96.0, 98.4])


def test_training_cost_is_a_bar_of_the_mean(five_seeds):
    display = TrainingCostDisplay.from_summary(summary_of(five_seeds)).plot()
    means = [bar.get_width() for bar in display.artists["bars"]]
    assert means == pytest.approx([times.mean() for times in display.train_time_s])
    assert [len(times) for times in display.train_time_s] == [
        4 if label == "rmsprop" else 5 for label in display.labels
    ]
