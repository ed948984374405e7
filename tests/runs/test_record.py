"""record.json: one writer, one reader, and what is wrong with a damaged one."""

import ast
import json
import math
import re
from dataclasses import asdict
from pathlib import Path

import pytest
from made_records import make_record

from optlab.runs.json_fields import DamagedFile
from optlab.runs.record import (
    DatasetFacts,
    NoRecord,
    RunRecord,
    find_record,
    read_record,
    write_record,
)

PACKAGE = Path(__file__).parents[2] / "src"


def change(folder, **fields):
    """Set top-level keys of the record in a folder."""
    path = folder / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.fixture
def folder(tmp_path):
    """The folder of a finished run."""
    write_record(tmp_path, make_record())
    return tmp_path


@pytest.mark.parametrize("status", ["finished", "diverged", "failed"])
def test_record_reads_back_as_it_was_written(status, tmp_path):
    dataset = DatasetFacts(name="made", class_names=["a", "b"], mean=[0.5], image_size=28)
    record = make_record(
        status, dataset=dataset, confusion_matrix=[[3, 1], [0, 4]], own_code={"mine": "1f"}
    )
    write_record(tmp_path, record)
    assert read_record(tmp_path) == record


def test_every_field_is_in_the_file_and_the_format_too(folder):
    content = json.loads((folder / "record.json").read_text())
    assert content == asdict(make_record())
    assert content["format"] == 1


def test_numbers_that_are_not_finite_become_null(tmp_path):
    write_record(tmp_path, make_record(train_time_s=math.inf, images_per_s=math.nan))
    content = json.loads((tmp_path / "record.json").read_text())
    assert (content["train_time_s"], content["images_per_s"]) == (None, None)
    change(tmp_path, wall_time_s=math.nan)  # Python writes what is no JSON
    assert read_record(tmp_path).wall_time_s is None


def test_failed_write_keeps_the_old_record(folder):
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_record(folder, make_record("failed", reason=object()))
    assert read_record(folder) == make_record()
    assert [path.name for path in folder.iterdir()] == ["record.json"]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"format": 2}, r"format\b.* 2\b.* 1\b"),
        ({"status": "done"}, r"status .*'done'.*finished, diverged, failed"),
        ({"seed": "0"}, r"seed .*'0'.*\bwhole"),
        ({"seed": True}, r"seed .*True.*\bwhole"),
        ({"config": None}, r"\bconfig\b"),
        ({"optimizer": {}}, r"optimizer\.name\b"),
        ({"validation": None}, r"finished.*validation\.best\.accuracy"),
        ({"test": {"best": {"accuracy": math.nan}}}, r"test\.best\.accuracy"),
        ({"validation": [1]}, r"validation .*\[1\].*\bobject\b"),
        ({"test": {"best": [1]}}, r"test\.best .*\[1\].*\bobject\b"),
        ({"device": "cpu"}, r"device .*'cpu'.*\bobject\b"),
        ({"versions": {"torch": 2}}, r"versions\.torch .*2.*\bstring\b"),
        ({"replica": 3}, r"replica .*3.*\bobject\b"),
        ({"confusion_matrix": [[1, 0.5]]}, r"confusion_matrix\[0\]\[1\] .*0\.5.*\bwhole"),
        ({"dataset": {"name": "mnist", "class_names": 5}}, r"dataset\.class_names .*5.*\blist\b"),
        ({"train_time_s": "12 s"}, r"train_time_s .*'12 s'.*\bnumber\b"),
    ],
)
def test_damaged_record_is_refused_by_file_and_field(fields, problem, folder):
    change(folder, **fields)
    with pytest.raises(DamagedFile) as caught:
        read_record(folder)
    assert re.match(rf"record\.json .*{problem}", caught.value.problem)
    assert str(folder / "record.json") in str(caught.value)
    assert "hint: " in str(caught.value)
    assert find_record(folder) is None


