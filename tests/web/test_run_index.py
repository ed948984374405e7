"""The table of runs, and how it follows what happens on disk."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from optlab.analysis import read_study, summarize
from optlab.runs.folder import RunFolder
from optlab.web import schemas
from optlab.web.inference import Networks
from optlab.web.run_index import RunIndex, Table
from optlab.web.summary import describe_model, describe_study

MakeRun = Callable[..., Path]


def optimizers(table: Table) -> list[str]:
    return [model.optimizer for model, _ in table.models.values()]


def change(folder: Path, **changes: object) -> None:
    file = folder / "record.json"
    record = {**json.loads(file.read_text()), **changes}
    before = file.stat().st_mtime_ns
    file.write_text(json.dumps(record))
    os.utime(file, ns=(before + 10**9, before + 10**9))


def test_missing_and_empty_outputs_are_an_empty_table(tmp_path: Path) -> None:
    for outputs in (tmp_path, tmp_path / "nothing"):
        table = RunIndex(outputs).table()
        assert not table.models
        assert table.default_study() is None


def test_new_run_appears_and_deleted_run_goes(make_run: MakeRun, tmp_path: Path) -> None:
    run_index = RunIndex(tmp_path, interval_s=0)
    assert not run_index.table().models
    folder = make_run(optimizer="sgd")
    assert optimizers(run_index.table()) == ["sgd"]
    (folder / "record.json").unlink()
    assert not run_index.table().models


def test_unchanged_outputs_keep_the_very_same_table(make_run: MakeRun, tmp_path: Path) -> None:
    make_run()
    run_index = RunIndex(tmp_path, interval_s=0)
    assert run_index.table() is run_index.table()


def test_disk_is_not_read_again_within_the_interval(make_run: MakeRun, tmp_path: Path) -> None:
    run_index = RunIndex(tmp_path, interval_s=3600)
    assert not run_index.table().models
    make_run()
    assert not run_index.table().models


def test_run_trained_again_is_read_again_under_its_old_id(
    make_run: MakeRun, tmp_path: Path
) -> None:
    folder = make_run()
    run_index = RunIndex(tmp_path, interval_s=0)
    ((old, before),) = run_index.table().models.values()
    change(folder, num_epochs=77)
    ((new, after),) = run_index.table().models.values()
    assert (old.id, new.run.record.num_epochs) == (new.id, 77)
    assert after.modified_ns > before.modified_ns


def test_run_without_record_is_in_training_or_interrupted(
    make_run: MakeRun, tmp_path: Path
) -> None:
    curve = [(2.0, 2.0, 0.5), (1.0, 1.0, 0.6)]
    make_run(optimizer="sgd")
    folder = make_run(optimizer="adam", curve=curve)
    (folder / "record.json").unlink()
    index = RunIndex(tmp_path, interval_s=0)
    facts = {"study": "digits-mlp", "run": folder.name, "num_epochs": 2}
    with RunFolder(folder).lock():
        (run,) = index.table().unfinished
    assert run.model_dump() == facts | {"training": True}
    (run,) = index.table().unfinished
    assert run.model_dump() == facts | {"training": False}


def test_folder_without_record_does_not_count(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run()
    (folder / "record.json").rename(folder / "record.json.tmp")
    table = RunIndex(tmp_path).table()
    assert not table.models
    assert not table.unusable


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", r"record\.json .*\bline 1 column 2\b"),
        ("[]", r"record\.json .*\bobject\b"),
        ('{"status": "finished"}', r"record\.json .*\bprotocol_version\b"),
    ],
)
def test_unreadable_record_is_named_with_the_reason(
    make_run: MakeRun, tmp_path: Path, text: str, why: str
) -> None:
    folder = make_run()
    make_run(optimizer="sgd")
    (folder / "record.json").write_text(text)
    table = RunIndex(tmp_path).table()
    assert optimizers(table) == ["sgd"]
    (run,) = table.unusable
    assert (run.study, run.run) == ("digits-mlp", folder.name)
    assert re.search(why, run.problem)
    assert str(tmp_path) not in run.problem


@pytest.mark.parametrize(
    ("dataset", "why"),
    [
        ({"preparation": "none"}, "dataset.preparation"),
        ({"mean": [0.1, 0.2, 0.3]}, "dataset.mean"),
        ({"in_channels": 4}, "dataset.in_channels"),
        ({"image_size": 10**6}, "dataset.image_size"),
        ({"mean": [float("nan")]}, "dataset.mean[0]"),
        ({"class_names": ["0"]}, "dataset.class_names"),
        ({"std": None}, "dataset.std"),
    ],
)
def test_data_set_that_cannot_be_prepared_for_is_not_asked(
    make_run: MakeRun, tmp_path: Path, dataset: dict[str, object], why: str
) -> None:
    folder = make_run()
    record = json.loads((folder / "record.json").read_text())
    change(folder, dataset={**record["dataset"], **dataset})
    (run,) = RunIndex(tmp_path).table().unusable
    assert why in run.problem


def test_all_seeds_of_the_best_configuration_answer(make_run: MakeRun, tmp_path: Path) -> None:
    for seed in (0, 1):
        make_run(lr=0.1, seed=seed, accuracy=0.8)
        make_run(lr=0.01, seed=seed, accuracy=0.9 + 0.05 * seed)
    make_run(lr=1.0, accuracy=0.91)  # beats one seed, not their mean
    make_run(optimizer="sgd", status="diverged", lr=9.0)
    (study,) = RunIndex(tmp_path).table().studies.values()
    speaking = study.answering
    assert list(speaking) == ["adam"]
    assert [(model.run.lr, model.run.seed) for model in speaking["adam"]] == [(0.01, 0), (0.01, 1)]


def test_last_weights_choose_the_configuration_and_not_a_lucky_epoch(
    make_run: MakeRun, tmp_path: Path
) -> None:
    change(
        make_run(lr=0.1, accuracy=0.8),
        validation={"best": {"accuracy": 0.99}, "last": {"accuracy": 0.8}},
    )
    make_run(lr=0.01, accuracy=0.9)
    (study,) = RunIndex(tmp_path).table().studies.values()
    assert [model.run.lr for model in study.answering["adam"]] == [0.01]


def test_diverged_seed_counts_as_guessing_when_configurations_are_compared(
    make_run: MakeRun, tmp_path: Path
) -> None:
    make_run(lr=0.1, seed=0, accuracy=0.97)  # two of three seeds were lost at this rate
    for seed in (1, 2):
        make_run(lr=0.1, seed=seed, status="diverged")
    for seed in (0, 1, 2):
        make_run(lr=0.01, seed=seed, accuracy=0.9)
    make_run(optimizer="sgd", seed=0, accuracy=0.95)
    for seed in (1, 2):
        make_run(optimizer="sgd", seed=seed, status="diverged")
    (study,) = RunIndex(tmp_path).table().studies.values()
    assert {model.run.lr for model in study.answering["adam"]} == {0.01}
    adam, sgd = describe_study(study).rows
    assert adam.optimizer == "adam"
    assert (adam.num_runs, adam.num_diverged, adam.num_other_runs) == (3, 0, 3)
    assert (sgd.num_runs, sgd.num_diverged) == (1, 2)


def test_runs_that_the_report_leaves_out_do_not_answer(make_run: MakeRun, tmp_path: Path) -> None:
    change(make_run(lr=0.1, seed=7, accuracy=0.99), protocol_version=0)
    make_run(lr=0.1, accuracy=0.9)
    (study,) = RunIndex(tmp_path).table().studies.values()
    assert [model.run.seed for model in study.answering["adam"]] == [0]
    assert len(study.models) == 2  # it can still be asked by its id
    change(make_run(optimizer="sgd"), protocol_version=0)  # of this one no other run
    (study,) = RunIndex(tmp_path).table().studies.values()
    adam, sgd = describe_study(study).rows
    assert (adam.num_runs, adam.num_diverged, adam.num_other_runs) == (1, 0, 1)
    assert (sgd.num_runs, sgd.num_diverged) == (0, 0)


def test_after_a_tuning_only_the_winners_on_fresh_seeds_answer(
    make_run: MakeRun, tmp_path: Path
) -> None:
    change(make_run(lr=0.03, accuracy=0.99), hash="a" * 16)  # at a rate that nobody chose for it
    change(make_run(lr=0.01, seed=1, accuracy=0.9), hash="b" * 16)
    winner = {"optimizer": "adam", "hash": "c" * 16, "params": {"lr": 0.01}, "seeds": [1]}
    winner |= {"configuration": "a", "status": "finished"}
    tuning = {"rows": [winner], "winners": [winner | {"runs": ["b" * 16]}]}
    (tmp_path / "digits-mlp" / "study.json").write_text(json.dumps({"tuning": tuning}))
    (study,) = RunIndex(tmp_path).table().studies.values()
    assert [model.run.lr for model in study.answering["adam"]] == [0.01]


def test_study_that_cannot_be_read_hides_no_other(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(study="readable")
    make_run(study="locked")
    entries_of = Path.iterdir

    def refuse(folder: Path) -> Iterator[Path]:
        if folder.name == "locked":
            raise PermissionError(13, "Permission denied")
        return entries_of(folder)

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert list(RunIndex(tmp_path).table().studies) == ["readable"]


def test_failed_run_is_counted_in_its_study_with_the_reason_in_one_line(
    make_run: MakeRun, make_failed_run: MakeRun, tmp_path: Path
) -> None:
    make_run(optimizer="sgd")
    make_failed_run(reason=f"OSError: no space\n  left on {tmp_path}/digits-mlp")
    table = RunIndex(tmp_path).table()
    (study,) = table.studies.values()
    assert [model.optimizer for model in study.models] == ["sgd"]
    _, adam = describe_study(study).rows
    assert (adam.optimizer, adam.num_failed) == ("adam", 1)
    assert adam.reasons == ["OSError: no space left on outputs/digits-mlp"]
    assert not table.unusable


def test_failed_run_of_a_dataset_that_nothing_was_trained_on_is_named_with_the_reason(
    make_run: MakeRun, make_failed_run: MakeRun, tmp_path: Path
) -> None:
    make_run()
    folder = make_failed_run(dataset="mnist", reason="ValueError: no MNIST here")
    table = RunIndex(tmp_path).table()
    (run,) = table.unusable
    assert run.run == folder.name
    assert run.problem.endswith("ValueError: no MNIST here")
    assert [study.optimizers for study in table.studies.values()] == [["adam"]]


def test_finished_run_needs_more_of_its_dataset_than_the_name(
    make_run: MakeRun, tmp_path: Path
) -> None:
    change(make_run(), dataset={"name": "digits", "title": "Digits"})
    table = RunIndex(tmp_path).table()
    assert not table.models
    (run,) = table.unusable
    assert "dataset." in run.problem


def note_trials(study: Path, *hashes: str) -> None:
    """study.json as the fair sweeper leaves it after tuning on seed 0."""
    trial = {"optimizer": "adam", "configuration": "a", "status": "finished", "params": {"lr": 0.1}}
    tuning = {"rows": [trial | {"hash": each} for each in hashes]}
    (study / "study.json").write_text(json.dumps({"title": "Tuned", "tuning": tuning}))


def test_trials_of_a_fair_sweep_neither_answer_nor_count(
    make_run: MakeRun, make_failed_run: MakeRun, tmp_path: Path
) -> None:
    change(make_run(lr=0.1, accuracy=0.99), hash="a" * 16)  # lucky on the tuning seed
    change(make_run(lr=9.0, status="diverged"), hash="b" * 16)
    change(make_failed_run(), hash="c" * 16)
    for seed in (1, 2):
        change(make_run(lr=0.01, seed=seed, accuracy=0.9), hash=f"{seed}" * 16)
    run_index = RunIndex(tmp_path, interval_s=0)
    assert len(run_index.table().models) == 3
    note_trials(tmp_path / "digits-mlp", "a" * 16, "b" * 16, "c" * 16)  # no record changes
    table = run_index.table()
    (study,) = table.studies.values()
    assert study.title == "Tuned"
    assert study.answering == {"adam": study.models}
    assert [model.run.seed for model in study.models] == [1, 2]
    assert table.models.keys() == {model.id for model in study.models}
    (row,) = describe_study(study).rows
    assert (row.num_runs, row.num_other_runs, row.num_failed, table.unusable) == (2, 0, 0, ())


@pytest.mark.parametrize("text", ["{", "[]", '{"tuning": {"rows": 5}}', '{"title": 7}'])
def test_damaged_study_json_costs_no_run(make_run: MakeRun, tmp_path: Path, text: str) -> None:
    make_run()
    (tmp_path / "digits-mlp" / "study.json").write_text(text)
    (study,) = RunIndex(tmp_path).table().studies.values()
    assert (study.title, len(study.models)) == ("digits-mlp", 1)


def test_study_that_mixes_datasets_is_two(make_run: MakeRun, tmp_path: Path) -> None:
    make_run()
    other = make_run(optimizer="sgd")
    record = json.loads((other / "record.json").read_text())
    change(other, dataset={**record["dataset"], "name": "mnist", "preparation": "mnist"})
    names = set(RunIndex(tmp_path).table().studies)
    assert names == {"digits-mlp (digits-mlp)", "digits-mlp (mnist-mlp)"}


def test_image_folders_with_other_classes_are_other_studies(
    make_run: MakeRun, tmp_path: Path
) -> None:
    for optimizer, names in (
        ("adam", ["ant", "bee"]),
        ("sgd", ["cat", "dog"]),
        ("muon", ["x", "y"]),
    ):
        folder = make_run(optimizer=optimizer)
        dataset = json.loads((folder / "record.json").read_text())["dataset"]
        change(folder, dataset={**dataset, "name": "image_folder", "class_names": names})
    table = RunIndex(tmp_path).table()
    assert len(table.studies) == 3
    assert len(table.models) == 3


def test_folder_that_cannot_be_named_hides_no_other(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run()
    (tmp_path / os.fsdecode(b"caf\xe9")).mkdir()
    (tmp_path / os.fsdecode(b"caf\xe9") / "run").symlink_to(folder)
    assert len(RunIndex(tmp_path).table().models) == 1


def test_run_with_an_impossible_accuracy_is_left_out(make_run: MakeRun, tmp_path: Path) -> None:
    change(make_run(), test={"best": {"accuracy": 92.7}, "last": {"accuracy": 0.9}})
    (run,) = RunIndex(tmp_path).table().unusable
    assert "test.best.accuracy" in run.problem


def test_reason_of_a_failure_contains_no_path_of_this_computer(
    make_run: MakeRun, make_failed_run: MakeRun, tmp_path: Path
) -> None:
    make_run(optimizer="sgd")
    make_failed_run(
        reason="ValueError: /home/me/img/color A/train/ant holds no pictures; a/b stays"
    )
    (study,) = RunIndex(tmp_path).table().studies.values()
    _, row = describe_study(study).rows
    assert row.reasons == ["ValueError: …/color A/train/ant holds no pictures; a/b stays"]


def test_damaged_curve_leaves_a_run_without_one(make_run: MakeRun, tmp_path: Path) -> None:
    def curve() -> schemas.Curve:
        ((model, study),) = RunIndex(tmp_path).table().models.values()
        return describe_model(model, study, Networks()).curve

    folder = make_run(curve=[(1.0, 0.5, 0.5), (float("nan"), 0.4, 0.6)])
    assert curve().epochs == [1, 2]
    assert curve().train_loss == [1.0, None]
    (folder / "epochs.csv").write_bytes(b"\xff\x00epoch")
    assert curve().epochs == []


def test_rows_are_in_the_order_of_the_report(make_run: MakeRun, tmp_path: Path) -> None:
    for seed in range(4):
        make_run(optimizer="sgd", seed=seed, accuracy=0.91)
        make_run(optimizer="adam", seed=seed, accuracy=0.93)
    make_run(optimizer="muon", accuracy=0.99)  # one run next to four is too few to lead
    (study,) = RunIndex(tmp_path).table().studies.values()
    (workload,) = read_study(tmp_path / "digits-mlp").workloads
    ranked = [row.configuration.optimizer for row in summarize(workload).rows]
    assert (
        [row.optimizer for row in describe_study(study).rows] == ranked == ["adam", "sgd", "muon"]
    )


def test_run_on_other_images_and_a_copied_folder_do_not_answer(
    make_run: MakeRun, tmp_path: Path
) -> None:
    for seed in (0, 1):
        make_run(seed=seed)
    stray = make_run(lr=0.1, accuracy=0.99)
    dataset = json.loads((stray / "record.json").read_text())["dataset"]
    change(stray, dataset={**dataset, "checksum": "other"})
    copy = tmp_path / "digits-mlp" / "zz-copy"
    shutil.copytree(stray, copy)
    table = RunIndex(tmp_path).table()
    (study,) = table.studies.values()
    assert [model.run.seed for model in study.answering["adam"]] == [0, 1]
    assert len(study.models) == 3
    (run,) = table.unusable
    assert (run.run, stray.name in run.problem) == ("zz-copy", True)
