"""What the figures say: their labels, lines and numbers, never their pixels."""

import threading
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from optlab.results.figures import (
    AccuracyCurves,
    ConfusionMatrices,
    ConfusionMatrix,
    FirstLayerFilters,
    GeneralisationGap,
    LossAndAccuracy,
    LossCurves,
    LRSensitivity,
    PairedDifferences,
    PerClassF1,
    PerformanceProfile,
    SamplePredictions,
    TimeToTarget,
    TrainingCost,
)
from optlab.results.figures.canvas import headline, sheet, stretched_percent
from optlab.results.figures.curve import Curve, band_note
from optlab.results.figures.line_names import spread_apart
from optlab.results.figures.smoothing import centred_mean, envelope, thin, window_for
from optlab.results.palette import style_of
from optlab.results.rates import RatePoint, rates_of_problem
from optlab.results.statistics import PairedDifference
from optlab.results.study import read_study
from optlab.results.summary import summarize


def texts(picture):
    ax = picture.ax
    return [text.get_text() for text in ax.texts]


def problem_of(writer):
    (problem,) = read_study(writer.folder).problems
    return problem


@pytest.fixture
def five_seeds(new_study):
    writer = new_study()
    for seed in range(5):
        for optimizer in ("adam", "sgd"):
            writer.run(optimizer, seed)
    for seed in range(4):
        writer.run("rmsprop", seed)
    writer.run("rmsprop", 4, status="diverged", reason="loss is not finite", broken_after=130)
    return writer


def test_centred_mean_by_hand():
    values = np.array([6.0, 0.0, 3.0, 3.0, 9.0])
    # start: one value; middle: three; end: two, so that it is not one noisy batch
    assert list(centred_mean(values, 3)) == [6.0, 3.0, 2.0, 5.0, 6.0]
    assert list(centred_mean(values, 3, sharp_end=True)) == [6.0, 3.0, 2.0, 3.0, 9.0]
    assert list(centred_mean(values, 1)) == list(values)


def test_window_is_odd_and_bounded():
    assert [window_for(steps) for steps in (1, 49, 500, 9380, 10**6)] == [1, 1, 21, 375, 801]


def test_thinned_lines_keep_their_ends_and_extremes():
    values = np.zeros(10_000)
    values[4321] = 7.0
    assert thin(10_000)[[0, -1]].tolist() == [0, 9_999]
    assert 4321 in envelope(values)
    assert len(envelope(values)) <= 601
    assert envelope(values)[-1] == 9_999


def test_loss_curves_name_smoothing_axes_and_lines(five_optimizers):
    picture = LossCurves.from_groups(problem_of(five_optimizers).groups).plot()
    assert picture.window == 9
    assert picture.ax.get_xlabel() == "optimizer step"
    assert picture.ax.get_ylabel() == "cross-entropy of the batch"
    said = texts(picture)
    assert "line: mean of 9 steps; faint: every step" in said
    assert {"adam", "adamw", "sgd", "rmsprop", "adagrad"} <= set(said)


def test_loss_axis_is_logarithmic_where_losses_span_decades(new_study):
    writer = new_study(steps_per_epoch=500)  # adam's made-up loss falls from 2.3 to about 0.03
    writer.run("adam")
    assert LossCurves.from_groups(problem_of(writer).groups).plot().ax.get_yscale() == "log"


def test_loss_axis_is_linear_where_losses_stay_close(new_study):
    writer = new_study(num_epochs=1, steps_per_epoch=20)
    writer.run("adagrad")
    assert LossCurves.from_groups(problem_of(writer).groups).plot().ax.get_yscale() == "linear"


def test_several_seeds_give_mean_and_band(five_seeds):
    adam = problem_of(five_seeds).groups[0]
    curve = LossCurves.from_groups([adam]).curves[0]
    smoothed = np.stack([centred_mean(run.steps["train/loss"], 9) for run in adam.runs])
    assert curve.num_runs == 5
    assert curve.raw is None
    np.testing.assert_allclose(curve.mean, smoothed.mean(axis=0))
    # t(4; 0.975) = 2.776445
    half = 2.776445 * smoothed.std(axis=0, ddof=1) / np.sqrt(5)
    np.testing.assert_allclose(curve.high - curve.mean, half, rtol=1e-5)


