"""Ranking, counting and the words of a comparison."""

import math
import re

import pytest
from made_studies import summary_of

from optlab.analysis.study import read_study
from optlab.analysis.summary import speed_ratio, summarize, validation_score
from optlab.analysis.tables import (
    confusion_table,
    differences_table,
    per_class_table,
    runs_table,
    summary_table,
)
from optlab.analysis.verdict import make_verdict


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
    writer.run("adam", 4, status="diverged")
    summary = summary_of(writer)
    assert [row.label for row in summary.rows] == ["sgd", "adam"]
    adam = summary.rows[1]
    assert (adam.num_finished, adam.num_diverged) == (4, 1)
    # (4 * 0.98 + 0.1) / 5, guessing one of ten classes for the diverged seed
    assert validation_score(adam.configuration, 10) == pytest.approx(0.804)
    assert adam.accuracy("validation").mean == pytest.approx(0.98)  # over the finished ones
    assert adam.difference.conclusion == "too few seeds"
    assert adam.verdict.startswith("1 of 5 diverged")
    assert adam.verdict.endswith(adam.difference.conclusion)


def test_failed_run_is_counted_but_not_held_against_the_optimizer(new_study):
    writer = new_study()
    for seed in range(2):
        writer.run("sgd", seed, accuracy=0.96)
    writer.run("adam", 0, accuracy=0.98)
    writer.run("adam", 1, status="failed")
    summary = summary_of(writer)
    assert [row.label for row in summary.rows] == ["adam", "sgd"]
    assert summary.rows[0].is_best
    assert re.match(r"1 of 2 failed\b.*\bbest\b", summary.rows[0].verdict)


def test_newcomer_with_a_single_run_leaves_the_comparison_of_the_others(new_study):
    writer = new_study()
    for seed in range(5):
        for optimizer in ("sgd", "adam", "rmsprop"):
            writer.run(optimizer, seed)
    writer.run("muon", 0, accuracy=0.999)
    summary = summary_of(writer)
    assert summary.rows[-1].label == "muon"
    assert [difference.num_seeds for _, difference in summary.compared()] == [5, 5, 1]
    remarks = make_verdict(summary).remarks
    assert any(text.endswith(": Muon (1).") for text in remarks)
    assert any(re.search(r"\b5 seeds\b.*: Muon \(", text) for text in remarks)
    assert not any("confidence" in text for text in remarks)


def test_configuration_that_only_diverged_comes_last(new_study):
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
    table = runs_table(study, [summarize(workload) for workload in study.workloads])
    counted, left_out = table.role
    assert counted == "counted"
    assert re.match(r".*: protocol .*\b1\b.*\b2$", left_out)


def test_class_tables_add_up(five_optimizers):
    summary = summary_of(five_optimizers)
    counts = confusion_table(summary).groupby("label").num_images.sum()
    assert (counts == 10_000).all()
    classes = per_class_table(summary)
    assert len(classes) == 50
    assert classes.f1.between(0.85, 1).all()


def test_class_without_test_images_has_no_figures_and_is_in_no_average(new_study):
    writer = new_study()
    # of the images of class 1 there are none; one of class 0 was taken for it
    matrix = [[14, 1, 0], [0, 0, 0], [0, 0, 15]]
    dataset = {"class_names": ["a", "b", "c"], "name": "mnist", "title": "MNIST", "checksum": "1"}
    writer.run("adam", record={"confusion_matrix": matrix, "dataset": dataset})
    classes = per_class_table(summary_of(writer)).set_index("class")
    assert classes.loc["b", ["precision", "recall", "f1"]].isna().all()
    assert classes.loc["a", "f1"] == pytest.approx(28 / 29)  # 2 * 14 / (15 + 14)
    assert classes.f1.mean() == pytest.approx((28 / 29 + 1) / 2)


def test_runs_without_confusion_matrix_leave_the_class_tables_empty(new_study):
    writer = new_study()
    writer.run("adam", record={"confusion_matrix": None})
    writer.run("sgd", record={"confusion_matrix": [[1, 2], [3]]})
    assert per_class_table(summary_of(writer)).empty
    assert confusion_table(summary_of(writer)).empty


def test_differences_table_has_no_row_for_the_best(five_optimizers):
    table = differences_table(summary_of(five_optimizers))
    assert len(table) == 4
    assert set(table.conclusion) == {"too few seeds"}
    assert table.p_value.isna().all()


def test_verdict_of_one_seed_is_a_hint(five_optimizers):
    verdict = make_verdict(summary_of(five_optimizers))
    assert re.match(r"Adam leads .*\b97\.", verdict.lead)
    assert any("confidence" in text for text in verdict.remarks)
    assert not any("significant" in text for text in verdict.remarks)


def test_verdict_names_what_differs_and_what_would_settle_the_rest(new_study):
    writer = new_study()
    for seed, noise in enumerate((0.0, 0.0004, -0.0003, 0.0002, -0.0001)):
        writer.run("adamw", seed, accuracy=0.980, test_accuracy=0.9780)
        writer.run("adam", seed, accuracy=0.979, test_accuracy=0.9780 + noise)
        writer.run("sgd", seed, accuracy=0.970, test_accuracy=0.9680 + noise)
    verdict = make_verdict(summary_of(writer))
    assert re.match(r"AdamW leads .*98\.00", verdict.lead)
    same, lower, power, *_ = verdict.remarks
    assert "Adam (" in same
    assert "SGD with momentum" not in same
    assert "SGD with momentum" in lower
    assert re.search(r"\b5 seeds\b.*80 %", power)


def test_verdict_without_finished_run_says_so(new_study):
    writer = new_study()
    writer.run("sgd", status="diverged")
    summary = summary_of(writer)
    assert summary.best is None
    verdict = make_verdict(summary)
    assert re.match("No .*finished", verdict.lead)
    assert verdict.remarks[0] == "Diverged: SGD with momentum (1 of 1)."


def test_verdict_of_one_configuration_compares_with_nothing(new_study):
    writer = new_study()
    writer.run("adam", accuracy=0.97)
    summary = summary_of(writer)
    assert summary.compared() == []
    assert re.match(r"Adam .*97\.00 %.*96\.90 %", make_verdict(summary).lead)


def test_speed_is_that_of_the_passes_and_not_of_the_optimizer(new_study):
    writer = new_study()
    # 1,000 passes a second in each: of L-BFGS five for an image, of Muon in half of the time
    for optimizer, images_per_s, share, evaluations in (
        ("sgd", 1000.0, None, None),
        ("muon", 500.0, 0.5, 1.0),
        ("lbfgs", 100.0, 0.5, 5.0),
    ):
        record = {
            "images_per_s": images_per_s,
            "optimizer_share": share,
            "evaluations_per_step": evaluations,
        }
        writer.run(optimizer, record=record)
    writer.run("sgd", config={"data.batch_size": 512}, record={"images_per_s": 8000.0})
    writer.run("sgd", 1, status="diverged", record={"images_per_s": 10.0})
    assert speed_ratio(summary_of(writer).workload.runs) == pytest.approx(1.0)
    assert summary_of(writer).unlike_clocks == ""
    writer.run("sgd", 2, record={"images_per_s": 1600.0})
    assert re.search(r"speeds .*\b1\.6\b", summary_of(writer).unlike_clocks)
