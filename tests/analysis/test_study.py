"""Reading a study's folder: runs, unfinished and damaged folders, tuning trials."""

import json
import re
import shutil

import pytest

from optlab.analysis.study import read_study
from optlab.report import make_report
from optlab.runs.study_file import StudyFile

pytestmark = pytest.mark.usefixtures("blank_pictures")


def test_study_sorts_its_folders(five_optimizers):
    folder = five_optimizers.folder
    (folder / "adam-seed8-00000000" / "checkpoints").mkdir(parents=True)
    (folder / "report").mkdir()
    (folder / "notes").mkdir()
    (folder / "sgd-seed9-11111111").mkdir()
    (folder / "sgd-seed9-11111111" / "record.json").write_text("{")
    study = read_study(folder)
    assert len(study.runs) == 5
    assert [path.name for path in study.unfinished] == ["adam-seed8-00000000"]
    assert [path.name for path, _ in study.damaged] == ["sgd-seed9-11111111"]
    assert study.name == "mnist-mlp"
    assert study.file == StudyFile()


def test_copied_run_does_not_count_twice(five_optimizers):
    original = five_optimizers.written[0]
    shutil.copytree(original, original.with_name("zz-copy"))
    study = read_study(five_optimizers.folder)
    assert len(study.runs) == 5
    ((folder, reason),) = study.damaged
    assert folder.name == "zz-copy"
    assert original.name in reason


def test_missing_folder_names_its_neighbors(five_optimizers):
    with pytest.raises(ValueError, match=r"/mnist-cnn\b.* mnist-mlp\b"):
        read_study(five_optimizers.folder.with_name("mnist-cnn"))


def test_folder_without_any_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match=rf"{tmp_path.name}(?s:.*)hint: .*outputs/mnist-mlp"):
        read_study(tmp_path)


def test_broken_study_json_is_reported_and_the_runs_still_count(five_optimizers):
    (five_optimizers.folder / "study.json").write_text("{")
    study = read_study(five_optimizers.folder)
    assert study.file == StudyFile()
    assert [path.name for path, _ in study.damaged] == ["study.json"]
    assert len(study.counted_runs) == 5
    (warning,) = study.warnings
    assert re.match(r"study\.json .*line 1 column 2.*\btuning\b", warning)


def test_study_without_study_json_warns_of_nothing(five_optimizers):
    assert read_study(five_optimizers.folder).warnings == ()


def test_tuning_trials_do_not_count(new_study):
    writer = new_study()
    trial = writer.run("adam", 0, config={"optimizer.lr": 0.01})
    fresh = [writer.run("adam", seed, config={"optimizer.lr": 0.01}) for seed in (1, 2)]
    trial_hash = json.loads((trial / "record.json").read_text())["hash"]
    row = {"optimizer": "adam", "configuration": "a", "hash": trial_hash, "params": {"lr": 0.01}}
    row |= {"val_accuracy": 0.97, "status": "finished"}
    writer.meta(tuning={"trials": 1, "tuning_seed": 0, "seeds": [1, 2], "rows": [row]})
    study = read_study(writer.folder)
    assert [run.folder for run in study.tuning_runs] == [trial]
    assert sorted(run.folder for run in study.counted_runs) == sorted(fresh)


def test_trial_without_an_outcome_counts_neither_as_a_result_nor_as_budget(new_study):
    writer = new_study()
    trial = writer.run("adam", 0, config={"optimizer.lr": 0.01})
    other = writer.run("adam", 1)
    trial_hash = json.loads((trial / "record.json").read_text())["hash"]
    row = {
        "optimizer": "adam",
        "configuration": "a",
        "hash": trial_hash,
        "params": {"lr": 0.01},
        "tuning_seed": 0,
    }
    row |= {"val_accuracy": None, "status": "unfinished"}
    writer.meta(tuning={"rows": [row], "winners": []})
    study = read_study(writer.folder)
    assert [run.folder for run in study.tuning_runs] == [trial]
    assert [run.folder for run in study.counted_runs] == [other]
    assert study.tuning.rows == ()
    (caution,) = study.tuning.cautions()
    assert caution.startswith("adam: 1 trial ")
    assert caution in make_report(writer.folder).read_text().replace("&#39;", "'")


def test_run_on_the_tuning_seed_that_is_no_trial_counts(new_study):
    writer = new_study()
    writer.run("adam", 0)
    row = {"optimizer": "adam", "configuration": "a", "hash": "0123456789abcdef"}
    row |= {"params": {"lr": 0.1}, "status": "finished"}
    writer.meta(tuning={"trials": 1, "tuning_seed": 0, "seeds": [1], "rows": [row]})
    assert len(read_study(writer.folder).counted_runs) == 1
