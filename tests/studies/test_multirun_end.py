"""Which runs belong to a command, and what is told of them."""

import json
import os
import time

from filelock import FileLock
from omegaconf import OmegaConf

from optlab.studies.multirun_end import _as_expected, touched_runs, write_study


def mark(folder, age_s=0.0, name="record.json"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    then = time.time() - age_s
    os.utime(path, (then, then))


def test_runs_of_this_command_are_known_by_their_marks(tmp_path):
    mark(tmp_path / "study" / "new")
    mark(tmp_path / "study" / "started", name=".hydra/hydra.yaml")
    mark(tmp_path / "study" / "old", age_s=100)
    mark(tmp_path / "study" / "skipped", age_s=100)
    mark(tmp_path / "study" / "skipped", name=".hydra/hydra.yaml")
    found = touched_runs(tmp_path, since_s=time.time() - 10)
    assert [folder.name for folder in found] == ["new", "skipped", "started"]


def test_run_that_another_command_is_training_is_left_to_it(tmp_path):
    mark(tmp_path / "study" / "ours")
    mark(tmp_path / "study" / "theirs", name=".hydra/hydra.yaml")
    with FileLock(tmp_path / "study" / "theirs" / ".lock"):
        found = touched_runs(tmp_path, since_s=time.time() - 10)
    assert [folder.name for folder in found] == ["ours"]


def test_report_folder_is_no_run(tmp_path):
    (tmp_path / "study" / "report").mkdir(parents=True)
    assert touched_runs(tmp_path, since_s=0.0) == []


def test_study_file_keeps_what_tuning_wrote(tmp_path):
    (tmp_path / "study.json").write_text(json.dumps({"tuning": {"trials": 3}}))
    config = OmegaConf.create(
        {
            "published": None,
            "hydra": {
                "overrides": {
                    "hydra": ["hydra/sweeper=fair", "hydra.mode=MULTIRUN"],
                    "task": ["optimizer=sgd,adam", "run_name='two words'"],
                }
            },
        }
    )
    write_study(tmp_path, config, title="Mine")
    written = json.loads((tmp_path / "study.json").read_text())
    assert written["tuning"] == {"trials": 3}
    assert written["title"] == "Mine"
    (command,) = written["commands"]
    assert command.startswith("python train.py -m hydra/sweeper=fair optimizer=sgd,adam ")
    config.hydra.overrides.task = ["optimizer=muon"]
    for _ in range(2):  # given again, a command is told once
        write_study(tmp_path, config, title="Mine")
    commands = json.loads((tmp_path / "study.json").read_text())["commands"]
    assert commands == [command, "python train.py -m hydra/sweeper=fair optimizer=muon"]


def test_study_file_that_cannot_be_read_is_not_written_over(tmp_path):
    (tmp_path / "study.json").write_text('{"tuning": {"rows": [')
    config = OmegaConf.create(
        {"published": None, "hydra": {"overrides": {"hydra": [], "task": ["optimizer=sgd"]}}}
    )
    write_study(tmp_path, config, title=None)
    assert (tmp_path / "study.json").read_text() == '{"tuning": {"rows": ['


def test_trial_that_diverged_is_no_failure_of_the_study_but_another_run_is(tmp_path):
    for name in ("trial", "run"):
        (tmp_path / name).mkdir()
        record = {"status": "diverged", "hash": name}
        (tmp_path / name / "record.json").write_text(json.dumps(record))
    (tmp_path / "study.json").write_text(json.dumps({"tuning": {"rows": [{"hash": "trial"}]}}))
    assert _as_expected(tmp_path / "trial")
    assert not _as_expected(tmp_path / "run")
