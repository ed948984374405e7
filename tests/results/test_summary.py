"""Ranking, counting and the words of a comparison."""

import io
import math

import pytest
from rich.console import Console

from optlab.results.study import read_study
from optlab.results.summary import rows_for_curves, summarize, validation_score
from optlab.results.tables import (
    confusion_table,
    differences_table,
    per_class_table,
    runs_table,
    summary_table,
)
from optlab.results.terminal import print_summary
from optlab.results.verdict import verdict_of


def summary_of(writer):
    (problem,) = read_study(writer.folder).problems
    return summarize(problem)


def test_validation_ranks_and_test_only_reports(new_study):
    writer = new_study()
    writer.run("adam", accuracy=0.98, test_accuracy=0.96)
    writer.run("sgd", accuracy=0.97, test_accuracy=0.99)
    summary = summary_of(writer)
    assert [row.label for row in summary.rows] == ["adam", "sgd"]
    assert summary.best is not None
    assert summary.best.label == "adam"
    ((row, difference),) = summary.compared()
    assert row.label == "sgd"
    assert difference.mean == pytest.approx(0.03)


def test_diverged_run_costs_rank_and_is_counted(new_study):
    writer = new_study()
    for seed in range(5):
        writer.run("sgd", seed, accuracy=0.96)
        if seed < 4:
            writer.run("adam", seed, accuracy=0.98)
    writer.run("adam", 4, status="diverged", reason="loss is not finite")
    summary = summary_of(writer)
    assert [row.label for row in summary.rows] == ["sgd", "adam"]
    adam = summary.rows[1]
    assert (adam.num_finished, adam.num_diverged) == (4, 1)
    # (4 * 0.98 + 0.1) / 5, guessing one of ten classes for the diverged seed
    assert validation_score(adam.group, 10) == pytest.approx(0.804)
    assert adam.accuracy("validation").mean == pytest.approx(0.98)  # over the finished ones
    assert adam.verdict.startswith("1 of 5 diverged; higher in the mean, 4 pairs are too few")


def test_failed_run_is_counted_but_not_held_against_the_optimizer(new_study):
    writer = new_study()
    for seed in range(2):
        writer.run("sgd", seed, accuracy=0.96)
    writer.run("adam", 0, accuracy=0.98)
    writer.run("adam", 1, status="failed", reason="out of memory")
    summary = summary_of(writer)
    assert [row.label for row in summary.rows] == ["adam", "sgd"]
    assert summary.rows[0].verdict == "1 of 2 failed; best by validation"


def test_rank_takes_into_account_which_seeds_a_setting_has(new_study):
    writer = new_study()
    for seed, easy in enumerate((0.99, 0.98, 0.97, 0.96, 0.95)):
        writer.run("adam", seed, accuracy=easy)
        if seed < 3:
            writer.run("sgd", seed, accuracy=easy - 0.004)  # worse on every seed that both have
    summary = summary_of(writer)
    assert [row.label for row in summary.rows] == ["adam", "sgd"]
    assert summary.rows[1].score == pytest.approx(0.966)
    assert summary.rows[1].accuracy("validation").mean > summary.rows[0].accuracy("validation").mean
    remarks = verdict_of(summary).remarks
    assert any(text.startswith("The settings have results for different seeds") for text in remarks)


def test_unrelated_seeds_do_not_change_who_leads(new_study):
    writer = new_study()
    for seed, easy in enumerate((0.90, 0.91, 0.97, 0.98, 0.99)):
        writer.run("adam", seed, accuracy=easy)
        if seed >= 2:
            writer.run("sgd", seed, accuracy=easy - 0.004)  # the easy seeds alone
    for seed in (7, 8, 9):
        writer.run("rmsprop", seed, accuracy=0.995)
    summary = summary_of(writer)
    assert [row.label for row in summary.rows] == ["adam", "sgd", "rmsprop"]
    remarks = verdict_of(summary).remarks
    assert any("a third, and so ranked after them: RMSprop (3)" in text for text in remarks)


def test_newcomer_with_a_single_run_leaves_the_comparison_of_the_others(new_study):
    writer = new_study()
    for seed in range(5):
        for optimizer in ("sgd", "adam", "rmsprop"):
            writer.run(optimizer, seed)
    writer.run("muon", 0, accuracy=0.999)
    summary = summary_of(writer)
    assert summary.rows[-1].label == "muon"
    assert [difference.num_pairs for _, difference in summary.compared()] == [5, 5, 1]
    remarks = verdict_of(summary).remarks
    assert any(
        "fewer runs than the others, and so ranked after them: Muon (1)" in r for r in remarks
    )
    assert any(text.startswith("One seed in common with Adam") for text in remarks)
    assert not any("One seed each" in text for text in remarks)


def test_group_that_only_diverged_comes_last(new_study):
    writer = new_study()
    writer.run("adam", accuracy=0.05)
    for seed in range(2):
        writer.run("sgd", seed, status="diverged")
    summary = summary_of(writer)
    assert [row.label for row in summary.rows] == ["adam", "sgd"]
    assert summary.rows[1].verdict == "all 2 diverged"
    assert summary.rows[1].difference is None


def test_generalization_gap_is_train_minus_test(new_study):
    writer = new_study()
    writer.run("adam", accuracy=0.97, test_accuracy=0.96)  # trains to 0.97 + 0.014
    gap = summary_of(writer).rows[0].gap
    assert gap is not None
    assert gap.mean == pytest.approx(0.024)


