"""Reading one run: what counts, and what is said about what does not."""

import json

import pytest

from optlab.analysis import read_study
from optlab.analysis.records import DamagedRecord, read_run
from optlab.report import make_report


def test_run_gives_its_figures(new_study):
    run = read_run(new_study().run("adam", seed=3, accuracy=0.975, test_accuracy=0.971))
    assert (run.optimizer, run.seed, run.fold, run.status) == ("adam", 3, 0, "finished")
    assert run.metric("validation") == 0.975
    assert run.metric("test") == 0.971
    assert run.metric("test", "best") == pytest.approx(0.9716)
    assert run.lr == 0.001
    assert len(run.steps) == 240
    assert list(run.epochs["epoch"]) == [1, 2, 3, 4]
    assert run.notes == []


def test_folder_without_record_is_unfinished(new_study):
    folder = new_study().run()
    (folder / "record.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"record\.json"):
        read_run(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "has format 2; this version reads 1"),
        ({"status": "done"}, "has status 'done'; known are finished, diverged, failed"),
        ({"seed": "0"}, "has no usable 'seed'"),
        ({"seed": True}, "has no usable 'seed'"),
        ({"config": None}, "has no usable 'config'"),
        ({"optimizer": {}}, "has no name under 'optimizer'"),
        ({"validation": None}, r"has no validation accuracy in 0\.\.1"),
        ({"test": {"best": {"accuracy": 97.5}}}, r"has no test accuracy in 0\.\.1"),
        ({"test": {"best": {"accuracy": float("nan")}}}, r"has no test accuracy in 0\.\.1"),
        ({"test": {"best": {"accuracy": 0.9}}}, r"has no test accuracy in 0\.\.1"),  # no last
        ({"validation": [1]}, "has no usable 'validation'"),
        ({"test": {"best": [1]}}, "has no usable 'test.best'"),
        ({"train": {"last": 0.9}}, "has no usable 'train.last'"),
        ({"device": "cpu"}, "has no usable 'device'"),
        ({"target": "x"}, "has no usable 'target'"),
        ({"versions": [1]}, "has no usable 'versions'"),
        ({"replica": 3}, "has no usable 'replica'"),
        ({"config": {"data": None}}, "has no usable 'config.data'"),
        ({"config": {"data": {"fold": "x"}}}, "has no usable 'config.data.fold'"),
        ({"dataset": {"name": "mnist", "class_names": 5}}, "has no usable 'dataset.class_names'"),
    ],
)
def test_damaged_record_is_refused_with_the_reason(new_study, change, message):
    folder = new_study().run(record=change)
    with pytest.raises(DamagedRecord, match=message):
        read_run(folder)


@pytest.mark.parametrize("text", ["", '{"format": 1, "sta', "[1, 2]", "\x00\x01"])
def test_record_that_is_no_json_object_is_damaged(new_study, text):
    folder = new_study().run()
    (folder / "record.json").write_text(text)
    with pytest.raises(DamagedRecord, match=r"record\.json"):
        read_run(folder)


def test_record_that_is_not_utf8_is_damaged(new_study):
    folder = new_study().run()
    (folder / "record.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DamagedRecord, match="cannot be read"):
        read_run(folder)


def test_record_of_odd_shape_costs_itself_and_not_the_report(five_optimizers):
    odd = five_optimizers.run("adam", 1, record={"validation": [1], "device": "cpu"})
    assert make_report(five_optimizers.folder).is_file()
    study = read_study(five_optimizers.folder)
    assert study.damaged == ((odd, "record.json has no usable 'validation'"),)


@pytest.mark.parametrize("key", ["train", "test", "validation", "target", "device", "versions"])
def test_part_that_a_diverged_run_never_came_to_may_be_null(new_study, key):
    run = read_run(new_study().run(status="diverged", record={key: None}))
    assert run.metric("test") is None


def test_diverged_run_needs_no_test_accuracy(new_study):
    run = read_run(new_study().run(status="diverged", reason="loss is not finite", broken_after=20))
    assert run.metric("test") is None
    assert run.metric("validation") is None


def test_metrics_that_are_not_finite_are_none(new_study):
    folder = new_study().run(status="diverged", record={"validation": {"best": {"loss": 1.0}}})
    record = json.loads((folder / "record.json").read_text())
    record["train_time_s"] = float("inf")
    (folder / "record.json").write_text(json.dumps(record))
    run = read_run(folder)
    assert run.metric("validation") is None
    assert run.number("train_time_s") is None


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (None, r"epochs.csv is missing"),
        ("", "epochs.csv cannot be read"),
        ("epoch,step\n1,10\n", "epochs.csv cannot be read: no column lr"),
        (
            "epoch,step,lr,train/loss,train/accuracy,val/loss,val/accuracy,train_time_s\n"
            "1,10,0.1,x,0.9,0.1,0.9,1.0\n",
            "epochs.csv cannot be read: could not convert",
        ),
    ],
)
def test_curve_file_that_cannot_be_read_leaves_a_note(new_study, text, note):
    folder = new_study().run()
    if text is None:
        (folder / "epochs.csv").unlink()
    else:
        (folder / "epochs.csv").write_text(text)
    run = read_run(folder)
    assert run.epochs.empty
    assert len(run.notes) == 1
    assert run.notes[0].startswith(note)