def test_diverged_run_is_drawn_to_its_cross(five_seeds):
    groups = problem_of(five_seeds).groups
    rmsprop = next(group for group in groups if group.label == "rmsprop")
    picture = LossCurves.from_groups([rmsprop]).plot()
    (piece,) = picture.curves[0].broken_off
    assert piece[0][-1] == 129  # the 130th loss is not finite
    assert picture.curves[0].num_runs == 4
    assert any("cross: diverged" in text for text in texts(picture))


def test_group_that_only_diverged_is_still_in_the_curves(new_study):
    writer = new_study()
    writer.run("adam")
    writer.run("sgd", status="diverged", broken_after=5)
    picture = LossCurves.from_groups(problem_of(writer).groups).plot()
    assert "sgd" in texts(picture)


def test_curves_of_seeds_with_different_lengths_end_with_the_shortest(new_study):
    writer = new_study(num_epochs=4)
    folder = writer.run("adam", 0)
    writer.run("adam", 1)
    lines = (folder / "steps.csv").read_text().splitlines()[:101]
    (folder / "steps.csv").write_text("\n".join(lines) + "\n")
    curve = LossCurves.from_groups(problem_of(writer).groups).curves[0]
    assert curve.x[-1] == 100


def test_accuracy_curves_are_in_percent_and_show_the_target(five_optimizers):
    groups = problem_of(five_optimizers).groups
    picture = AccuracyCurves.from_groups(groups, target=0.97).plot()
    assert picture.ax.get_ylabel() == "validation accuracy (%)"
    assert any("dotted line: target 97 %" in text for text in texts(picture))
    assert any("axis stretched towards 100 %" in text for text in texts(picture))
    low, high = picture.ax.get_ylim()
    assert 80 < low < 97 < high <= 100


def test_perfect_accuracy_can_be_drawn(new_study):
    writer = new_study()
    writer.run("adam", accuracy=1.0, test_accuracy=1.0)
    writer.run("sgd", accuracy=0.9)
    picture = AccuracyCurves.from_groups(problem_of(writer).groups).plot()
    assert height_of(picture.ax, 100) < 1
    assert picture.png()[:4] == b"\x89PNG"


def height_of(ax, percent):
    """Where a value is drawn: 0 at the bottom of the axes, 1 at their top."""
    return ax.transAxes.inverted().transform(ax.transData.transform((1, percent)))[1]


@pytest.mark.parametrize(
    "accuracies",
    [
        [0.8, 0.972, 0.993, 1.0],  # 144 images: one mistake is 0.7 %
        [0.95, 0.9998, 0.99985],
        [0.1, 0.4, 1.0],
        [0.95, 1.0, 1.0],
    ],
)
def test_stretched_axis_shows_perfect_accuracy_at_its_top(accuracies):
    ax = sheet(None)
    assert stretched_percent(ax, accuracies) == "axis stretched towards 100 %"
    last = ax.get_yticklabels()[-1]
    assert last.get_text() == "100"
    heights = [height_of(ax, percent) for percent in ax.get_yticks()]
    assert 0.95 < heights[-1] < 0.99
    assert np.diff(heights).min() > 0.04  # labels do not collide
    drawn = [height_of(ax, 100 * accuracy) for accuracy in sorted(set(accuracies))]
    assert drawn[0] > 0
    assert np.diff(drawn).min() > 0.005  # what differs is drawn apart, mistakes from none as well


def test_stretched_axis_has_no_place_for_100_where_nothing_comes_near():
    ax = sheet(None)
    stretched_percent(ax, [0.95, 0.978])
    assert ax.get_ylim()[1] == pytest.approx(98.13)  # 100 - 0.85 * 2.2
    assert "100" not in [label.get_text() for label in ax.get_yticklabels()]


def test_end_labels_do_not_overlap_and_stay_inside():
    places = spread_apart([0.5, 0.5, 0.51, 0.0, 0.99, 1.0], gap=0.05, low=0.0, high=1.0)
    assert np.diff(np.sort(places)).min() >= 0.05 - 1e-9
    assert places.min() >= 0
    assert places.max() <= 1
    assert list(spread_apart([0.2, 0.8], 0.05, 0.0, 1.0)) == [0.2, 0.8]


def test_many_lines_get_a_legend(new_study):
    writer = new_study(num_epochs=1, steps_per_epoch=30)
    for size in range(16):
        writer.run("adam", config={"data.batch_size": 2**size})
    picture = LossCurves.from_groups(problem_of(writer).groups).plot()
    assert len(picture.ax.get_legend().get_texts()) == 16