def test_summary_table_holds_plain_numbers(five_optimizers):
    table = summary_table([summary_of(five_optimizers)])
    assert list(table["rank"]) == [1, 2, 3, 4, 5]
    assert table["test_accuracy_best"].between(0, 1).all()
    assert table["test_accuracy_best_low"].isna().all()  # one seed
    assert table.loc[table.label == "adagrad", "epochs_to_target"].item() == math.inf
    assert (table["num_diverged"] == 0).all()


def test_runs_table_says_what_each_run_was_for(new_study):
    writer = new_study()
    writer.run("adam", 0, record={"protocol_version": 2})
    writer.run("sgd", 0)
    study = read_study(writer.folder)
    table = runs_table(study, [summarize(problem) for problem in study.problems])
    assert list(table.role) == ["counted", "left out: protocol version 1, the others have 2"]


def test_class_tables_add_up(five_optimizers):
    summary = summary_of(five_optimizers)
    counts = confusion_table([summary]).groupby("label").num_images.sum()
    assert (counts == 10_000).all()
    classes = per_class_table([summary])
    assert len(classes) == 50
    assert classes.f1.between(0.85, 1).all()


def test_runs_without_confusion_matrix_leave_the_class_tables_empty(new_study):
    writer = new_study()
    writer.run("adam", record={"confusion_matrix": None})
    writer.run("sgd", record={"confusion_matrix": [[1, 2], [3]]})
    assert per_class_table([summary_of(writer)]).empty
    assert confusion_table([summary_of(writer)]).empty


def test_differences_table_has_no_row_for_the_best(five_optimizers):
    table = differences_table([summary_of(five_optimizers)])
    assert len(table) == 4
    assert set(table.verdict) == {"one pair: no interval"}


def test_verdict_of_one_seed_is_a_hint(five_optimizers):
    verdict = verdict_of(summary_of(five_optimizers))
    assert verdict.lead.startswith("Adam leads on validation with 97.")
    assert any(text.startswith("One seed each: no interval") for text in verdict.remarks)
    assert not any("not separable" in text for text in verdict.remarks)


def test_verdict_names_what_is_not_separable_and_what_is_lower(new_study):
    writer = new_study()
    for seed, noise in enumerate((0.0, 0.0004, -0.0003, 0.0002, -0.0001)):
        writer.run("adamw", seed, accuracy=0.980, test_accuracy=0.9780)
        writer.run("adam", seed, accuracy=0.979, test_accuracy=0.9780 + noise)
        writer.run("sgd", seed, accuracy=0.970, test_accuracy=0.9680 + noise)
    verdict = verdict_of(summary_of(writer))
    assert verdict.lead.startswith("AdamW leads on validation with 98.00 ± 0.00 %; its test")
    separable, lower, chance, *_ = verdict.remarks
    assert separable.startswith("On test, AdamW is not separable from Adam (0.00 points, 95 % ")
    assert lower.startswith(
        "Lower than AdamW on test: SGD with momentum (\N{MINUS SIGN}1.00 points, 95 % "
    )
    assert "with 2 comparisons" in chance
    assert "15 %" in chance


def test_verdict_without_finished_run_says_so(new_study):
    writer = new_study()
    writer.run("sgd", status="diverged")
    verdict = verdict_of(summary_of(writer))
    assert verdict.lead == "No run finished, so nothing can be said."
    assert verdict.remarks[0] == "Diverged: SGD with momentum (1 of 1)."


def test_verdict_of_one_setting_compares_with_nothing(new_study):
    writer = new_study()
    writer.run("adam", accuracy=0.97)
    assert verdict_of(summary_of(writer)).lead == (
        "Adam reaches 97.00 % on validation and 96.90 % on test; "
        "no other setting finished to compare it with."
    )


def test_many_settings_are_drawn_by_the_best_of_each_optimizer(new_study):
    writer = new_study()
    for optimizer in ("adam", "sgd"):
        for scale in (0.01, 0.1, 1.0, 10.0, 100.0):
            writer.run(optimizer, config={"lr_multiplier": scale}, accuracy=0.9 + scale / 2000)
    rows, remark = rows_for_curves(summary_of(writer).rows)
    assert sorted(row.label for row in rows) == [
        "adam · lr_multiplier=100",
        "sgd · lr_multiplier=100",
    ]
    assert remark == "the best setting of each optimizer by validation"


def test_terminal_table_fits_eighty_columns(new_study):
    writer = new_study()
    for seed in range(5):
        for optimizer in ("adam", "adamw", "sgd"):
            writer.run(optimizer, seed)
    writer.run("rmsprop", 0, status="diverged", reason="loss is not finite at step 80")
    stream = io.StringIO()
    print_summary(read_study(writer.folder), Console(file=stream, width=80))
    text = stream.getvalue()
    table = [line for line in text.splitlines() if "━" in line]
    assert len(table) == 4  # no row is folded
    assert max(map(len, table)) <= 80
    assert "0/1" in table[-1]
    assert "loss is not finite at step 80" in text
    assert "repeat it alone: python train.py optimizer=rmsprop seed=0" in text


def test_many_optimizers_are_cut_with_a_word(new_study):
    writer = new_study()
    for number in range(5):
        for scale in (0.1, 1.0):
            writer.run(f"optimizer{number}", config={"lr_multiplier": scale})
    rows, remark = rows_for_curves(summary_of(writer).rows, most=3)
    assert len(rows) == 3
    assert remark == "the 3 best of 5 optimizers by validation, each at its best setting"
