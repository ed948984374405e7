"""Seeds in rounds: who stops after a round, what then counts, and what claims have of the error."""

import re
from dataclasses import replace

import numpy as np
import pytest
from made_studies import summary_of, workload_of

from optlab.analysis import read_study, summarize
from optlab.analysis.adaptive import decide
from optlab.analysis.assertions import judge, read_assertions
from optlab.analysis.comparisons import ERROR_RATE
from optlab.analysis.next_step import next_step
from optlab.analysis.records import read_run
from optlab.analysis.rounds import Progress, round_levels
from optlab.analysis.study import BEYOND_THE_ROUNDS, UNFINISHED_ROUND
from optlab.analysis.verdict import make_verdict
from optlab.report import make_report

NOISE = np.random.default_rng(1).normal(0, 0.001, (2, 5, 20))  # split, optimizer, seed
BELOW = {"adam": 0.0, "adamw": 0.0005, "rmsprop": 0.001, "sgd": 0.02}  # on validation and test


@pytest.fixture
def writer(new_study):
    return new_study()


def add(writer, optimizer, seeds, **options):
    """Runs of one optimizer; returns their hashes."""
    index, hashes = list(BELOW).index(optimizer), []
    for seed in seeds:
        below = 0.98 - BELOW[optimizer] + NOISE[:, index, seed]
        values = {"accuracy": below[0], "test_accuracy": below[1], **options}
        hashes.append(read_run(writer.run(optimizer, seed, **values)).hash)
    return hashes


def candidate(hashes, num_rounds, status="open"):
    return {"typed": [], "runs": hashes, "num_rounds": num_rounds, "status": status}


def plan(writer, *candidates, rounds=(5, 10)):
    adaptive = {
        "rounds": [*rounds],
        "levels": round_levels(len(rounds)),
        "first_seed": 0,
        "candidates": candidates,
    }
    writer.meta(adaptive=adaptive)


def after_first_round(writer):
    """The only workload, with every configuration at the end of the first of two rounds."""
    workload = workload_of(writer)
    progress = Progress((5, 10), (0.01, 0.04), 1)
    open_ones = (replace(one, progress=progress) for one in workload.configurations)
    return replace(workload, configurations=tuple(open_ones))


def decided(writer):
    decision = decide(after_first_round(writer))
    stopped = {one.label: status for one, status in decision.stopped.items()}
    return stopped, [one.label for one in decision.continuing]


@pytest.mark.parametrize("num_rounds", [1, 2, 3, 6])
def test_levels_of_the_rounds_add_up_to_the_error_rate(num_rounds):
    levels = round_levels(num_rounds)
    assert len(levels) == num_rounds
    assert sum(levels) == pytest.approx(ERROR_RATE, abs=1e-9)
    assert all(level > 0 for level in levels)


def test_configuration_stops_where_validation_finds_it_clearly_lower(writer):
    for optimizer in BELOW:
        add(writer, optimizer, range(5), test_accuracy=0.9)  # test has nothing to say
    assert decided(writer) == ({"sgd": "lower"}, ["adam", "adamw", "rmsprop"])


def test_round_in_which_only_the_best_is_left_decides_all(writer):
    for optimizer in ("adam", "sgd"):
        add(writer, optimizer, range(5))
    assert decided(writer) == ({"sgd": "lower"}, [])


def test_configuration_without_a_finished_run_stops_and_one_with_some_goes_on(writer):
    for optimizer in ("adam", "adamw"):
        add(writer, optimizer, range(5))
    add(writer, "sgd", range(5), status="diverged")
    add(writer, "rmsprop", range(3), status="failed")
    add(writer, "rmsprop", range(3, 5))
    assert decided(writer) == ({"sgd": "no result"}, ["adam", "adamw", "rmsprop"])


def test_round_without_any_result_goes_nowhere(writer):
    add(writer, "adam", range(5), status="diverged")
    add(writer, "sgd", range(5), status="failed")
    assert decided(writer) == ({"adam": "no result", "sgd": "no result"}, [])


@pytest.fixture
def raced(writer):
    """Two rounds: SGD stopped after the first one, two others have all ten seeds."""
    adam, adamw = add(writer, "adam", range(10)), add(writer, "adamw", range(10))
    sgd = add(writer, "sgd", range(5))
    plan(
        writer, candidate(adam, 2), candidate(adamw, 2), candidate([*sgd, *"abcde"], 1, "lower")
    )  # fmt: skip
    return writer