def extents(artists):
    return [artist.get_window_extent() for artist in artists]


def is_inside(picture, artist):
    box, sheet_box = artist.get_window_extent(), picture.figure.bbox
    return sheet_box.x0 <= box.x0 and box.x1 <= sheet_box.x1 and sheet_box.y0 <= box.y0


def test_legend_of_many_or_long_names_lies_below_the_axes(new_study):
    many = [RatePoint(f"optimizer{n}", rate, 0.9, "finished", 0.9) for n in range(17)
            for rate in (1.0, 10.0)]  # fmt: skip
    writer = new_study()
    for name in ("sharpness_aware_minimization_with_adamw", "sgd"):
        for size in (64, 128):
            config = {"scheduler.name": "warmup_cosine" if size > 64 else "constant"}
            writer.run(name, config={"data.batch_size": size, "weight_decay_on": name, **config})
    groups = problem_of(writer).groups
    for picture in (LRSensitivity(many).plot(), LossCurves.from_groups(groups).plot()):
        legend = picture.ax.get_legend()
        picture.figure.canvas.draw()
        assert legend.get_window_extent().y1 < picture.ax.xaxis.label.get_window_extent().y0
        assert is_inside(picture, legend)


def test_strip_of_diverged_rates_leaves_most_of_the_height_to_the_curves():
    points = [RatePoint(f"optimizer{n}", rate, 0.9, "finished", 0.9) for n in range(17)
              for rate in (1.0, 10.0)]  # fmt: skip
    points += [RatePoint(f"optimizer{n}", 100.0, None, "diverged", 0.0) for n in range(17)]
    picture = LRSensitivity(points).plot()
    heights = [cross.get_ydata()[0] for cross in picture.artists["crosses"].values()]
    assert max(heights) < 0.25
    size_in = picture.artists["crosses"]["optimizer0"].get_markersize() / 72
    ax_in = picture.ax.get_position().height * picture.figure.get_figheight()
    assert size_in < np.diff(np.sort(heights)).min() * ax_in  # none hides another


LONG_LABELS = [
    f"adamw · scheduler=warmup_cosine · batch_size={size} · weight_decay_on=weights"
    for size in (64, 128, 256)
]


def test_rows_are_as_high_as_their_labels():
    f1 = PerClassF1(np.full((3, 2), 0.9), LONG_LABELS, ["0", "1"]).plot()
    forest = PairedDifferences(
        LONG_LABELS,
        [PairedDifference((0.01, 0.02), 0.01, 0.02)] * 3,
        [style_of("adamw")] * 3,
        LONG_LABELS[0],
    ).plot()
    for picture in (f1, forest):
        picture.figure.canvas.draw()
        labels = picture.ax.get_yticklabels()
        assert len(labels) == 3
        for upper, lower in pairwise(extents(labels)):
            assert upper.y0 > lower.y1
    assert is_inside(forest, forest.ax.xaxis.label)


def test_titles_of_confusion_matrices_stay_clear_of_what_is_above():
    names = ["airplane", "automobile"]
    picture = ConfusionMatrices([np.eye(2, dtype=int)] * 3, LONG_LABELS, names).plot()
    picture.figure.canvas.draw()
    first, second, third = extents(panel.ax.title for panel in picture.artists["panels"])
    assert first.y1 < min(box.y0 for box in extents(picture.ax.texts))
    assert first.x1 < second.x0
    assert third.y1 < min(
        box.y0 for box in extents(picture.artists["panels"][0].ax.get_xticklabels())
    )


def test_band_of_two_runs_is_named_apart_from_intervals():
    def curve(num_runs):
        return Curve("adam", style_of("adam"), *[np.ones(2)] * 4, num_runs=num_runs)

    assert band_note([curve(6), curve(2)]) == "band: 95 % over 6 runs (2 runs: range)"
    assert band_note([curve(6), curve(3)]) == "band: 95 % over 3 to 6 runs"
    assert band_note([curve(2)]) == "band: range of 2 runs"


def test_forest_plot_names_ranges_apart_from_intervals(new_study):
    writer = new_study()
    for seed in range(6):
        for optimizer in ("adam", "sgd", *(["rmsprop"] if seed < 2 else [])):
            writer.run(optimizer, seed)
    picture = PairedDifferences.from_summary(summarize(problem_of(writer))).plot()
    note = next(text for text in texts(picture) if text.startswith("line:"))
    assert "95 % bootstrap interval of the mean (below 5 pairs: their range)" in note


