"""Reading one run: what counts, and what is said about what does not."""

import json
import re

import pytest

from optlab.analysis import read_study
from optlab.analysis.records import read_run
from optlab.report import make_report
from optlab.runs.json_fields import DamagedFile
from optlab.runs.record import NoRecord

pytestmark = pytest.mark.usefixtures("blank_pictures")


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
    with pytest.raises(NoRecord, match=r"record\.json"):
        read_run(folder)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"validation": None}, r"validation\.best\.accuracy"),
        (
            {"test": {"best": {"accuracy": 97.5}, "last": {"accuracy": 1}}},
            r"test\.best\.accuracy .*97\.5.* 0\.\.1",
        ),
        (
            {"test": {"last": {"accuracy": -1}, "best": {"accuracy": 0.9}}},
            r"test\.last\.accuracy .*-1.* 0\.\.1",
        ),
    ],
)
def test_damaged_record_is_refused_with_the_reason(new_study, change, problem):
    folder = new_study().run(record=change)
    with pytest.raises(DamagedFile, match=problem):
        read_run(folder)


def test_record_of_odd_shape_costs_itself_and_not_the_report(five_optimizers):
    odd = five_optimizers.run("adam", 1, record={"validation": [1], "device": "cpu"})
    assert make_report(five_optimizers.folder).is_file()
    study = read_study(five_optimizers.folder)
    ((folder, problem),) = study.damaged
    assert folder == odd
    assert re.match(r"record\.json .*validation .*\[1\]", problem)


def test_diverged_run_needs_no_test_accuracy(new_study):
    run = read_run(new_study().run(status="diverged", broken_after=20))
    assert run.metric("test") is None
    assert run.metric("validation") is None


def test_metrics_that_are_not_finite_are_none(new_study):
    folder = new_study().run(
        status="diverged", record={"validation": {"best": {"loss": 1.0}, "last": {"loss": 1.0}}}
    )
    record = json.loads((folder / "record.json").read_text())
    record["train_time_s"] = float("inf")
    (folder / "record.json").write_text(json.dumps(record))
    run = read_run(folder)
    assert run.metric("validation") is None
    assert run.record.train_time_s is None


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (None, r"\bmissing\b"),
        ("", r"\bread\b"),
        ("epoch,step\n1,10\n", r"\bread\b.*: .*\blr, train/loss, "),
        (
            "epoch,step,lr,train/loss,train/accuracy,val/loss,val/accuracy,train_time_s\n"
            "1,10,0.1,x,0.9,0.1,0.9,1.0\n",
            r"\bread\b.*: .*'x'",
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
    (found,) = run.notes
    assert re.match(rf"epochs\.csv .*{note}", found)
