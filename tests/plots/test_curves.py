"""Curves: what is averaged, smoothed and cut, and what the pictures say about it."""

import re

import numpy as np
import pandas as pd
import pytest
from displays import note
from made_studies import workload_of

from optlab.plots.curves import (
    AccuracyCurvesDisplay,
    Curve,
    LossAndAccuracyDisplay,
    LossCurvesDisplay,
    band_note,
    centered_mean,
    window_for,
)
from optlab.plots.palette import line_style


def configurations_of(writer):
    return workload_of(writer).configurations


@pytest.fixture
def five_seeds(new_study):
    writer = new_study()
    for seed in range(5):
        writer.run("adam", seed)
    for seed in range(4):
        writer.run("rmsprop", seed)
    writer.run("rmsprop", 4, status="diverged", broken_after=130)
    return writer


def test_centered_mean_by_hand():
    values = np.array([6.0, 0.0, 3.0, 3.0, 9.0])
    # Start: one value; middle: three; end: two, so that it is not one noisy batch
    assert list(centered_mean(values, 3)) == [6.0, 3.0, 2.0, 5.0, 6.0]
    assert list(centered_mean(values, 3, sharp_end=True)) == [6.0, 3.0, 2.0, 3.0, 9.0]
    assert list(centered_mean(values, 1)) == list(values)


def test_window_is_odd_and_bounded():
    assert [window_for(steps) for steps in (1, 49, 500, 9380, 10**6)] == [1, 1, 21, 375, 801]


def test_loss_curves_name_axes_and_lines_and_keep_the_raw_losses(five_optimizers):
    display = LossCurvesDisplay.from_configurations(configurations_of(five_optimizers)).plot()
    names = {"adam", "adamw", "sgd", "rmsprop", "adagrad"}
    assert display.window == 9
    assert "step" in display.ax.get_xlabel()
    assert "cross-entropy" in display.ax.get_ylabel()
    assert set(display.raw) == names
    assert set(display.artists["labels"]) == {
        *("Adam", "AdamW", "SGD with momentum", "RMSprop", "Adagrad")
    }
    assert "9 steps" in note(display)


@pytest.mark.parametrize(
    ("optimizer", "num_epochs", "steps_per_epoch", "scale"),
    [("adam", 4, 500, "log"), ("adagrad", 1, 20, "linear")],  # from 2.3 to 0.03, or to about 2.2
)
def test_loss_axis_is_logarithmic_where_losses_span_decades(
    optimizer, num_epochs, steps_per_epoch, scale, new_study
):
    writer = new_study(num_epochs=num_epochs, steps_per_epoch=steps_per_epoch)
    writer.run(optimizer)
    display = LossCurvesDisplay.from_configurations(configurations_of(writer)).plot()
    assert display.ax.get_yscale() == scale


def test_several_seeds_give_mean_and_band(five_seeds):
    adam = configurations_of(five_seeds)[0]
    display = LossCurvesDisplay.from_configurations([adam])
    (curve,) = display.curves
    smoothed = np.stack([centered_mean(run.steps["train/loss"], 9) for run in adam.runs])
    assert (curve.num_runs, display.raw) == (5, {})
    np.testing.assert_allclose(curve.mean, smoothed.mean(axis=0))
    # t(4; 0.975) = 2.776445
    half = 2.776445 * smoothed.std(axis=0, ddof=1) / np.sqrt(5)
    np.testing.assert_allclose(curve.high - curve.mean, half, rtol=1e-5)


def test_diverged_run_is_drawn_to_its_cross(five_seeds):
    rmsprop = configurations_of(five_seeds)[1]
    display = LossCurvesDisplay.from_configurations([rmsprop]).plot()
    ((x, _),) = display.curves[0].broken_off
    assert x[-1] == 129  # the 130th loss is not finite
    assert display.curves[0].num_runs == 4
    ((_, _, cross),) = display.artists["lines"]
    assert (cross.get_marker(), cross.get_xdata()[0]) == ("x", 129)
    assert "cross: diverged" in note(display)


def test_configuration_that_only_diverged_is_still_in_the_curves(new_study):
    writer = new_study()
    writer.run("adam")
    writer.run("sgd", status="diverged", broken_after=5)
    display = LossCurvesDisplay.from_configurations(configurations_of(writer)).plot()
    assert set(display.artists["labels"]) == {"Adam", "SGD with momentum"}


def test_curves_of_seeds_with_different_lengths_end_with_the_shortest_and_say_so(new_study):
    writer = new_study(num_epochs=4)
    folder = writer.run("adam", 0)
    writer.run("adam", 1)
    display = LossCurvesDisplay.from_configurations(configurations_of(writer)).plot()
    assert not display.curves[0].is_cut
    assert "stopped" not in note(display)
    lines = (folder / "steps.csv").read_text().splitlines()[:101]
    (folder / "steps.csv").write_text("\n".join(lines) + "\n")
    display = LossCurvesDisplay.from_configurations(configurations_of(writer)).plot()
    assert display.curves[0].x[-1] == 100
    assert display.curves[0].is_cut
    assert "stopped" in note(display)


def test_accuracy_curves_are_in_percent_and_show_the_target(five_optimizers):
    configurations = configurations_of(five_optimizers)
    display = AccuracyCurvesDisplay.from_configurations(configurations, target=0.97).plot()
    assert re.match(r"validation .*\(%\)", display.ax.get_ylabel())
    assert "target 97 %" in note(display)
    assert "stretched" in note(display)
    low, high = display.ax.get_ylim()
    assert 80 < low < 97 < high <= 100


def test_perfect_accuracy_can_be_drawn(new_study):
    writer = new_study()
    writer.run("adam", accuracy=1.0, test_accuracy=1.0)
    writer.run("sgd", accuracy=0.9)
    display = AccuracyCurvesDisplay.from_configurations(configurations_of(writer)).plot()
    top = display.ax.transAxes.transform((1, 1))[1]
    assert display.ax.transData.transform((1, 100))[1] < top
    assert display.png()[:4] == b"\x89PNG"


def test_band_of_two_runs_is_named_apart_from_intervals():
    def curve(num_runs):
        return Curve("adam", line_style("adam"), *[np.ones(2)] * 4, num_runs=num_runs)

    assert re.search(r"95 % .*\b6 runs .*\b2 runs.*range", band_note([curve(6), curve(2)]))
    assert re.search(r"95 % .*\b3 .*\b6 runs$", band_note([curve(6), curve(3)]))
    assert re.search(r"range .*\b2 runs$", band_note([curve(2)]))
    assert "95 %" not in band_note([curve(2)])


def test_loss_and_accuracy_take_epochs_csv(five_optimizers):
    epochs = pd.read_csv(five_optimizers.written[0] / "epochs.csv")
    display = LossAndAccuracyDisplay(epochs=epochs, title="sgd, seed 0", best_epoch=3).plot()
    loss, accuracy = display.artists["panels"]
    assert (loss.get_ylabel(), accuracy.get_ylabel()) == ("cross-entropy", "accuracy (%)")
    np.testing.assert_allclose(
        accuracy.get_lines()[1].get_ydata(), 100 * epochs["val/accuracy"].to_numpy()
    )
    assert "epoch 3" in note(display)