def test_long_note_takes_two_lines_inside_the_sheet():
    ax = sheet(None)
    headline(ax, "Title", "what is drawn and how to read it; " * 4)
    ax.figure.canvas.draw()
    note, title = extents(ax.texts)
    assert ax.texts[0].get_text().count("\n") == 1
    assert note.x1 < ax.figure.bbox.x1
    assert note.y1 <= title.y0
    assert title.y1 < ax.figure.bbox.y1


def test_figures_draw_on_given_axes(five_optimizers):
    summary = summarize(problem_of(five_optimizers))
    ax = sheet(None)
    for picture in (GeneralisationGap.from_summary(summary), TrainingCost.from_summary(summary)):
        assert picture.plot(ax) is picture
        assert picture.ax is ax


def test_figure_that_is_not_drawn_cannot_be_saved(tmp_path):
    with pytest.raises(ValueError, match="ConfusionMatrix is not drawn yet"):
        ConfusionMatrix(np.eye(2), ["a", "b"]).save(tmp_path / "x.png")


def test_forest_plot_says_what_it_shows(five_seeds):
    picture = PairedDifferences.from_summary(summarize(problem_of(five_seeds))).plot()
    assert picture.ax.get_xlabel().startswith("test accuracy minus that of adam")
    words = [text.get_text() for text in picture.artists["words"]]
    assert any("too few pairs" in text for text in words)  # rmsprop has four
    assert len(picture.artists["intervals"]) == 2


def test_forest_plot_moves_a_far_one_out_of_the_way(new_study):
    writer = new_study()
    for optimizer, test in (("adam", 0.97), ("adamw", 0.9695), ("sgd", 0.969), ("adagrad", 0.5)):
        for seed in range(3):
            writer.run(optimizer, seed, accuracy=test + 0.01, test_accuracy=test - seed * 1e-5)
    picture = PairedDifferences.from_summary(summarize(problem_of(writer))).plot()
    assert len(picture.artists["beyond"]) == 1
    assert picture.ax.get_xlim()[0] > -1
    assert any("arrow: beyond the axis" in text for text in texts(picture))


def test_time_to_target_shows_misses(five_optimizers):
    picture = TimeToTarget.from_summary(summarize(problem_of(five_optimizers))).plot()
    assert picture.labels[-1] == "adagrad"
    assert len(picture.artists["misses"]) >= 1
    assert "missed" in texts(picture)


def test_time_to_target_needs_a_target(new_study):
    writer = new_study(target=None)
    writer.run("adam")
    with pytest.raises(ValueError, match="MNIST, mlp has no single validation target"):
        TimeToTarget.from_summary(summarize(problem_of(writer)))


def test_lr_sensitivity_marks_diverged_rates(new_study):
    writer = new_study()
    for optimizer in ("adam", "sgd"):
        for scale in (0.1, 1.0):
            writer.run(optimizer, config={"lr_multiplier": scale}, accuracy=0.9 + scale / 20)
        writer.run(optimizer, status="diverged", config={"lr_multiplier": 100.0})
    points, knob = rates_of_problem(problem_of(writer))
    assert knob == "lr_multiplier"
    assert len(points) == 6
    picture = LRSensitivity(points, knob).plot()
    assert picture.ax.get_xscale() == "log"
    assert "lr_multiplier" in picture.ax.get_xlabel()
    crosses = picture.artists["crosses"]
    assert {name: list(line.get_xdata()) for name, line in crosses.items()} == {
        "adam": [100.0],
        "sgd": [100.0],
    }


def test_lr_sensitivity_of_own_rates_uses_the_rate(new_study):
    writer = new_study()
    for lr in (0.001, 0.01):
        writer.run("adam", config={"optimizer.lr": lr})
    points, knob = rates_of_problem(problem_of(writer))
    assert (knob, [point.rate for point in points]) == ("lr", [0.001, 0.01])


def test_one_rate_each_has_no_sensitivity(five_optimizers):
    assert rates_of_problem(problem_of(five_optimizers)) == ([], "lr")


def test_lr_sensitivity_with_nothing_finished_can_be_drawn():
    points = [RatePoint("sgd", rate, None, "diverged", 0.0) for rate in (1.0, 10.0)]
    assert LRSensitivity(points).plot().png()[:4] == b"\x89PNG"


