"""A run's folder: its files, its lock and the commands that asked for it."""

import re
import subprocess
import sys

import pytest
from filelock import FileLock

from optlab.runs import folder
from optlab.runs.folder import RunFolder, RunLocked, is_main_process, recorded_runs, tagged_with


def test_run_is_locked_while_its_folder_is_held(tmp_path):
    with FileLock(tmp_path / ".lock"):
        assert RunFolder(tmp_path).is_locked
    assert not RunFolder(tmp_path).is_locked
    assert not RunFolder(tmp_path / "nowhere").is_locked


def test_second_process_is_refused_and_the_folder_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "LOCK_TIMEOUT_S", 0.0)
    files = RunFolder(tmp_path / "study" / "run")
    with files.lock():
        assert files.is_locked
        with pytest.raises(RunLocked, match=re.escape(str(files.path))), files.lock():
            pass
    assert not files.is_locked


def test_further_processes_of_a_run_take_no_lock(tmp_path, monkeypatch):
    assert is_main_process()
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert not is_main_process()
    with RunFolder(tmp_path).lock():
        assert not RunFolder(tmp_path).is_locked


def test_epochs_are_counted_without_the_header(tmp_path):
    files = RunFolder(tmp_path)
    assert files.num_epochs_done == 0
    files.epochs.write_text("epoch\n1\n2\n3")  # the last line is being written
    assert files.num_epochs_done == 2


def test_runs_are_known_by_the_commands_that_asked_for_them(tmp_path):
    for name, commands in {
        "new": ["ours"],
        "shared": ["theirs", "ours"],
        "old": ["theirs"],
    }.items():
        for command in commands:
            RunFolder(tmp_path / "study" / name).tag(command)
    (tmp_path / "study" / "report").mkdir()
    found = tagged_with(tmp_path, "ours")
    assert [each.name for each in found] == ["new", "shared"]


def test_run_is_tagged_once_by_a_command(tmp_path):
    for command in ("ours", "ours", None):
        RunFolder(tmp_path / "run").tag(command)
    assert (tmp_path / "run" / ".commands").read_text() == "ours\n"


def test_recorded_runs_are_those_with_a_record(tmp_path):
    for study, run in (("b", "two"), ("a", "one"), ("a", "none")):
        (tmp_path / study / run).mkdir(parents=True)
        if run != "none":
            RunFolder(tmp_path / study / run).record.touch()
    assert recorded_runs(tmp_path) == [tmp_path / "a" / "one", tmp_path / "b" / "two"]


def test_package_needs_the_standard_library_only():
    program = (
        "import sys, optlab.runs\n"
        "heavy = {'torch', 'lightning', 'hydra', 'omegaconf', 'numpy', 'pandas', 'filelock'}\n"
        "rooms = {name for name in sys.modules if name.startswith('optlab.')}\n"
        "others = {name for name in rooms if name.split('.')[1] not in "
        "('runs', 'files', 'judged_weights')}\n"
        "print(sorted((heavy & set(sys.modules)) | others))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
