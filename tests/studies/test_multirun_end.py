"""Which runs belong to a command, and what is written about them."""

from pathlib import Path

from made_records import make_record
from omegaconf import OmegaConf

from optlab.runs.record import write_record
from optlab.runs.study_file import (
    StudyFile,
    TrialRow,
    TuningRows,
    read_study_file,
    write_study_file,
)
from optlab.studies.multirun_end import _succeeded, write_study

ROOT = Path(__file__).parents[2]


def test_study_file_keeps_what_tuning_wrote(tmp_path):
    tuning = TuningRows(rows=[TrialRow("adam", "9f", "1a", "finished")])
    write_study_file(tmp_path, StudyFile(tuning=tuning))
    config = OmegaConf.create(
        {
            "published": None,
            "hydra": {
                "overrides": {
                    "hydra": ["hydra/sweeper=fair", "hydra.mode=MULTIRUN"],
                    "task": ["optimizer=sgd,adam", "run_name='two words'"],
                },
                "job": {"name": "train", "config_name": "train"},
                "runtime": {
                    "cwd": str(ROOT),
                    "config_sources": [{"provider": "main", "path": str(ROOT / "conf")}],
                },
            },
        }
    )
    config.published = {"rows": []}
    write_study(tmp_path, config, title="Mine")
    written = read_study_file(tmp_path)
    assert written.tuning == tuning
    assert written.title == "Mine"
    (command,) = written.commands
    assert command.startswith("python train.py -m hydra/sweeper=fair optimizer=sgd,adam ")
    config.hydra.overrides.task = ["optimizer=muon"]
    config.published = None
    for _ in range(2):  # a repeated command is listed once
        write_study(tmp_path, config, title="Mine")
    written = read_study_file(tmp_path)
    assert written.published == {"rows": []}
    commands = written.commands
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
        write_record(tmp_path / name, make_record("diverged", hash=name))
    trial = TrialRow("adam", "9f", "trial", "diverged")
    write_study_file(tmp_path, StudyFile(tuning=TuningRows(rows=[trial])))
    assert _succeeded(tmp_path / "trial")
    assert not _succeeded(tmp_path / "run")
