"""Which runs belong to a command, and what is told of them."""

import json
from pathlib import Path

from omegaconf import OmegaConf

from optlab.studies.multirun_end import _as_expected, write_study
from optlab.training.record import mark, marked_with

ROOT = Path(__file__).parents[2]


def test_runs_are_known_by_the_commands_that_asked_for_them(tmp_path):
    for name, commands in {
        "new": ["ours"],
        "shared": ["theirs", "ours"],
        "old": ["theirs"],
    }.items():
        for command in commands:
            mark(tmp_path / "study" / name, command)
    (tmp_path / "study" / "report").mkdir()
    found = sorted(marked_with(tmp_path, "ours"))
    assert [folder.name for folder in found] == ["new", "shared"]


def test_run_is_marked_once_by_a_command(tmp_path):
    for _ in range(2):
        mark(tmp_path / "run", "ours")
    assert (tmp_path / "run" / ".commands").read_text() == "ours\n"


def test_study_file_keeps_what_tuning_wrote(tmp_path):
    (tmp_path / "study.json").write_text(json.dumps({"tuning": {"trials": 3}}))
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
    written = json.loads((tmp_path / "study.json").read_text())
    assert written["tuning"] == {"trials": 3}
    assert written["title"] == "Mine"
    (command,) = written["commands"]
    assert command.startswith("python train.py -m hydra/sweeper=fair optimizer=sgd,adam ")
    config.hydra.overrides.task = ["optimizer=muon"]
    config.published = None
    for _ in range(2):  # given again, a command is told once
        write_study(tmp_path, config, title="Mine")
    written = json.loads((tmp_path / "study.json").read_text())
    assert written["published"] == {"rows": []}
    commands = written["commands"]
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
