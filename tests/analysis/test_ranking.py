"""What the rank depends on, and what it must not depend on."""

import re
from pathlib import Path

import numpy as np
import pytest
from made_records import make_record
from made_studies import summary_of

from optlab.analysis.records import Run
from optlab.analysis.summary import summarize
from optlab.analysis.tables import summary_table
from optlab.analysis.verdict import make_verdict
from optlab.analysis.workloads import group_runs
from optlab.runs.record import DatasetFacts, OptimizerFacts

EARLY_STOPPING = {
    "callbacks": {"early_stopping": {"_target_": "lightning.pytorch.callbacks.EarlyStopping"}}
}


def made_run(optimizer, seed, status, accuracy):
    record = make_record(
        status,
        accuracy,
        run_name=f"{optimizer}-seed{seed}",
        seed=seed,
        config={"seed": seed, "optimizer": {"name": optimizer}},
        dataset=DatasetFacts(name="made", class_names=list("0123456789")),
        optimizer=OptimizerFacts(name=optimizer),
    )
    return Run(Path(record.run_name), record)


def made_runs(optimizer, rng, statuses):
    accuracies = rng.normal(rng.uniform(0.96, 0.98), 0.005, len(statuses))
    return [
        made_run(optimizer, seed, status, accuracy)
        for seed, (status, accuracy) in enumerate(zip(statuses, accuracies, strict=True))
    ]


def ranks_of_a_and_b(runs):
    (workload,) = group_runs(runs)
    return [row.label for row in summarize(workload).rows if row.label in ("a", "b")]


@pytest.mark.parametrize("case", range(200))
def test_outcome_of_a_third_configuration_never_reorders_two(case):
    rng = np.random.default_rng(case)
    outcomes, shares = ("finished", "diverged", "failed"), (0.7, 0.2, 0.1)
    ours = [
        run
        for optimizer in ("a", "b")
        for run in made_runs(optimizer, rng, rng.choice(outcomes, rng.integers(1, 8), p=shares))
    ]
    num_seeds = rng.integers(1, 12)
    thirds = [
        made_runs("c", rng, statuses)
        for statuses in (
            ["finished"] * num_seeds,
            ["diverged"] * num_seeds,
            ["failed"] * num_seeds,
            rng.choice(outcomes, num_seeds),
        )
    ]
    orders = [ranks_of_a_and_b([*ours, *third]) for third in thirds]
    assert all(order == orders[0] for order in orders)


def test_last_weights_are_ranked_and_not_the_best_of_a_noisy_curve(new_study):
    writer = new_study()
    for seed in range(3):
        writer.run("adam", seed, accuracy=0.970, test_accuracy=0.968, peak=0.990)
        writer.run("sgd", seed, accuracy=0.980, test_accuracy=0.978, peak=0.981)
    summary = summary_of(writer)
    assert [row.label for row in summary.rows] == ["sgd", "adam"]
    assert summary.rows[0].score == pytest.approx(0.980)
    ((_, difference),) = summary.compared()
    assert difference.mean == pytest.approx(-0.010)  # on test, at the last weights as well
    assert [row.label for row in summary.order_by_best_epoch] == ["adam", "sgd"]
    remarks = make_verdict(summary).remarks
    assert any(re.search(r"\bepoch .*Adam and SGD with momentum\.$", text) for text in remarks)


def test_no_remark_where_the_best_epochs_rank_alike(new_study):
    writer = new_study()
    writer.run("adam", accuracy=0.980, peak=0.985)
    writer.run("sgd", accuracy=0.970, peak=0.975)
    assert not any("epoch" in remark for remark in make_verdict(summary_of(writer)).remarks)


def test_early_stopping_is_judged_at_its_best_epoch(new_study):
    writer = new_study()
    for optimizer, last, peak in (("adam", 0.970, 0.990), ("sgd", 0.980, 0.981)):
        writer.run(optimizer, accuracy=last, peak=peak, config=EARLY_STOPPING)
    summary = summary_of(writer)
    assert [row.label for row in summary.rows] == ["adam", "sgd"]
    table = summary_table([summary])
    assert list(table.judged_weights) == ["best", "best"]
    assert list(table.val_accuracy) == pytest.approx([0.990, 0.981])
    assert list(table.test_accuracy) == list(table.test_accuracy_best)
    assert not any("epoch" in remark for remark in make_verdict(summary).remarks)


def test_verdict_says_which_configurations_stop_early_where_not_all_do(new_study):
    writer = new_study()
    writer.run("adam", accuracy=0.97, config=EARLY_STOPPING)
    writer.run("adam", accuracy=0.97)
    summary = summary_of(writer)
    (stops,) = [row for row in summary.rows if row.configuration.judged_weights == "best"]
    (remark,) = [each for each in make_verdict(summary).remarks if "early stopping" in each]
    assert f": {stops.name}." in remark