@pytest.mark.parametrize("content", [b"", b'{"format": 1, "sta', b"[1, 2]", b"\x00\x01", b"\xff"])
def test_record_that_is_not_a_json_object_is_damaged(content, folder):
    (folder / "record.json").write_bytes(content)
    with pytest.raises(DamagedFile, match=r"record\.json"):
        read_record(folder)
    assert find_record(folder) is None


def test_record_that_the_disk_does_not_give_is_not_taken_for_none(folder):
    (folder / "record.json").unlink()
    (folder / "record.json").mkdir()
    with pytest.raises(OSError, match=r"record\.json"):
        find_record(folder)


@pytest.mark.parametrize(
    "key", ["train", "test", "validation", "target", "device", "versions", "own_code", "overrides"]
)
def test_part_that_a_diverged_run_never_came_to_may_be_null_or_missing(key, tmp_path):
    write_record(tmp_path, make_record("diverged"))
    change(tmp_path, **{key: None})
    assert getattr(read_record(tmp_path), key) == getattr(make_record("diverged"), key)


def test_keys_of_another_version_are_ignored(folder):
    change(folder, weather="sunny")
    assert read_record(folder) == make_record()


@pytest.mark.parametrize(
    ("leave", "problem"),
    [
        (lambda folder: folder.rmdir(), r"^(?!.*record\.json)(?s:.*)outputs/<study>/"),
        (lambda folder: None, r"^(?!.*unfinished).*record\.json"),
        (lambda folder: (folder / "checkpoints").mkdir(), r"unfinished.*record\.json"),
        (lambda folder: (folder / "epochs.csv").touch(), r"unfinished.*record\.json"),
    ],
)
def test_folder_without_a_record_says_what_it_is(leave, problem, tmp_path):
    (tmp_path / "run").mkdir()
    leave(tmp_path / "run")
    with pytest.raises(NoRecord, match=problem):
        read_record(tmp_path / "run")
    assert find_record(tmp_path / "run") is None


@pytest.mark.parametrize(
    ("status", "is_result"), [("finished", True), ("diverged", True), ("failed", False)]
)
def test_results_are_what_training_again_would_repeat(status, is_result):
    assert make_record(status).has_result is is_result


def test_objective_is_that_of_the_judged_weights_and_nan_without_a_result():
    record = make_record()
    record.validation.best.accuracy = 0.95
    record.validation.last.accuracy = 0.93
    assert record.objective == 0.93
    record.config["callbacks"] = {"stop": {"_target_": "lightning.EarlyStopping"}}
    assert record.objective == 0.95
    assert math.isnan(make_record("diverged").objective)


def test_metric_is_none_where_the_run_has_none():
    assert make_record().metric("test", "best", "loss") == 0.3
    assert make_record().metric("train") is None
    assert make_record("diverged").metric("validation", quantity="epoch") is None


def test_outcome_is_one_line():
    assert "validation 90.00%" in make_record().outcome
    assert make_record("failed", reason="ValueError: no").outcome == "failed: ValueError: no"


def test_only_this_package_names_the_files():
    """One reader and one writer: nothing else opens record.json or study.json."""
    naming = set()
    for path in PACKAGE.rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        texts = [node for node in nodes if isinstance(node, ast.Constant)]
        docstrings = [node.value for node in nodes if isinstance(node, ast.Expr)]
        naming |= {
            (path.relative_to(PACKAGE).as_posix(), text.value)
            for text in texts
            if isinstance(text.value, str)
            and text.value.endswith(("record.json", "study.json"))
            and text not in docstrings
            and " " not in text.value
        }
    assert naming == {
        ("optlab/runs/folder.py", "record.json"),
        ("optlab/runs/folder.py", "*/*/record.json"),
        ("optlab/runs/study_file.py", "study.json"),
    }


def test_fields_are_documented():
    text = (PACKAGE.parent / "docs" / "run_files.md").read_text()
    missing = [name for name in RunRecord.__dataclass_fields__ if f"`{name}`" not in text]
    assert missing == []
