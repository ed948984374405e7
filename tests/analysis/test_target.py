"""Time to target and performance profiles."""

import math

import numpy as np
import pytest

from optlab.analysis.records import read_run
from optlab.analysis.target import (
    MISS,
    accuracy_target,
    median_with_misses,
    performance_profile,
    time_to_target,
)

HEAD = "epoch,step,lr,train/loss,train/accuracy,val/loss,val/accuracy,train_time_s\n"


def with_epochs(folder, accuracies):
    rows = [
        f"{epoch},{epoch * 10},0.1,0.5,0.9,0.5,{value},{epoch * 1.5}"
        for epoch, value in enumerate(accuracies, start=1)
    ]
    (folder / "epochs.csv").write_text(HEAD + "\n".join(rows) + "\n")
    return read_run(folder)


def test_first_epoch_at_the_target_counts(new_study):
    run = with_epochs(new_study(target=0.95).run(), [0.90, 0.95, 0.94, 0.96])
    reached = time_to_target(run)
    assert reached is not None
    assert (reached.epoch, reached.step, reached.train_time_s) == (2, 20, 3.0)


def test_first_validation_within_an_epoch_at_the_target_counts(new_study):
    run = with_epochs(new_study(target=0.95).run(), [0.90, 0.96])
    rows = ["1,4,0.5,0.8,0.6", "1,10,0.5,0.9,1.5", "2,14,0.5,0.95,2.1", "2,20,0.5,0.96,3.0"]
    head = "epoch,step,val/loss,val/accuracy,train_time_s"
    (run.folder / "validation.csv").write_text("\n".join([head, *rows]) + "\n")
    reached = time_to_target(run)
    assert reached is not None
    assert (reached.epoch, reached.step, reached.train_time_s) == (2, 14, 2.1)


def test_run_below_the_target_is_a_miss(new_study):
    run = with_epochs(new_study(target=0.95).run(), [0.90, 0.9499])
    assert time_to_target(run) == MISS
    assert MISS.is_miss


def test_run_that_diverged_in_its_first_epoch_is_a_miss(new_study):
    folder = new_study(target=0.95).run(status="diverged", broken_after=10)
    assert time_to_target(read_run(folder)) == MISS


def test_without_target_or_curve_nothing_is_claimed(new_study):
    assert time_to_target(read_run(new_study("a", target=None).run())) is None
    assert time_to_target(read_run(new_study("b").run(curves=False))) is None


def test_target_of_another_metric_is_none(new_study):
    target = {"metric": "test/accuracy", "value": 0.9, "origin": ""}
    assert accuracy_target(read_run(new_study().run(record={"target": target}))) is None


@pytest.mark.parametrize(
    ("values", "median"),
    [
        ([], None),
        ([3.0], 3.0),
        ([1.0, 2.0, math.inf], 2.0),
        ([1.0, 3.0], 2.0),
        ([1.0, math.inf], math.inf),
        ([1.0, math.inf, math.inf], math.inf),
    ],
)
def test_median_counts_misses_as_infinite(values, median):
    assert median_with_misses(values) == median


def test_performance_profile_by_hand():
    times = {
        "adam": {"a": 1.0, "b": 4.0},
        "sgd": {"a": 2.0, "b": 2.0},
        "late": {"a": math.inf, "b": 9.0},  # a miss, and 4.5 times the best
    }
    tau, profile = performance_profile(times, num_points=4)
    assert list(tau) == [1.0, 2.0, 3.0, 4.0]
    assert list(profile["adam"]) == [0.5, 1.0, 1.0, 1.0]
    assert list(profile["sgd"]) == [0.5, 1.0, 1.0, 1.0]
    assert list(profile["late"]) == [0.0, 0.0, 0.0, 0.0]


def test_workload_that_all_miss_counts_for_no_optimizer():
    _, profile = performance_profile({"adam": {"a": 1.0, "b": math.inf}})
    assert np.all(profile["adam"] == 0.5)
