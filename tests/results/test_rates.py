"""Which rate is best: by the rule of the ranking, where a diverged run costs."""

import pytest

from optlab.results.figures import LRSensitivity
from optlab.results.rates import RatePoint, rates_of_problem, rates_of_tuning
from optlab.results.study import read_study
from optlab.results.summary import summarize, validation_score
from optlab.results.tuning import Tuning


def problem_of(writer):
    (problem,) = read_study(writer.folder).problems
    return problem


def note_of(picture):
    return " ".join(" ".join(text.get_text() for text in picture.ax.texts).split())


@pytest.fixture
def risky_rate(new_study):
    """At lr_multiplier=10 one of five seeds survives, with the highest accuracy of all."""
    writer = new_study()
    for seed in range(5):
        for scale, accuracy in ((0.1, 0.97), (1.0, 0.975), (10.0, 0.98)):
            broken = {"status": "diverged", "broken_after": 70} if scale == 10 and seed else {}
            writer.run("sgd", seed, accuracy=accuracy, config={"lr_multiplier": scale}, **broken)
    return problem_of(writer)


def test_rates_are_scored_as_the_ranking_scores_their_settings(risky_rate):
    points, _ = rates_of_problem(risky_rate)
    expected = {
        group.config["lr_multiplier"]: validation_score(group, risky_rate.num_classes)
        for group in risky_rate.groups
    }
    assert {point.rate: point.score for point in points} == expected
    # one run at 0.98 and four that count as guessing one of ten classes
    assert expected[10.0] == pytest.approx((0.98 + 4 * 0.1) / 5)


def test_best_rate_is_not_the_one_that_few_seeds_survive(risky_rate):
    points, knob = rates_of_problem(risky_rate)
    picture = LRSensitivity(points, knob).plot()
    ((line, filled),) = picture.artists["lines"]
    assert list(line.get_xdata()) == [0.1, 1.0, 10.0]
    assert list(filled.get_xdata()) == [1.0]
    best = summarize(risky_rate).best
    assert best is not None
    assert best.group.config["lr_multiplier"] == 1.0
    (count,) = picture.artists["counts"]
    assert (count.get_text(), count.xy[0]) == ("4 of 5", 10.0)
    assert "filled: best rate, diverged runs counted" in note_of(picture)


def test_figure_says_that_the_best_of_several_settings_stands_for_a_rate(new_study):
    writer = new_study()
    for lr in (0.001, 0.01):
        for batch_size in (64, 256):
            writer.run("adam", config={"optimizer.lr": lr, "data.batch_size": batch_size})
    points, knob = rates_of_problem(problem_of(writer))
    assert {point.num_settings for point in points} == {2}
    assert "best of its rate's settings" in note_of(LRSensitivity(points, knob).plot())


def test_best_of_several_settings_stands_for_a_rate_in_whatever_order_they_come(new_study):
    writer = new_study()
    for lr, small, large in ((0.001, 0.97, 0.98), (0.01, 0.96, 0.95)):
        for batch_size, accuracy in ((64, small), (256, large)):
            config = {"optimizer.lr": lr, "data.batch_size": batch_size}
            writer.run("adam", config=config, accuracy=accuracy)
    points, _ = rates_of_problem(problem_of(writer))
    assert {point.rate: point.val_accuracy for point in points} == {0.001: 0.98, 0.01: 0.96}


def test_one_optimizer_with_two_rates_is_enough_and_a_rate_of_zero_has_no_place(new_study):
    writer = new_study()
    for lr in (0.0, 0.001, 0.01):
        writer.run("adam", config={"optimizer.lr": lr})
    writer.run("sgd", config={"optimizer.lr": 0.1})
    points, knob = rates_of_problem(problem_of(writer))
    assert knob == "lr"
    assert [(point.optimizer, point.rate) for point in points] == [
        ("adam", 0.001),
        ("adam", 0.01),
        ("sgd", 0.1),
    ]


def test_trials_of_one_rate_are_not_called_seeds():
    points = [RatePoint("adam", 0.01, value, "finished", value) for value in (0.9, 0.8)]
    assert "mean over trials" in note_of(LRSensitivity(points, joined=False).plot())


def trial(optimizer, params, accuracy, status="finished"):
    return {
        "optimizer": optimizer, "params": params, "val_accuracy": accuracy, "status": status,
        "tuning_seed": 7, "hash": f"{len(params)}{optimizer}{accuracy}",
    }  # fmt: skip


def test_trials_become_points_by_their_rate_and_the_diverged_score_nothing():
    tuning = Tuning.from_meta(
        {
            "rows": [
                trial("adam", {"optimizer.lr": 0.001}, 0.97),
                trial("adam", {"optimizer.lr": 1.0}, None, "diverged"),
                trial("sgd", {"optimizer.lr": 0.1}, 0.96),
            ]
        }
    )
    points, knob, joined = rates_of_tuning(tuning)
    assert (knob, joined) == ("lr", True)
    assert points == [
        RatePoint("adam", 0.001, 0.97, "finished", 0.97, 7, "adam"),
        RatePoint("adam", 1.0, None, "diverged", 0.0, 7, "adam"),
        RatePoint("sgd", 0.1, 0.96, "finished", 0.96, 7, "sgd"),
    ]


def test_trials_that_move_other_knobs_as_well_are_not_joined():
    rows = [trial("adam", {"lr_multiplier": 0.1, "optimizer.eps": 1e-8}, 0.97)]
    points, knob, joined = rates_of_tuning(Tuning.from_meta({"rows": rows}))
    assert (knob, joined) == ("lr_multiplier", False)
    assert [point.rate for point in points] == [0.1]


def test_tuning_without_a_rate_has_no_points():
    rows = [trial("lbfgs", {"optimizer.history_size": 5}, 0.97)]
    assert rates_of_tuning(Tuning.from_meta({"rows": rows}))[0] == []
