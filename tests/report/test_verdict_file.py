"""verdict.json: its fields as documented, and its claims as in the report."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from made_studies import summary_of

from optlab.report import make_report

pytestmark = pytest.mark.usefixtures("blank_pictures")

PAGE = (Path(__file__).parents[2] / "docs" / "verdict.md").read_text()


@pytest.fixture
def writer(new_study):
    """Adam leads; RMSprop is lower within noise, SGD beyond it; one seed of SGD diverged."""
    writer, rng = new_study(), np.random.default_rng(1)
    for optimizer, lower in (("adam", 0), ("rmsprop", 0.0005), ("sgd", 0.010)):
        for seed, noise in enumerate(rng.normal(0, 0.001, 6)):
            accuracy = 0.98 - lower
            writer.run(optimizer, seed, accuracy=accuracy, test_accuracy=accuracy + noise)
    writer.run("sgd", 6, status="diverged")
    return writer


def make_verdict(writer):
    return json.loads((make_report(writer.folder).parent / "verdict.json").read_text())


def documented(heading):
    """The field names of one table of docs/verdict.md."""
    rows = PAGE.split(f"| {heading} | Type | Meaning |\n")[1].split("\n\n")[0].splitlines()[1:]
    return {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}


def test_every_field_is_documented_and_there(writer):
    verdict = make_verdict(writer)
    (workload,) = verdict["workloads"]
    assert set(verdict) == documented("Field")
    assert set(workload) == documented("Field of a workload")
    assert set(workload["configurations"][0]) == documented("Field of a configuration")
    assert set(workload["claims"][0]) == documented("Field of a claim")
    assert set(workload["next"]) == documented("Field of `next`")
    for name in (*workload["configurations"][0]["costs"], "mean", "low", "high", "num_runs"):
        assert f"`{name}`" in PAGE


def test_claims_are_those_of_the_summary(writer):
    (workload,) = make_verdict(writer)["workloads"]
    summary = summary_of(writer)
    assert workload["best"] == "adam"
    for claim, (row, difference) in zip(workload["claims"], summary.compared(), strict=True):
        assert (claim["configuration"], claim["reference"]) == (row.label, "adam")
        assert claim["conclusion"] == difference.conclusion
        found = [claim[name] for name in ("difference", "low", "high", "p_value", "num_seeds")]
        d = difference
        assert found == [d.mean, d.low, d.high, d.p_value, d.num_seeds]
    assert [claim["conclusion"] for claim in workload["claims"]] == [
        "no significant difference",
        "lower",
    ]


def test_runs_and_costs_of_a_configuration_are_counted(writer):
    (workload,) = make_verdict(writer)["workloads"]
    sgd = workload["configurations"][-1]
    assert (sgd["label"], sgd["rank"]) == ("sgd", 3)
    assert [sgd[f"num_{what}"] for what in ("runs", "finished", "diverged", "failed")] == [
        7,
        6,
        1,
        0,
    ]
    assert sgd["test_accuracy"]["num_runs"] == 6
    assert sgd["score"] == pytest.approx((6 * 0.97 + 0.1) / 7)
    assert sgd["costs"]["train_time_s"] > 0
    assert sgd["costs"]["num_reached_target"] == 6


def test_next_step_is_the_seeds_that_the_largest_open_difference_needs(writer):
    (workload,) = make_verdict(writer)["workloads"]
    step, (open_claim, _) = workload["next"], workload["claims"]
    assert step["num_seeds"] == open_claim["seeds_needed"] > 6
    assert step["overrides"] == [f"seed=range({step['num_seeds']})"]
    assert step["labels"] == [each["label"] for each in workload["configurations"]]
    # Adam and RMSprop have six seeds, SGD seven
    assert step["num_runs"] == 3 * step["num_seeds"] - 6 - 6 - 7
    costs = [each["costs"]["train_time_s"] for each in workload["configurations"]]
    missing = [step["num_seeds"] - num_seeds for num_seeds in (6, 6, 7)]
    assert step["train_time_s"] == pytest.approx(np.dot(costs, missing))


def test_next_step_after_one_seed_is_the_least_that_makes_a_claim(five_optimizers):
    (workload,) = make_verdict(five_optimizers)["workloads"]
    assert (workload["next"]["num_seeds"], workload["next"]["num_runs"]) == (5, 20)
    assert {claim["low"] for claim in workload["claims"]} == {None}


def test_nothing_is_next_where_all_is_decided(new_study):
    writer = new_study()
    for seed in range(5):
        writer.run("adam", seed, accuracy=0.98, test_accuracy=0.980 + 0.0001 * seed)
        writer.run("sgd", seed, accuracy=0.90, test_accuracy=0.900 - 0.0001 * seed)
    (workload,) = make_verdict(writer)["workloads"]
    assert workload["next"] is None
    assert [claim["conclusion"] for claim in workload["claims"]] == ["lower"]


def test_misses_and_missing_results_are_null(new_study):
    writer = new_study()
    writer.run("adam", accuracy=0.90)  # the target is 97 %
    writer.run("sgd", status="diverged")
    (workload,) = make_verdict(writer)["workloads"]
    adam, sgd = workload["configurations"]
    assert (adam["costs"]["epochs_to_target"], adam["costs"]["num_reached_target"]) == (None, 0)
    assert (sgd["test_accuracy"], sgd["score"]) == (None, None)
    assert workload["claims"] == []
    assert workload["next"] is None
