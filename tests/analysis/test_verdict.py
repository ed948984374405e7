"""Sentences of the verdict about the target and about what could not be compared."""

import re

import numpy as np
import pytest
from made_studies import summary_of

from optlab.analysis.tables import SUMMARY, summary_table
from optlab.analysis.verdict import MOST_NAMED, make_verdict, outlook
from optlab.runs.folder import RunFolder


def remarks_of(writer):
    return make_verdict(summary_of(writer)).remarks


def reach(writer, optimizer, *accuracies):
    """One run for each accuracy; the study's target is 97 %."""
    for seed, accuracy in enumerate(accuracies):
        writer.run(optimizer, seed, accuracy=accuracy)


def reach_at(folder, step):
    """Let a run reach the target at one step."""
    rows = [f"1,{step},0.5,0.97,{step / 100}", "4,240,0.5,0.98,3.0"]
    head = "epoch,step,val/loss,val/accuracy,train_time_s"
    (folder / "validation.csv").write_text("\n".join([head, *rows]) + "\n")


def test_none_reached_the_target_only_where_no_run_did(new_study):
    writer = new_study()
    reach(writer, "adam", 0.96, 0.96, 0.96)
    reach(writer, "sgd", 0.95, 0.95, 0.95)
    assert re.match("None .*97 %", remarks_of(writer)[-1])


def test_hits_and_runs_stand_next_to_every_name(new_study):
    writer = new_study()  # of 60 steps an epoch
    reach(writer, "adam", 0.98, 0.96, 0.96)
    reach(writer, "adamw", 0.98, 0.98, 0.98)
    reach(writer, "sgd", 0.95, 0.95, 0.95)
    counts, first, times, *_ = remarks_of(writer)[-3:]
    _, _, hits = counts.partition(": ")
    assert hits == "AdamW 3 of 3 (180), Adam 1 of 3 (missed) and SGD with momentum 0 of 3."
    assert "97 %" in counts
    assert re.search(r"\b5 seeds\b.*\b6\b", first)
    assert re.search(r": AdamW 0\.2\d", times)


@pytest.mark.parametrize(
    ("lateness", "words"),
    [
        ({"sgd": 50, "rmsprop": 50}, r"Adam .*significantly .*steps .*\ball\b"),
        ({"sgd": 0, "rmsprop": 0}, r"No .*significant .*steps .*Adam\b"),
        ({"sgd": 50, "rmsprop": 0}, "Adam .*significantly .*SGD with momentum.* not .*RMSprop"),
    ],
)
def test_first_is_only_who_a_paired_test_separates(lateness, words, new_study):
    writer = new_study()
    for optimizer in ("adam", *lateness):
        for seed in range(6):
            late = lateness.get(optimizer, 0)
            step = 40 + 3 * seed + late - (optimizer == "adam") * (seed == 0)
            reach_at(writer.run(optimizer, seed, accuracy=0.98), step)
    assert any(re.match(words, text) for text in remarks_of(writer))


def test_steps_of_several_evaluations_are_not_equal_work(new_study):
    writer = new_study()
    for optimizer, evaluations in (("lbfgs", 5.12), ("adam", 1.0)):
        record = {"evaluations_per_step": evaluations}
        writer.run(optimizer, accuracy=0.98, record=record)
    (remark,) = [text for text in remarks_of(writer) if "evaluations" in text]
    assert remark.endswith(" L-BFGS 5.1.")
    assert "Adam" not in remark


def test_configuration_without_a_seed_in_common_with_the_best_is_named(new_study):
    writer = new_study()
    for seed in (1, 2):
        writer.run("adam", seed, accuracy=0.98)
        writer.run("sgd", seed, accuracy=0.97)
        writer.run("muon", seed + 100, accuracy=0.975)
    (remark,) = [text for text in remarks_of(writer) if text.endswith(": Muon.")]
    assert re.match(r"No .*\bseed\b.*Adam", remark)


def test_nothing_shares_a_seed_with_the_best_and_the_verdict_says_so(new_study):
    writer = new_study()
    writer.run("adam", 1, accuracy=0.98)
    writer.run("sgd", 2, accuracy=0.97)
    assert re.match(r"No .*\bseed\b.*Adam.*: SGD with momentum\.$", remarks_of(writer)[0])


