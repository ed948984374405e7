"""study.json: what a study was asked for, and its tuning."""

import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from optlab.runs.json_fields import DamagedFile
from optlab.runs.study_file import (
    StudyFile,
    TrialRow,
    TuningRows,
    WinnerRow,
    edit_study_file,
    read_study_file,
    write_study_file,
)

TRIAL = {"optimizer": "adam", "configuration": "9f", "hash": "1a", "status": "finished"}


def test_study_file_reads_back_as_it_was_written(tmp_path):
    file = StudyFile(
        study="mnist-mlp",
        title="Mine",
        commands=["python train.py -m"],
        published={"metric": "test/accuracy", "rows": []},
        tuning=TuningRows(
            rows=[TrialRow(**TRIAL, params={"lr": 0.1}, val_accuracy=0.9)],
            winners=[WinnerRow(**TRIAL, edge=["lr"], seeds=[1, 2], runs=["2b", "3c"])],
        ),
    )
    write_study_file(tmp_path, file)
    assert read_study_file(tmp_path) == file
    assert json.loads((tmp_path / "study.json").read_text())["format"] == 1


def test_study_without_the_file_has_an_empty_one(tmp_path):
    assert read_study_file(tmp_path) == StudyFile()


def test_edits_at_the_same_time_lose_no_row(tmp_path):
    def add(number):
        with edit_study_file(tmp_path) as file:
            file.commands = [*file.commands, str(number)]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(40)))
    assert sorted(read_study_file(tmp_path).commands, key=int) == [*map(str, range(40))]


def test_edit_that_raises_or_changes_nothing_leaves_the_file(tmp_path):
    with edit_study_file(tmp_path):
        pass
    assert not (tmp_path / "study.json").exists()
    with pytest.raises(KeyError), edit_study_file(tmp_path) as file:
        file.title = "Mine"
        raise KeyError
    with edit_study_file(tmp_path) as file:
        assert file == StudyFile()


def test_file_of_before_the_format_had_a_number_is_read(tmp_path):
    (tmp_path / "study.json").write_text(json.dumps({"title": "Mine", "tuning": None}))
    assert read_study_file(tmp_path) == StudyFile(title="Mine")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "line 1 column 2"),
        ("[]", r"\[\].*\bobject\b"),
        ('{"format": 2}', r"format\b.* 2\b.* 1\b"),
        ('{"title": 7}', r"title .*7.*\bstring\b"),
        ('{"tuning": {"rows": 5}}', r"tuning\.rows .*5.*\blist\b"),
        (
            json.dumps({"tuning": {"rows": [TRIAL, TRIAL | {"hash": None}]}}),
            r"tuning\.rows\[1\]\.hash",
        ),
        (
            json.dumps({"tuning": {"winners": [TRIAL | {"status": "best"}]}}),
            r"tuning\.winners\[0\]\.status .*'best'.*unfinished, finished",
        ),
    ],
)
def test_damaged_file_is_refused_by_field(content, problem, tmp_path):
    (tmp_path / "study.json").write_text(content)
    with pytest.raises(DamagedFile) as caught:
        read_study_file(tmp_path)
    assert re.match(rf"study\.json .*{problem}", caught.value.problem)
    assert re.search("hint: .*study=NAME", str(caught.value))
