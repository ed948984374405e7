"""A fair sweep's rows in study.json, put in and taken out again."""

from pathlib import Path

import pytest

from optlab.runs.study_file import StudyFile, TrialRow, edit_study_file, read_study_file, study_path
from optlab.studies.tuning_rows import add_rows, read_files, restore_if_not_started

NOT_STARTED = Path("no such folder")


def trial(name):
    return TrialRow(optimizer=name, configuration=name, hash=name, status="unfinished")


def test_restored_file_is_as_before_the_rows(tmp_path):
    before = read_files([tmp_path])
    add_rows([(tmp_path, trial("adam"))])
    with pytest.raises(ValueError), restore_if_not_started(before, [NOT_STARTED]):
        raise ValueError
    assert not study_path(tmp_path).exists()

    with edit_study_file(tmp_path) as file:
        file.title = "Mine"
    before = read_files([tmp_path])
    add_rows([(tmp_path, trial("adam"))])
    with pytest.raises(ValueError), restore_if_not_started(before, [NOT_STARTED]):
        raise ValueError
    assert read_study_file(tmp_path) == StudyFile(title="Mine")


def test_rows_of_another_command_survive_a_restore(tmp_path):
    before = read_files([tmp_path])
    add_rows([(tmp_path, trial("adam"))])
    with pytest.raises(ValueError), restore_if_not_started(before, [NOT_STARTED]):
        add_rows([(tmp_path, trial("sgd"))])  # another command
        raise ValueError
    tuning = read_study_file(tmp_path).tuning
    assert [row.hash for row in tuning.rows] == ["adam", "sgd"]


def test_rows_stay_once_a_run_was_started(tmp_path):
    before = read_files([tmp_path])
    add_rows([(tmp_path, trial("adam"))])
    with pytest.raises(ValueError), restore_if_not_started(before, [NOT_STARTED, tmp_path]):
        raise ValueError
    assert [row.hash for row in read_study_file(tmp_path).tuning.rows] == ["adam"]
