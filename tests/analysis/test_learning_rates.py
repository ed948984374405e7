"""Which learning rate is best: by the rule of the ranking, where a diverged run costs."""

import pytest
from made_records import tuned_file
from made_studies import workload_of

from optlab.analysis.learning_rates import LRPoint, lr_points_of_tuning, lr_points_of_workload
from optlab.analysis.summary import validation_score
from optlab.analysis.tuning import Tuning


def test_learning_rates_are_scored_as_the_ranking_scores_their_configurations(risky_lr):
    workload = workload_of(risky_lr)
    points, _ = lr_points_of_workload(workload)
    expected = {
        one.config["lr_multiplier"]: validation_score(one, workload.num_classes)
        for one in workload.configurations
    }
    assert {point.learning_rate: point.score for point in points} == expected
    # One run at 0.98 and four that count as guessing one of ten classes
    assert expected[10.0] == pytest.approx((0.98 + 4 * 0.1) / 5)


def test_best_of_several_configurations_counts_for_a_learning_rate_in_any_order(new_study):
    writer = new_study()
    for lr, small, large in ((0.001, 0.97, 0.98), (0.01, 0.96, 0.95)):
        for batch_size, accuracy in ((64, small), (256, large)):
            config = {"optimizer.lr": lr, "data.batch_size": batch_size}
            writer.run("adam", config=config, accuracy=accuracy)
    points, _ = lr_points_of_workload(workload_of(writer))
    assert {point.num_configurations for point in points} == {2}
    assert {point.learning_rate: point.val_accuracy for point in points} == {
        0.001: 0.98,
        0.01: 0.96,
    }


def test_one_optimizer_with_two_learning_rates_is_enough_and_zero_has_no_place(new_study):
    writer = new_study()
    for lr in (0.0, 0.001, 0.01):
        writer.run("adam", config={"optimizer.lr": lr})
    writer.run("sgd", config={"optimizer.lr": 0.1})
    points, option = lr_points_of_workload(workload_of(writer))
    assert option == "lr"
    assert [(point.optimizer, point.learning_rate) for point in points] == [
        ("adam", 0.001),
        ("adam", 0.01),
        ("sgd", 0.1),
    ]


def trial(optimizer, params, accuracy, status="finished"):
    return {
        "optimizer": optimizer, "params": params, "val_accuracy": accuracy, "status": status,
        "tuning_seed": 7, "hash": f"{len(params)}{optimizer}{accuracy}", "configuration": optimizer,
    }  # fmt: skip


def test_trials_become_points_and_the_diverged_score_nothing():
    rows = [
        trial("adam", {"optimizer.lr": 0.001}, 0.97),
        trial("adam", {"optimizer.lr": 1.0}, None, "diverged"),
        trial("sgd", {"optimizer.lr": 0.1}, 0.96),
    ]
    points, option, joined = lr_points_of_tuning(Tuning.from_file(tuned_file(rows)))
    assert (option, joined) == ("lr", True)
    assert points == [
        LRPoint("adam", 0.001, 0.97, "finished", 0.97, 7, "adam"),
        LRPoint("adam", 1.0, None, "diverged", 0.0, 7, "adam"),
        LRPoint("sgd", 0.1, 0.96, "finished", 0.96, 7, "sgd"),
    ]


def test_trials_that_vary_other_options_as_well_are_not_joined():
    rows = [trial("adam", {"lr_multiplier": 0.1, "optimizer.eps": 1e-8}, 0.97)]
    points, option, joined = lr_points_of_tuning(Tuning.from_file(tuned_file(rows)))
    assert (option, joined) == ("lr_multiplier", False)
    assert [point.learning_rate for point in points] == [0.1]


def test_tuning_without_a_learning_rate_has_no_points():
    rows = [trial("lbfgs", {"optimizer.history_size": 5}, 0.97)]
    assert lr_points_of_tuning(Tuning.from_file(tuned_file(rows)))[0] == []


def test_tunings_on_several_seeds_keep_their_seeds():
    rows = [trial("adam", {"lr": 0.01}, 0.9) | {"tuning_seed": seed} for seed in (0, 7)]
    points, _, _ = lr_points_of_tuning(Tuning.from_file(tuned_file(rows)))
    assert [point.seed for point in points] == [0, 7]


@pytest.mark.parametrize(
    ("option", "values"), [("lr_multiplier", [0.1, 1.0]), ("optimizer.lr", [0.001, 0.01])]
)
def test_axis_is_the_option_that_was_swept(option, values, new_study):
    writer = new_study()
    for value in values:
        for optimizer in ("adam", "sgd"):
            writer.run(optimizer, config={option: value})
    points, found = lr_points_of_workload(workload_of(writer))
    assert found == option.removeprefix("optimizer.")
    assert sorted({point.learning_rate for point in points}) == values


def test_one_learning_rate_each_has_no_points(five_optimizers):
    assert lr_points_of_workload(workload_of(five_optimizers)) == ([], "lr")
