"""The picture of accuracy, time and memory."""

import pytest
from displays import note
from made_studies import summary_of

from optlab.analysis.pareto import tradeoffs
from optlab.plots.palette import line_style
from optlab.plots.pareto import ParetoDisplay


@pytest.fixture
def drawn(new_study):
    """Adam is best; SGD is as fast as it and worse; Adagrad is slower and takes less memory."""

    def make(**record):
        writer = new_study()
        for optimizer, accuracy, time_s, gib in (
            ("adam", 0.98, 10.0, 1.0),
            ("sgd", 0.97, 10.0, 1.0),
            ("adagrad", 0.96, 20.0, 0.5),
            ("rmsprop", 0.95, 5.0, 1.0),
        ):
            costs = {"train_time_s": time_s, "peak_memory_gib": gib}
            writer.run(optimizer, test_accuracy=accuracy, record=costs)
        writer.run("adamw", record={"peak_memory_gib": None})  # has nothing to show
        writer.run("adam", 1, status="failed", record=record)
        writer.run("adam", 2, test_accuracy=0.98, record=record | costs_of_adam)
        return ParetoDisplay.from_summary(
            summary := summary_of(writer), tradeoffs(summary.finished)
        ).plot()

    costs_of_adam = {"train_time_s": 10.0, "peak_memory_gib": 1.0}
    return make


def optimal(display):
    pairs = zip(display.tradeoffs, display.artists["is_optimal"], strict=True)
    return {each.row.label for each, is_optimal in pairs if is_optimal}


def test_dominated_configurations_are_hollow(drawn):
    display = drawn()
    assert optimal(display) == {"adam", "adagrad", "rmsprop"}
    points = {point.get_label(): point for point in display.artists["points"]}
    assert points.keys() == {"adam", "sgd", "adagrad", "rmsprop"}
    assert points["sgd"].get_markerfacecolor() == "white"
    assert points["adam"].get_markerfacecolor() == line_style("adam").color
    assert len(display.artists["fronts"]) == 2
    assert "comparable" not in note(display)


def test_seconds_that_do_not_compare_decide_nothing(drawn):
    display = drawn(device={"name": "another"})
    assert optimal(display) == {"adam", "adagrad"}
    assert len(display.artists["fronts"]) == 1
    assert "comparable" in note(display)