def test_confusion_matrix_names_the_worst_pair():
    matrix = np.array([[8, 2, 0], [0, 9, 1], [0, 0, 10]])
    picture = ConfusionMatrix(matrix, ["cat", "dog", "bird"]).plot()
    assert "most often: cat as dog (2), dog as bird (1)" in texts(picture)
    assert picture.ax.get_ylabel() == "true"
    numbers = sorted(text.get_text() for text in picture.artists["numbers"])
    assert numbers == [
        "1",
        "10",
        "2",
        "8",
        "9",
    ]


def test_confusion_matrix_of_a_class_without_images():
    picture = ConfusionMatrix(np.array([[5, 0], [0, 0]]), ["a", "b"]).plot()
    assert "no mistakes" in texts(picture)


def test_confusion_matrices_share_a_sheet():
    picture = ConfusionMatrices([np.eye(3, dtype=int)] * 4, list("wxyz"), list("abc")).plot()
    assert [panel.title for panel in picture.artists["panels"]] == list("wxyz")


def test_per_class_f1_writes_its_numbers():
    picture = PerClassF1(np.array([[0.991, 0.875]]), ["adam"], ["0", "1"]).plot()
    assert [text.get_text() for text in picture.artists["numbers"]] == ["99.1", "87.5"]


def test_loss_and_accuracy_takes_epochs_csv(five_optimizers):
    epochs = pd.read_csv(five_optimizers.written[0] / "epochs.csv")
    picture = LossAndAccuracy(epochs, "sgd, seed 0", best_epoch=3).plot()
    loss, accuracy = picture.axes
    assert loss.get_ylabel() == "cross-entropy"
    assert accuracy.get_ylabel() == "accuracy (%)"
    np.testing.assert_allclose(
        accuracy.get_lines()[1].get_ydata(), 100 * epochs["val/accuracy"].to_numpy()
    )
    assert any("best validation, epoch 3" in text for text in texts(picture))


def test_sample_predictions_show_mistakes_first():
    picture = SamplePredictions(
        np.zeros((4, 8, 8), dtype=np.uint8),
        np.array([0, 1, 2, 1]),
        np.array([0, 2, 2, 0]),
        np.array([0.9, 0.6, 0.8, 0.7]),
        ["0", "1", "2"],
    ).plot()
    captions = [text.get_text() for text in picture.artists["captions"]]
    assert captions == ["0 not 1 · 70 %", "2 not 1 · 60 %", "0 · 90 %", "2 · 80 %"]


def test_sample_predictions_take_colour_and_long_names():
    picture = SamplePredictions(
        np.zeros((2, 8, 8, 3), dtype=np.uint8),
        np.array([0, 1]),
        np.array([0, 0]),
        np.array([0.9, 0.6]),
        ["airplane", "automobile"],
    ).plot()
    assert picture.artists["captions"][0].get_text() == "airplane 60 %\nis automobile"


def test_filters_share_one_scale_around_zero():
    picture = FirstLayerFilters(np.stack([np.full((3, 3), 0.5), np.full((3, 3), -2.0)])).plot()
    assert {image.get_clim() for image in picture.artists["images"]} == {(-2.0, 2.0)}


@pytest.mark.parametrize("shape", [(4, 1, 3, 3), (4, 3, 3, 3), (100, 5, 5)])
def test_filters_take_grey_and_colour(shape):
    filters = np.random.default_rng(0).normal(size=shape)
    assert len(FirstLayerFilters(filters).plot().artists["images"]) == min(shape[0], 64)


def test_filters_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"filters have shape \(4, 2, 3, 3\)"):
        FirstLayerFilters(np.zeros((4, 2, 3, 3))).plot()


def test_performance_profile_labels_its_axes():
    tau = np.linspace(1, 4, 5)
    picture = PerformanceProfile(tau, {"adam": tau / 4, "sgd": tau / 8}, 2).plot()
    assert picture.ax.get_xlabel() == "time to target / best time to target"
    assert {"adam", "sgd"} <= set(texts(picture))


def test_figures_can_be_drawn_in_threads_at_once(five_optimizers):
    groups = problem_of(five_optimizers).groups
    alone = LossCurves.from_groups(groups).plot().png()
    results: list[bytes] = []

    def draw():
        results.append(LossCurves.from_groups(groups).plot().png())

    threads = [threading.Thread(target=draw) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [alone] * 3
