"""record.json: strict, atomic, and never half read."""

import json
import math

import pytest
from filelock import FileLock

from optlab.training import record as records


def test_numbers_that_are_not_finite_become_null(tmp_path):
    path = tmp_path / "record.json"
    records.write_json(path, {"a": math.nan, "b": [math.inf, 1.5], "c": {"d": (-math.inf, 2)}})
    assert json.loads(path.read_text()) == {"a": None, "b": [None, 1.5], "c": {"d": [None, 2]}}


def test_failed_write_keeps_the_old_record(tmp_path):
    records.write_record(tmp_path, {"status": "finished"})
    with pytest.raises(TypeError, match="not JSON serializable"):
        records.write_record(tmp_path, {"status": "failed", "reason": object()})
    assert records.read_record(tmp_path) == {"format": 1, "status": "finished"}
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


def test_run_is_in_training_while_its_folder_is_held(tmp_path):
    with FileLock(tmp_path / ".lock"):
        assert records.in_training(tmp_path)
    assert not records.in_training(tmp_path)
    assert not records.in_training(tmp_path / "nowhere")


@pytest.mark.parametrize("text", ["", "{", "[]", "1", '{"seed": 0}', "\x00"])
def test_damaged_record_reads_as_none(text, tmp_path):
    (tmp_path / "record.json").write_text(text)
    assert records.read_record(tmp_path) is None


def test_record_of_no_folder_is_none(tmp_path):
    assert records.read_record(tmp_path / "nothing") is None


@pytest.mark.parametrize(
    ("status", "is_result"), [("finished", True), ("diverged", True), ("failed", False)]
)
def test_results_are_what_training_again_would_repeat(status, is_result):
    assert records.has_result({"status": status}) is is_result


def test_no_record_is_no_result():
    assert not records.has_result(None)


def test_objective_of_a_run_without_result_is_nan():
    assert math.isnan(records.objective({}))
    assert math.isnan(records.objective({"status": "diverged"}))


def test_only_the_first_process_of_a_run_writes(monkeypatch):
    assert records.is_main_process()
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert not records.is_main_process()


def test_versions_name_what_numbers_depend_on():
    assert {"python", "torch", "lightning", "numpy"} <= records.versions().keys()


def test_versions_name_the_packages_that_classes_come_from():
    config = {
        "optimizer": {"_target_": "schedulefree.AdamWScheduleFree"},
        "callbacks": {"mine": {"_target_": "mine.Callback"}, "off": None},
        "trainer": {"plugins": [{"_target_": "sklearn.Thing"}]},
        "scheduler": {"_target_": None},
    }
    added = records.versions(config).keys() - records.versions().keys()
    assert added == {"schedulefree", "scikit-learn"}
