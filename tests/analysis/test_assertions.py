"""Assertions on configurations: what they may say, and when they hold."""

import re

import numpy as np
import pytest
from made_studies import summary_of

from optlab.analysis.assertions import HOLDS, REFUTED, UNDECIDED, judge, read_assertions
from optlab.analysis.comparisons import compare_all


@pytest.fixture
def summary(new_study):
    """Adam leads, RMSprop is 0.05 points lower within noise, SGD one point, Adagrad two points."""
    writer, rng = new_study(), np.random.default_rng(0)
    for optimizer, lower in (("adam", 0), ("rmsprop", 0.0005), ("sgd", 0.010), ("adagrad", 0.020)):
        noise = rng.normal(0, 0.001, 8)
        accuracies = 0.98 - lower + noise - noise.mean()
        for seed, accuracy in enumerate(accuracies):
            writer.run(optimizer, seed, accuracy=0.98 - lower, test_accuracy=accuracy)
    return summary_of(writer)


def outcome_of(text, summary):
    (assertion,) = read_assertions(text, [summary])
    return judge(assertion)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("adam > sgd", HOLDS),
        ("sgd > adam", REFUTED),
        ("  adam>sgd ", HOLDS),
        ("adam > rmsprop", UNDECIDED),
        ("rmsprop > adam", UNDECIDED),
        ("sgd > adagrad", HOLDS),  # neither is the best
        ("adagrad > sgd", REFUTED),
        ("rmsprop > adam - 0.3", HOLDS),
        ("rmsprop > adam - 0.01", UNDECIDED),
        ("sgd > adam - 0.3", REFUTED),
        ("adam > sgd + 0.5", HOLDS),
        ("adam > sgd + 1.5", REFUTED),
        ("adam > sgd + 1", UNDECIDED),
    ],
)
def test_assertion_is_decided_by_claim_and_interval(text, status, summary):
    assert outcome_of(text, summary).status == status


def test_pair_with_the_best_has_the_figures_of_the_report(summary):
    ((_, difference),) = [each for each in summary.compared() if each[0].label == "sgd"]
    reason = outcome_of("adam > sgd", summary).reason
    assert f" p {difference.p_value:.2g}" in reason
    assert reason.startswith(f"+{-100 * difference.mean:.2f} ")
    assert "8 seeds" in reason


def test_pair_without_the_best_is_adjusted_for_all_pairs(summary):
    tables = [row.configuration.accuracies("test") for row in summary.rows]
    places = {row.label: place for place, row in enumerate(summary.rows)}
    pair = compare_all(tables)[places["sgd"], places["adagrad"]]
    assert pair.num_comparisons == 6
    assert f" p {pair.p_value:.2g}" in outcome_of("sgd > adagrad", summary).reason
    flipped = outcome_of("adagrad > sgd", summary).reason
    assert f"{100 * -pair.mean:.2f}".lstrip("-") in flipped


def test_undecided_assertion_says_what_would_decide_it(summary):
    (difference,) = [each for row, each in summary.compared() if row.label == "rmsprop"]
    reason = outcome_of("adam > rmsprop", summary).reason
    assert re.search(rf"; 8 seeds .*\b{100 * difference.detectable:.2f}\b", reason)
    assert reason.endswith(f" {difference.seeds_needed:,}")


def test_few_seeds_and_lost_runs_leave_it_undecided_and_are_named(new_study):
    writer = new_study()
    for seed in range(5):
        writer.run("adam", seed, accuracy=0.98)
        writer.run("sgd", seed, accuracy=0.90, status="finished" if seed < 4 else "diverged")
    writer.run("lion", 0, status="failed")
    summary = summary_of(writer)
    outcome = outcome_of("adam > sgd", summary)
    assert outcome.status == UNDECIDED
    assert "4 seeds" in outcome.reason
    assert re.search(r"\b1 of 5 .*\bsgd diverged\b", outcome.reason)
    without_result = outcome_of("adam > lion", summary)
    assert without_result.status == UNDECIDED
    assert re.match("lion .*finished", without_result.reason)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("adam", "'adam' .*'LEFT > RIGHT'"),
        ("adam >= sgd", "'adam >= sgd' .*'LEFT > RIGHT'"),
        ("adam > sgd > rmsprop", "'adam > sgd > rmsprop' .*'LEFT > RIGHT'"),
        ("adam < sgd", "'adam < sgd' .*'LEFT > RIGHT'"),
        ("adam > ", "'adam > ' .*'LEFT > RIGHT'"),
        ("adam > sdg", r"'sdg' .*'sgd'\?"),
        ("adam > muon - 0.2", "'muon' .*\n\nhint: .*'rmsprop'"),
        ("adam > adam", "'adam > adam' .*itself"),
    ],
)
def test_assertion_that_names_nothing_is_refused(text, message, summary):
    with pytest.raises(ValueError, match=message):
        read_assertions(text, [summary])


def test_configurations_of_two_workloads_are_not_compared(new_study):
    writer = new_study()
    for seed in range(2):  # two optimizers each, so that these are two workloads
        writer.run("adam", seed)
        writer.run("rmsprop", seed)
        writer.run("sgd", seed, model="cnn")
        writer.run("adagrad", seed, model="cnn")
    from optlab.analysis import read_study, summarize

    summaries = [summarize(workload) for workload in read_study(writer.folder).workloads]
    with pytest.raises(ValueError, match="both 'adam' and 'sgd'"):
        read_assertions("adam > sgd", summaries)
    (found,) = read_assertions("adam > rmsprop", summaries)
    assert found.workload.workload.name == "mnist-mlp"


def test_all_pairs_are_antisymmetric_and_wider_than_with_one_reference(summary):
    tables = [row.configuration.accuracies("test") for row in summary.rows]
    pairs = compare_all(tables)
    assert len(pairs) == 6
    ours, theirs = pairs[0, 2], summary.rows[2].difference.flipped
    assert ours.mean == pytest.approx(theirs.mean)
    assert ours.p_value >= theirs.p_value
    assert ours.high - ours.low > theirs.high - theirs.low
