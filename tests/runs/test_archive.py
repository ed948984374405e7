"""Archives of studies: what they keep, and files that are none."""

import io
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_records import make_record, tuned_file

from optlab.analysis import read_study
from optlab.analysis.images import read_answers
from optlab.runs.archive import pack_study, unpack_study
from optlab.runs.folder import RunFolder
from optlab.runs.record import write_record
from optlab.runs.study_file import read_study_file, write_study_file

PROBABILITIES = np.float16([[0.6, 0.4], [0.1, 0.9], [0.7, 0.3]])


@pytest.fixture
def study(tmp_path):
    """A tuned study: a trial on seed 0 and a run on seed 1, which have weights as well."""
    folder = tmp_path / "outputs" / "mine"
    for seed, text in ((0, "a" * 16), (1, "b" * 16)):
        run = RunFolder(folder / f"adam-seed{seed}-{text[:8]}")
        run.checkpoints.mkdir(parents=True)
        run.checkpoint("last").write_bytes(b"weights")
        run.epochs.write_text("epoch,val/accuracy\n1,0.9\n")
        np.savez_compressed(run.test_probabilities, labels=np.uint16([0, 1, 1]), last=PROBABILITIES)
        write_record(run.path, make_record(seed=seed, hash=text, config={"seed": seed}))
    row = {"optimizer": "adam", "configuration": "9f", "status": "finished"}
    trial, winner = row | {"hash": "a" * 16}, row | {"hash": "a" * 16, "runs": ["b" * 16]}
    write_study_file(folder, tuned_file([trial], [winner]))
    return folder


def test_unpacked_study_has_the_records_curves_and_classes(study, tmp_path):
    assert pack_study(study, tmp_path / "mine.tar.xz") == 2
    unpacked = unpack_study(tmp_path / "mine.tar.xz", tmp_path / "there")
    assert unpacked == tmp_path / "there" / "mine"
    assert read_study_file(unpacked) == read_study_file(study)
    before, after = read_study(study), read_study(unpacked)
    assert [run.record for run in after.runs] == [run.record for run in before.runs]
    trial, fresh = after.runs
    assert RunFolder(fresh.folder).epochs.read_text() == "epoch,val/accuracy\n1,0.9\n"
    assert not RunFolder(fresh.folder).checkpoints.exists()
    answers = read_answers(fresh)
    assert (answers.labels.tolist(), answers.predicted.tolist()) == ([0, 1, 1], [0, 1, 0])
    assert answers.probabilities is None
    assert read_answers(trial) is None


def test_archive_keeps_only_the_name_of_an_image_folder(tmp_path):
    study = tmp_path / "outputs" / "mine"
    data = {"name": "image_folder", "root": "/home/me/pictures/cats", "val_fraction": 0.1}
    run = make_record(config={"data": data, "seed": 0})
    write_record(study / "adam-seed0", run)
    pack_study(study, tmp_path / "mine.tar.xz")
    (unpacked,) = read_study(unpack_study(tmp_path / "mine.tar.xz", tmp_path / "there")).runs
    assert unpacked.record.config == {"data": data | {"root": "cats"}, "seed": 0}
    assert replace(unpacked.record, config=run.config) == run


def test_same_study_gives_the_same_bytes(study, tmp_path, monkeypatch):
    pack_study(study, tmp_path / "one")
    monkeypatch.chdir(study)
    pack_study(Path("."), tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_damaged_answers_leave_no_archive(study, tmp_path):
    RunFolder(study / "adam-seed1-bbbbbbbb").test_probabilities.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="seed1"):
        pack_study(study, tmp_path / "mine.tar.xz")
    assert not list(tmp_path.glob("*mine.tar*"))


def test_folder_without_runs_is_not_packed(tmp_path):
    with pytest.raises(ValueError, match=f"{tmp_path.name}.* recorded"):
        pack_study(tmp_path, tmp_path / "mine.tar.xz")


def test_study_that_is_there_is_not_overwritten(study, tmp_path):
    pack_study(study, tmp_path / "mine.tar.xz")
    with pytest.raises(ValueError, match=r"outputs/mine (?s:.*)hint: .*--outputs"):
        unpack_study(tmp_path / "mine.tar.xz", study.parent)
    assert [path.name for path in study.parent.iterdir()] == ["mine"]


@pytest.mark.parametrize("content", ["text", "cut", "empty", "upwards"])
def test_file_that_is_not_an_archive_is_refused(content, study, tmp_path):
    path, outputs = tmp_path / "mine.tar.xz", tmp_path / "there"
    pack_study(study, path)
    if content == "text":
        path.write_bytes(b"text")
    elif content == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        with tarfile.open(path, "w:xz") as file:
            if content == "upwards":
                file.addfile(tarfile.TarInfo("../outside"), io.BytesIO())
    with pytest.raises(ValueError, match=r"mine\.tar\.xz"):
        unpack_study(path, outputs)
    assert not list(outputs.iterdir())
    assert not (tmp_path / "outside").exists()
