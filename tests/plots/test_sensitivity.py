"""Accuracy over the learning rate: the best one, and diverged runs that cost and are shown."""

import numpy as np
import pytest
from displays import note
from made_studies import workload_of

from optlab.analysis import summarize
from optlab.analysis.learning_rates import LRPoint, lr_points_of_workload
from optlab.plots.sensitivity import LRSensitivityDisplay


def test_best_learning_rate_is_not_the_one_that_few_seeds_survive(risky_lr):
    workload = workload_of(risky_lr)
    points, option = lr_points_of_workload(workload)
    display = LRSensitivityDisplay(points=points, option=option).plot()
    ((line, filled),) = display.artists["lines"]
    assert list(line.get_xdata()) == [0.1, 1.0, 10.0]
    assert list(filled.get_xdata()) == [1.0]
    assert summarize(workload).best.configuration.config["lr_multiplier"] == 1.0
    (count,) = display.artists["counts"]
    assert (count.get_text(), count.xy[0]) == ("4 of 5", 10.0)
    assert "diverged" in note(display)


def test_diverged_learning_rates_are_crosses(new_study):
    writer = new_study()
    for optimizer in ("adam", "sgd"):
        for scale in (0.1, 1.0):
            writer.run(optimizer, config={"lr_multiplier": scale}, accuracy=0.9 + scale / 20)
        writer.run(optimizer, status="diverged", config={"lr_multiplier": 100.0})
    points, option = lr_points_of_workload(workload_of(writer))
    display = LRSensitivityDisplay(points=points, option=option).plot()
    assert display.ax.get_xscale() == "log"
    assert "lr_multiplier" in display.ax.get_xlabel()
    crosses = display.artists["crosses"]
    assert {name: list(line.get_xdata()) for name, line in crosses.items()} == {
        "adam": [100.0],
        "sgd": [100.0],
    }


def test_strip_of_diverged_runs_leaves_most_of_the_height_to_the_curves():
    names = [f"optimizer{n}" for n in range(17)]
    points = [LRPoint(name, lr, 0.9, "finished", 0.9) for name in names for lr in (1.0, 10.0)]
    points += [LRPoint(name, 100.0, None, "diverged", 0.0) for name in names]
    display = LRSensitivityDisplay(points=points).plot()
    display.figure.canvas.draw()
    crosses = list(display.artists["crosses"].values())
    heights = sorted(cross.get_ydata()[0] for cross in crosses)
    assert heights[-1] < 0.25
    axes_points = display.ax.get_window_extent().height * 72 / display.figure.dpi
    assert crosses[0].get_markersize() < np.diff(heights).min() * axes_points  # none hides another


def test_nothing_finished_can_be_drawn():
    points = [LRPoint("sgd", lr, None, "diverged", 0.0) for lr in (1.0, 10.0)]
    assert LRSensitivityDisplay(points=points).plot().png()[:4] == b"\x89PNG"


def test_labels_of_one_optimizer_are_lines_of_their_own():
    points = [
        LRPoint("adam", lr, accuracy, "finished", accuracy, configuration=f"adam · batch={size}")
        for size, accuracies in ((32, (0.9, 0.8)), (128, (0.8, 0.98)))
        for lr, accuracy in zip((0.001, 0.01), accuracies, strict=True)
    ]
    display = LRSensitivityDisplay(points=points)
    found = {name: [at.accuracies for at in line] for name, line in display.lines().items()}
    assert found == {
        "adam · batch=128": [(0.8,), (0.98,)],
        "adam · batch=32": [(0.9,), (0.8,)],
    }
    first, second = (lines[0] for lines in display.plot().artists["lines"])
    assert first.get_color() == second.get_color()
    assert first.get_linestyle() != second.get_linestyle()


@pytest.mark.parametrize(
    ("joined", "word", "other"), [(True, "seeds", "trials"), (False, "trials", "seeds")]
)
def test_repeats_are_called_what_they_are(joined, word, other):
    points = [LRPoint("adam", 0.01, value, "finished", value) for value in (0.9, 0.8)]
    display = LRSensitivityDisplay(points=points, joined=joined).plot()
    assert word in note(display)
    assert other not in note(display)
    (at,) = display.lines()["adam"]
    assert at.accuracies == (0.9, 0.8)


def test_note_says_that_a_point_is_the_best_of_several_configurations():
    points = [
        LRPoint("adam", lr, 0.9, "finished", 0.9, num_configurations=2) for lr in (0.001, 0.01)
    ]
    assert "configuration" in note(LRSensitivityDisplay(points=points).plot())