def test_claim_has_the_level_and_the_seeds_of_the_round_where_it_stopped(raced):
    summary = summary_of(raced)
    assert {row.label: (one.num_seeds, one.level) for row, one in summary.compared()} == {
        "adamw": (10, 0.04),
        "sgd": (5, 0.01),
    }
    (assertion,) = read_assertions("adam > sgd", [summary])
    (sgd,) = [one for row, one in summary.compared() if row.label == "sgd"]
    assert f" p {sgd.p_value:.2g}" in judge(assertion).reason
    (other,) = read_assertions("adamw > sgd", [summary])  # which the table does not compare
    assert "99 %" in judge(other).reason


def test_next_step_after_the_last_round_is_a_study_of_new_seeds(raced):
    summary = summary_of(raced)
    (difference,) = [one for row, one in summary.compared() if row.label == "adamw"]
    assert not difference.is_significant
    step = next_step(summary)
    assert (step.labels, step.num_seeds) == (("adam", "adamw"), difference.seeds_needed)
    assert step.overrides == (
        "study=NAME",
        "hydra.sweeper.first_seed=10",
        f"hydra.sweeper.rounds=[{step.num_seeds}]",
    )
    assert step.num_runs == 2 * step.num_seeds  # none of the new seeds has run
    remarks = make_verdict(summary).remarks
    assert any(" Adam and AdamW: study=NAME" in remark for remark in remarks)


def test_sweep_that_has_not_ended_has_no_next_step(writer):
    runs = [add(writer, name, range(5)) for name in ("adam", "adamw")]
    plan(writer, *(candidate(hashes, 1) for hashes in runs))
    summary = summary_of(writer)
    assert next_step(summary) is None
    assert "resumes" in make_verdict(summary).remarks[0]  # the same command


@pytest.mark.usefixtures("blank_pictures")
def test_reports_by_plan_are_no_further_looks_and_a_look_before_it_is_one(raced):
    for _ in range(2):
        make_report(raced.folder)
        assert [one.level for _, one in summary_of(raced).compared()] == [0.04, 0.01]
    study = read_study(raced.folder)
    assert study.file.looks == []
    (workload,) = study.workloads
    read_before = (replace(one, looks=frozenset({5})) for one in workload.configurations)
    summary = summarize(replace(workload, configurations=tuple(read_before)))
    assert [one.level for _, one in summary.compared()] == [0.02, 0.005]
    assert any(re.search(r"\b2\b.*\blooks\b", text) for text in make_verdict(summary).remarks)


def test_verdict_names_who_stopped_when_and_what_the_rounds_cost(raced):
    remark = make_verdict(summary_of(raced)).remarks[0]
    assert re.search(r"\brounds .*\b5 and 10\.", remark)
    assert re.search(r"\b5 seeds SGD with momentum [^.]*\blower\b", remark)
    assert " 10 seeds: Adam and AdamW." in remark
    assert "1 and 4 %" in remark
    assert "resumes" not in remark


def test_runs_beyond_the_finished_rounds_do_not_count(raced):
    (planned, *_) = add(raced, "sgd", range(10, 20))  # typed by hand
    unfinished = add(raced, "rmsprop", range(5))
    file = read_study(raced.folder).file.adaptive
    rows = [vars(row) for row in file.candidates]
    rows[-1]["runs"][5] = planned  # for a round that it did not take part in
    plan(raced, *rows, candidate([*unfinished, *"fghij"], 0))
    study = read_study(raced.folder)
    (workload,) = study.workloads
    assert {one.label: len(one.runs) for one in workload.configurations} == {
        "adam": 10, "adamw": 10, "sgd": 5,
    }  # fmt: skip
    reasons = [reason for _, reason in workload.left_out]
    assert sorted(reasons) == sorted([BEYOND_THE_ROUNDS] * 10 + [UNFINISHED_ROUND] * 5)
    assert len(study.counted_runs) == 25


def test_stopped_configuration_ranks_after_those_that_went_on_and_is_no_newcomer(writer):
    """Its mean is over fewer seeds, so a lucky start must not make it the reference."""
    adam, adamw = add(writer, "adam", range(20)), add(writer, "adamw", range(20))
    sgd = add(writer, "sgd", range(5), accuracy=0.99)
    rmsprop = add(writer, "rmsprop", range(5))
    plan(
        writer,
        candidate(adam, 2),
        candidate(adamw, 2),
        candidate([*sgd, *map(str, range(15))], 1, "lower"),
        candidate([*rmsprop, *map(str, range(15, 30))], 1, "lower"),
        rounds=(5, 20),
    )
    add(writer, "sgd", range(3), config={"optimizer.lr": 0.5}, accuracy=0.995)  # by hand
    rows = summary_of(writer).rows
    assert [row.label.split(" · ")[0] for row in rows] == ["adam", "adamw", "sgd", "rmsprop", "sgd"]
    assert [row.has_few_runs for row in rows] == [False] * 4 + [True]