def test_all_that_tie_are_named_and_none_is_called_lower(new_study):
    writer = new_study()
    for seed in range(5):
        for number, optimizer in enumerate(("adam", "rmsprop", "sgd")):
            writer.run(optimizer, seed, accuracy=0.98, test_accuracy=0.97 + 0.001 * number)
    summary = summary_of(writer)
    assert {difference.conclusion for _, difference in summary.compared()} == {"higher"}
    verdict = make_verdict(summary)
    assert re.match(r"Adam, RMSprop and SGD with momentum tie .*98\.00", verdict.lead)
    (higher,) = [text for text in verdict.remarks if text.startswith("Higher")]
    assert re.search(r"Adam .*validation: RMSprop .*SGD with momentum", higher)
    assert not any(text.startswith("Lower") for text in verdict.remarks)


def test_after_a_fair_sweep_more_seeds_come_from_the_sweeper(new_study):
    writer = new_study()
    reach(writer, "adam", 0.98)
    reach(writer, "sgd", 0.97)
    remarks = make_verdict(summary_of(writer), is_tuned=True).remarks
    assert any("hydra.sweeper.seeds=5" in text for text in remarks)


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ({"device": {"name": "another"}}, r"devices .*\(a made-up CPU, another\)"),
        ({"replica": {"of": 8}}, r"replicas .*\(1, 8\)"),
        ({"images_per_s": 16_000.0}, r"speeds .*\b2\.6\b"),
    ],
)
def test_seconds_of_unlike_machines_are_not_compared(record, why, new_study):
    writer = new_study()
    reach(writer, "adam", 0.98, 0.98, 0.98)
    for seed in range(3):
        writer.run("sgd", seed, accuracy=0.98, record=record)
    unlike, remarks = summary_of(writer).unlike_clocks, remarks_of(writer)
    assert re.search(why, unlike)
    assert any(unlike in text for text in remarks)
    assert not any(re.search(r"Adam \d+\.\d", text) for text in remarks)  # seconds


def test_times_to_different_targets_stand_nowhere(new_study):
    writer = new_study()
    reach(writer, "adam", 0.98)
    writer.target = 0.9
    reach(writer, "sgd", 0.98)
    summary = summary_of(writer)
    assert summary.target is None
    assert any("90 %, 97 %" in text for text in make_verdict(summary).remarks)
    assert [row.reached for row in summary.rows] == [(), ()]
    assert set(summary_table([summary]).epochs_to_target.isna()) == {True}


def test_runs_of_an_edited_class_are_no_repeats(new_study):
    writer = new_study()
    for seed, version in enumerate(["1f", "1f", "2e"]):
        writer.run("mine", seed, record={"own_code": {"my_optimizers": version}})
        writer.run("sgd", seed, record={"own_code": {}})
    (remark,) = [each for each in remarks_of(writer) if "edited" in each]
    assert re.search(r"\bmine\b.*rerun=true", remark)
    assert "SGD" not in remark


def test_only_configuration_that_finished_is_compared_with_nothing(new_study):
    writer = new_study()
    writer.run("adam", 0, accuracy=0.98, test_accuracy=0.97)
    writer.run("sgd", 0, status="failed", reason="no memory")
    summary = summary_of(writer)
    assert summary.compared() == []
    verdict = make_verdict(summary)
    assert re.match(r"Adam .*98\.00 %.*97\.00 %", verdict.lead)
    assert "SGD" not in verdict.lead
    assert verdict.remarks[0] == "Failed: SGD with momentum (1 of 1)."  # and not Adam


def test_few_common_seeds_make_no_claim(new_study):
    writer = new_study()
    reach(writer, "adam", 0.98, 0.98, 0.98)
    reach(writer, "rmsprop", 0.97, 0.97, 0.97)
    reach(writer, "sgd", 0.96)
    conclusions = {difference.conclusion for _, difference in summary_of(writer).compared()}
    assert conclusions == {"too few seeds"}
    named = r"\b5 seeds\b.*Adam.*RMSprop.*SGD with momentum"
    assert sum(bool(re.search(named, each)) for each in remarks_of(writer)) == 1


