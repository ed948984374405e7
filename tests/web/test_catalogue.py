"""The table of runs, and how it follows what happens on disk."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from optlab.web.catalogue import Catalogue

MakeRun = Callable[..., Path]


def change(folder: Path, **changes: object) -> None:
    file = folder / "record.json"
    record = {**json.loads(file.read_text()), **changes}
    before = file.stat().st_mtime_ns
    file.write_text(json.dumps(record))
    os.utime(file, ns=(before + 10**9, before + 10**9))


def test_missing_and_empty_outputs_are_an_empty_table(tmp_path: Path) -> None:
    for outputs in (tmp_path, tmp_path / "nothing"):
        table = Catalogue(outputs).table()
        assert not table.runs
        assert table.default_study() is None


def test_new_run_appears_and_deleted_run_goes(make_run: MakeRun, tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path, interval_s=0)
    assert not catalogue.table().runs
    folder = make_run(optimizer="sgd")
    assert [run.optimizer for run in catalogue.table().runs.values()] == ["sgd"]
    (folder / "record.json").unlink()
    assert not catalogue.table().runs


def test_unchanged_outputs_keep_the_very_same_table(make_run: MakeRun, tmp_path: Path) -> None:
    make_run()
    catalogue = Catalogue(tmp_path, interval_s=0)
    assert catalogue.table() is catalogue.table()


def test_between_looks_the_disk_is_left_alone(make_run: MakeRun, tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path, interval_s=3600)
    assert not catalogue.table().runs
    make_run()
    assert not catalogue.table().runs


def test_run_trained_again_is_read_again_under_its_old_id(
    make_run: MakeRun, tmp_path: Path
) -> None:
    folder = make_run()
    catalogue = Catalogue(tmp_path, interval_s=0)
    (old,) = catalogue.table().runs.values()
    change(folder, num_epochs=77)
    (new,) = catalogue.table().runs.values()
    assert (old.id, new.record.num_epochs) == (new.id, 77)
    assert new.modified_ns > old.modified_ns


def test_folder_without_record_does_not_count(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run()
    (folder / "record.json").rename(folder / "record.json.tmp")
    table = Catalogue(tmp_path).table()
    assert not table.runs
    assert not table.unreadable


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "Invalid JSON"),
        ("[]", "should be an object"),
        ('{"status": "finished"}', "run_name: Field required"),
    ],
)
def test_unreadable_record_is_named_with_the_reason(
    make_run: MakeRun, tmp_path: Path, text: str, why: str
) -> None:
    folder = make_run()
    make_run(optimizer="sgd")
    (folder / "record.json").write_text(text)
    table = Catalogue(tmp_path).table()
    assert [run.optimizer for run in table.runs.values()] == ["sgd"]
    ((study, name, problem),) = table.unreadable
    assert (study, name) == ("digits-mlp", folder.name)
    assert why in problem
    assert str(tmp_path) not in problem


@pytest.mark.parametrize(
    ("dataset", "why"),
    [
        ({"std": [0.0]}, "standard deviation of zero"),
        ({"mean": [0.1, 0.2, 0.3]}, "another number of channels"),
        ({"in_channels": 4}, "dataset.in_channels"),
        ({"image_size": 10**6}, "dataset.image_size"),
        ({"mean": [float("nan")]}, "dataset.mean.0"),
    ],
)
def test_data_set_that_cannot_be_prepared_for_is_not_asked(
    make_run: MakeRun, tmp_path: Path, dataset: dict[str, object], why: str
) -> None:
    folder = make_run()
    record = json.loads((folder / "record.json").read_text())
    change(folder, dataset={**record["dataset"], **dataset})
    ((_, _, problem),) = Catalogue(tmp_path).table().unreadable
    assert why in problem


def test_best_configuration_speaks_with_all_its_seeds(make_run: MakeRun, tmp_path: Path) -> None:
    for seed in (0, 1):
        make_run(lr=0.1, seed=seed, accuracy=0.8)
        make_run(lr=0.01, seed=seed, accuracy=0.9 + 0.05 * seed)
    make_run(lr=1.0, accuracy=0.91)  # beats one seed, not their mean
    make_run(optimizer="sgd", status="diverged", lr=9.0)
    (study,) = Catalogue(tmp_path).table().studies.values()
    speaking = study.answering
    assert list(speaking) == ["adam"]
    assert [(run.record.optimizer.lr, run.record.seed) for run in speaking["adam"]] == [
        (0.01, 0),
        (0.01, 1),
    ]


def test_study_that_mixes_datasets_is_two(make_run: MakeRun, tmp_path: Path) -> None:
    make_run()
    other = make_run(optimizer="sgd")
    record = json.loads((other / "record.json").read_text())
    change(other, dataset={**record["dataset"], "name": "mnist"})
    names = set(Catalogue(tmp_path).table().studies)
    assert names == {"digits-mlp (digits, 28 px)", "digits-mlp (mnist, 28 px)"}


def test_damaged_curve_leaves_a_run_without_one(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run(curve=[(1.0, 0.5, 0.5), (float("nan"), 0.4, 0.6)])
    (run,) = Catalogue(tmp_path).table().runs.values()
    assert run.curve.epochs == [1, 2]
    assert run.curve.train_loss == [1.0, None]
    (folder / "epochs.csv").write_bytes(b"\xff\x00epoch")
    change(folder, num_epochs=2)
    (run,) = Catalogue(tmp_path, interval_s=0).table().runs.values()
    assert run.curve.epochs == []
