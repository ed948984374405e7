"""What the report says about one workload: the rows it shows, and how runs are paired."""

import re

import numpy as np
import pytest
from made_studies import summary_of

from optlab.report import workload_content as module
from optlab.report.folder import ReportFolder
from optlab.report.workload_content import rows_for_curves, workload_content
from optlab.runs.folder import RunFolder

pytestmark = pytest.mark.usefixtures("blank_pictures")


@pytest.fixture
def content_of(tmp_path):
    """The content of a study's only workload."""

    def make(writer):
        folder = ReportFolder(tmp_path / "report")
        return workload_content(summary_of(writer), folder, is_tuned=False)

    return make


def test_optimizers_share_weights_and_batches(five_optimizers, content_of):
    assert content_of(five_optimizers)["shares_batches"]


@pytest.mark.parametrize(
    "option", [{"data.batch_size": 256}, {"model.hidden": [32]}, {"module.label_smoothing": 0.1}]
)
def test_configurations_of_other_data_or_network_share_neither(option, new_study, content_of):
    writer = new_study()
    writer.run("adam", accuracy=0.98)
    writer.run("adam", accuracy=0.97, config=option)
    assert not content_of(writer)["shares_batches"]


def test_networks_share_neither(new_study, content_of):
    writer = new_study()
    for model in ("mlp", "cnn"):
        writer.run("adam", model=model)
    assert not content_of(writer)["shares_batches"]


def test_hardest_class_is_that_of_all_configurations_shown_or_not(
    new_study, content_of, monkeypatch
):
    writer = new_study(classes=3)
    for optimizer, accuracy, matrix in (
        ("adam", 0.98, [[9, 1, 0], [0, 10, 0], [0, 0, 10]]),  # by itself, class 0 is its hardest
        ("sgd", 0.97, [[10, 0, 0], [0, 10, 0], [0, 5, 5]]),
    ):
        writer.run(optimizer, accuracy=accuracy, record={"confusion_matrix": matrix})
    monkeypatch.setattr(module, "MOST_ROWS", 1)
    content = content_of(writer)
    # F1 of class 2 is 1 and 2 * 5 / (5 + 10) = 2/3
    assert (content["hardest_class"], content["hardest_f1"]) == ("2", pytest.approx(5 / 6))


def test_most_confused_pairs_are_those_of_all_finished_runs(new_study, content_of):
    writer = new_study(classes=3)
    one, other = [[98, 2, 0], [0, 95, 5], [1, 0, 99]], [[90, 10, 0], [0, 99, 1], [3, 0, 97]]
    writer.run("adam", record={"confusion_matrix": one})
    writer.run("sgd", record={"confusion_matrix": other})
    writer.run("rmsprop", status="diverged")
    content = content_of(writer)
    assert content["num_matrices"] == 2
    assert content["confused"] == "0 as 1 (12), 1 as 2 (6) and 2 as 0 (4)"  # 2 + 10, 5 + 1, 1 + 3


def test_runs_without_mistakes_have_no_confused_pair(new_study, content_of):
    writer = new_study(classes=2)
    writer.run("adam", test_accuracy=1.0)
    assert content_of(writer)["confused"] == ""


def test_many_configurations_are_drawn_by_the_best_of_each_optimizer(new_study):
    writer = new_study()
    for optimizer in ("adam", "sgd"):
        for scale in (0.01, 0.1, 1.0, 10.0, 100.0):
            writer.run(optimizer, config={"lr_multiplier": scale}, accuracy=0.9 + scale / 2000)
    rows, remark = rows_for_curves(summary_of(writer).rows)
    assert sorted(row.label for row in rows) == [
        "adam · lr_multiplier=100",
        "sgd · lr_multiplier=100",
    ]
    assert "best" in remark
    assert "optimizer" in remark


def test_many_optimizers_are_cut_with_a_word(new_study):
    writer = new_study()
    for number in range(5):
        for scale in (0.1, 1.0):
            writer.run(f"optimizer{number}", config={"lr_multiplier": scale})
    rows, remark = rows_for_curves(summary_of(writer).rows, most=3)
    assert len(rows) == 3
    assert re.search(r"\b3\b.*\b5\b", remark)


def test_calibration_and_mistakes_are_shown_where_runs_kept_their_answers(new_study, content_of):
    writer = new_study()
    folder = writer.run("adam", 0)
    assert "calibration_table" not in content_of(writer)
    probabilities = np.tile(np.float16([0.75, 0.25]), (4, 1))
    np.savez(RunFolder(folder).test_probabilities, labels=[0, 0, 0, 1], last=probabilities)
    images = np.zeros((1, 8, 8), np.uint8)
    np.savez(RunFolder(folder).test_mistakes, indices=[3], images=images)
    content = content_of(writer)
    (row,) = content["calibration_table"].rows
    assert row[:2] == ("Adam", "0.00")  # right in 75 % of cases, 75 % sure
    assert "reliability" in content["figures"]
    assert "hardest_images" in content["figures"]
    assert content["num_hardest"] == 1


def test_answers_for_other_images_are_not_compared(new_study, content_of):
    writer = new_study()
    right = np.eye(2, dtype=np.float16)[[0, 0, 1]]
    for optimizer, labels in (("adam", [0, 0, 1]), ("sgd", [0, 1, 1])):
        folder = writer.run(optimizer)
        assert "disagreement_table" not in content_of(writer)
        np.savez(RunFolder(folder).test_probabilities, labels=labels, last=right)
    assert "disagreement_table" not in content_of(writer)
    np.savez(RunFolder(folder).test_probabilities, labels=[0, 0, 1], last=right)
    assert "disagreement_table" in content_of(writer)


def test_costs_have_evaluations_a_step_where_optimizers_differ_in_them(new_study, content_of):
    writer = new_study()
    costs = {"optimizer_share": 0.125, "optimizer_state_bytes": 1_881_192}
    writer.run("adam", accuracy=0.98, record=costs | {"evaluations_per_step": 1.0})
    assert content_of(writer)["cost_table"].rows[0][3:] == ("12 %", "1.88 MB", "0.40 GiB")
    writer.run("lbfgs", accuracy=0.97, record={"evaluations_per_step": 5.1})
    table = content_of(writer)["cost_table"]
    assert [row[4] for row in table.rows] == ["1", "5.1"]
    assert table.rows[1][3] == "-"  # a run of an earlier version