def test_long_list_of_failures_ends_with_how_many_more(new_study):
    writer = new_study()
    writer.run("adam", 0, accuracy=0.98)
    for number in range(2 * MOST_NAMED + 3):
        writer.run(f"mine{number}", 0, status="failed", reason="no memory")
    (remark,) = [each for each in remarks_of(writer) if each.startswith("Failed")]
    assert remark.count("(1 of 1)") == 2 * MOST_NAMED
    assert re.search(r" 3 \w+\.$", remark)


def test_every_inconclusive_row_says_what_would_settle_it(new_study):
    writer, rng = new_study(), np.random.default_rng(0)
    for optimizer, lower, num_seeds in (
        ("adam", 0.0, 6),
        ("rmsprop", 0.0003, 6),
        ("sgd", 0.02, 6),
        ("lion", 0.0005, 3),
        ("muon", 0.0004, 1),
    ):
        noise = rng.normal(0, 0.001, num_seeds)
        accuracies = 0.98 - lower + noise - noise.mean()
        for seed, accuracy in enumerate(accuracies):
            writer.run(optimizer, seed, accuracy=0.98 - lower, test_accuracy=float(accuracy))
    summary = summary_of(writer)
    found = {row.label: (difference, outlook(difference)) for row, difference in summary.compared()}
    assert found["sgd"][1] == ""
    assert found["muon"][1].startswith("5 seeds")
    for label, num_seeds in (("rmsprop", 6), ("lion", 5)):  # no claim below five
        difference, text = found[label]
        can_find = rf"{num_seeds} seeds .*{100 * difference.detectable:.2f}\b"
        needs = rf"{100 * abs(difference.mean):.2f} .*{difference.seeds_needed:,}"
        assert re.fullmatch(f"{can_find}.* {needs}", text)
        assert difference.seeds_needed > num_seeds
    (column,) = [column for column in SUMMARY if column.name == "verdict"]
    cells = {row.label: column.text(row) for row in summary.rows}
    assert cells["rmsprop"] == f"no significant difference ({found['rmsprop'][1]})"
    assert cells["sgd"] == "lower"
    (power,) = [remark for remark in make_verdict(summary).remarks if "80 %" in remark]
    needed = found["rmsprop"][0].seeds_needed
    assert f": RMSprop {needed:,}" in power


def keep_answers(run_dir, correct):
    """Write answers of two classes, right where `correct` (N,) says so."""
    right = np.eye(2, dtype=np.float16)[np.where(correct, 0, 1)]
    labels = np.zeros(len(correct), np.uint16)
    np.savez_compressed(
        RunFolder(run_dir).test_probabilities, labels=labels, last=right, best=right
    )


@pytest.mark.parametrize(("num_images", "word"), [(4000, "well"), (20, "only")])
def test_claims_say_whether_they_hold_for_other_images(num_images, word, new_study):
    writer, rng = new_study(), np.random.default_rng(0)
    hard = np.arange(num_images) < num_images // 10  # no seed of SGD recognizes one in ten
    for seed in range(10):
        noise = rng.random(num_images) < 0.01
        for optimizer, correct in (("adam", ~noise), ("sgd", ~noise & ~hard)):
            accuracy = float(correct.mean())
            folder = writer.run(optimizer, seed, accuracy=accuracy, test_accuracy=accuracy)
            keep_answers(folder, correct)
    (remark,) = [each for each in remarks_of(writer) if "mages" in each]
    assert re.search(rf"\b{word}\b", remark)
    assert "SGD with momentum" in remark
    _, high = summary_of(writer).over_images["sgd"]
    assert (high < 0) == (num_images == 4000)


def test_runs_that_kept_no_answers_say_nothing_of_other_images(new_study):
    writer = new_study()
    reach(writer, "adam", *np.linspace(0.98, 0.981, 10))
    reach(writer, "sgd", *np.linspace(0.95, 0.951, 10))
    assert summary_of(writer).over_images == {}
