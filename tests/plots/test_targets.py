"""Time to target and performance profiles as pictures."""

import numpy as np
import pytest
from made_studies import summary_of

from optlab.plots.targets import PerformanceProfileDisplay, TimeToTargetDisplay


def test_misses_come_last_and_are_crosses(five_optimizers):
    display = TimeToTargetDisplay.from_summary(summary_of(five_optimizers)).plot()
    assert display.labels[-1] == "adagrad"
    rows = [cross.get_ydata()[0] for cross in display.artists["misses"]]
    assert len(display.labels) - 1 in rows
    assert "missed" in [text.get_text() for text in display.ax.texts]


def test_rows_can_be_cut_to_the_fastest(five_optimizers):
    summary = summary_of(five_optimizers)
    every = TimeToTargetDisplay.from_summary(summary)
    fastest = TimeToTargetDisplay.from_summary(summary, most=2)
    assert fastest.labels == every.labels[:2]
    assert fastest.styles == every.styles[:2]


def test_time_to_target_needs_a_target(new_study):
    writer = new_study(target=None)
    writer.run("adam")
    with pytest.raises(ValueError, match=r"MNIST, mlp .*\btarget\b"):
        TimeToTargetDisplay.from_summary(summary_of(writer))


def test_performance_profile_labels_axes_and_lines():
    tau = np.linspace(1, 4, 5)
    shares = {"sgd": tau / 8, "adam": tau / 4}
    display = PerformanceProfileDisplay(tau=tau, shares=shares, num_workloads=2).plot()
    assert "time" in display.ax.get_xlabel()
    assert display.artists["labels"] == ["Adam", "SGD with momentum"]  # by their ends
