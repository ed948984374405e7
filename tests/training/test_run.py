"""One run from config to record: what it reads, leaves behind, goes on from and refuses."""

import json
import re
from contextlib import contextmanager

import lightning as L
import numpy as np
import pandas as pd
import pytest
import torch
from filelock import FileLock
from lightning.pytorch.callbacks import Callback
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from optlab.data import ImageDataModule, load_dataset
from optlab.runs.folder import RunFolder, RunLocked
from optlab.training import build
from optlab.training.code_fingerprint import _fingerprint
from optlab.training.run import run
from optlab.training.run_id import run_dir

# --- what a run leaves behind ------------------------------------------------------------------


def test_checkpoints_load_with_weights_only(train):
    trained = train("optimizer=adam", "scheduler=plateau", "trainer.max_epochs=1")
    for which in ("best", "last"):
        path = trained.folder / "checkpoints" / f"{which}.ckpt"
        checkpoint = torch.load(path, weights_only=True)
        assert all(name.startswith("net.") for name in checkpoint["state_dict"])


@pytest.mark.parametrize(
    "overrides",
    [
        ["optimizer=sgd", "lr_multiplier=0.2"],
        ["optimizer=schedule_free"],
        ["model=cnn", "model.batch_norm=true"],
    ],
    ids=["mlp", "schedule_free", "cnn"],
)
def test_loaded_network_has_the_recorded_test_results(overrides, train, make_config):
    from optlab.models import load_network

    overrides = [*overrides, "trainer.max_epochs=4"]
    record = train(*overrides).record
    config = make_config(*overrides)
    ((images, labels),) = build.build_data(config).test_dataloader()
    for which in ("best", "last"):
        with torch.no_grad():
            logits = load_network(run_dir(config), which)(images)
        loss = torch.nn.functional.cross_entropy(logits, labels).item()
        accuracy = (logits.argmax(dim=1) == labels).double().mean().item()
        assert record["test"][which]["accuracy"] == accuracy
        assert record["test"][which]["loss"] == pytest.approx(loss, rel=1e-5)


def test_record_agrees_with_the_files_beside_it(train):
    trained = train("trainer.max_epochs=4", "optimizer=rmsprop", "lr_multiplier=5.0")
    record, epochs = trained.record, trained.epochs
    assert record["status"] == "finished"
    assert record["reason"] is None
    assert record["num_epochs"] == len(epochs) == 4
    assert record["num_steps"] == len(trained.steps) == 84
    order = ["val/accuracy", "val/loss", "epoch"]
    best = int(epochs.sort_values(order, ascending=[True, False, True]).index[-1])
    assert record["validation"]["best"] == {
        "epoch": best + 1,
        "step": 21 * (best + 1),
        "loss": epochs["val/loss"][best],
        "accuracy": epochs["val/accuracy"][best],
    }
    assert record["validation"]["last"]["epoch"] == 4
    confusion = torch.tensor(record["confusion_matrix"])
    assert int(confusion.sum()) == record["dataset"]["num_test"] == 360
    assert record["test"]["best"]["accuracy"] == pytest.approx(int(confusion.trace()) / 360)
    with np.load(trained.folder / "test_probabilities.npz") as answers:
        for weights in ("best", "last"):
            assert answers[weights].dtype == np.float16
            correct = answers[weights].argmax(axis=1) == answers["labels"]
            assert correct.mean() == pytest.approx(record["test"][weights]["accuracy"])
    assert record["optimizer"]["lr"] == pytest.approx(5e-3)
    # 784 * 256 + 256, 256 * 128 + 128, 128 * 10 + 10
    assert record["model"]["num_parameters"] == 200_960 + 32_896 + 1_290 == 235_146
    report = json.loads((trained.folder / "classification_report.json").read_text())
    assert report["accuracy"] == pytest.approx(record["test"]["best"]["accuracy"])


def test_record_is_strict_json(train):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    trained = train("optimizer=sgd", "lr_multiplier=100000", "trainer.max_epochs=2")
    text = (trained.folder / "record.json").read_text()
    assert json.loads(text, parse_constant=refuse)["status"] == "diverged"


def test_train_metrics_are_measured_without_dropout(train):
    """With nine tenths of the units dropped, training accuracy while training is far lower."""
    trained = train("model.dropout=0.8", "trainer.max_epochs=5")
    while_training = trained.epochs["train/accuracy"].iloc[-1]
    assert trained.record["train"]["last"]["accuracy"] > while_training + 0.05


def test_figures_are_drawn_where_asked_for(train):
    trained = train("callbacks=default", "trainer.max_epochs=1")
    pictures = {path.name for path in (trained.folder / "figures").rglob("*.png")}
    assert pictures == {
        "curves.png",
        "confusion_matrix.png",
        "sample_predictions.png",
        "filters.png",
    }


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        pytest.param(("trainer.precision=64-true",), marks=pytest.mark.slow),
        pytest.param(("num_replicas=2",), marks=pytest.mark.slow),
    ],
)
def test_tensorboard_gets_graph_pictures_and_histograms_where_asked_for(overrides, train):
    trained = train("callbacks=full", "logger=tensorboard", "trainer.max_epochs=1", *overrides)
    assert trained.record["status"] == "finished"
    # A run of Lightning's fit and one of its test have a file each
    found = [EventAccumulator(str(path)).Reload().Tags() for path in trained.folder.glob("events*")]
    assert any(tags["graph"] for tags in found)
    pictures = {name for tags in found for name in tags["images"]}
    assert pictures == {"curves", "confusion_matrix", "sample_predictions", "filters"}
    histograms = {name for tags in found for name in tags["histograms"]}
    assert {name.partition("/")[0] for name in histograms} == {"weights", "gradients"}


def test_picture_that_cannot_be_made_does_not_cost_the_result(train, monkeypatch, capsys):
    def fail(*args):
        raise OSError("no space left")

    monkeypatch.setattr("optlab.training.figures.RunFigures._pictures", fail)
    trained = train("callbacks=default", "trainer.max_epochs=1")
    assert trained.record["status"] == "finished"
    folder = re.escape(str(trained.folder))
    assert re.search(rf"{folder}: .*no space left.*\btrain\.log\b", capsys.readouterr().err)


# --- honest splits -----------------------------------------------------------------------------


def test_train_validation_and_test_share_no_image(make_config):
    datamodule = build.build_data(make_config())
    train_part = set(datamodule.train_indices.tolist())
    val_part = set(datamodule.val_indices.tolist())
    assert (len(train_part), len(val_part)) == (datamodule.num_train, datamodule.num_val)
    assert not train_part & val_part
    source = load_dataset("digits")
    assert train_part | val_part == set(range(len(source.train_labels)))
    train_images = {image.numpy().tobytes() for image in source.train_images}
    test_images = {image.numpy().tobytes() for image in source.test_images}
    assert len(test_images) == 360
    assert not train_images & test_images


def test_test_set_is_read_once_and_only_after_training(train, monkeypatch):
    calls = []

    def note(owner, name):
        original = getattr(owner, name)

        def noted(self, *args, **kwargs):
            calls.append(name)
            result = original(self, *args, **kwargs)
            if name == "fit":
                calls.append("fit has ended")
            return result

        monkeypatch.setattr(owner, name, noted)

    note(L.Trainer, "fit")
    note(ImageDataModule, "test_dataloader")
    trained = train("trainer.max_epochs=2")
    assert trained.record["validation"]["best"]["epoch"] == 2  # best and last are the same weights
    assert calls == ["fit", "fit has ended", "test_dataloader"]


# --- going on ----------------------------------------------------------------------------------

LONG = (
    "trainer.max_epochs=4",
    "data.augment.rotation_degrees=10",
    "model.dropout=0.2",
    "model.hidden_sizes=[32,16]",
)


@pytest.mark.parametrize(
    ("overrides", "after_batches"),
    [  # an epoch is 21 batches, if not said otherwise
        (["optimizer=sgd", "scheduler=cosine"], 29),
        (["optimizer=adam"], 8),
        pytest.param(
            ["optimizer=adam", "model=cnn", "model.batch_norm=true"], 42, marks=pytest.mark.slow
        ),
        pytest.param(
            ["optimizer=adamw", "trainer.accumulate_grad_batches=2"], 37, marks=pytest.mark.slow
        ),
        (["optimizer=schedule_free"], 58),
        pytest.param(["optimizer=muon", "scheduler=onecycle"], 84, marks=pytest.mark.slow),
        (["optimizer=lbfgs", "data.batch_size=512"], 5),  # of 3 an epoch
        (["optimizer=asgd", "scheduler=plateau", "scheduler.patience=0"], 50),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else str(value),
)
def test_interrupted_run_ends_in_the_numbers_of_one_that_was_not(
    overrides, after_batches, train, interrupted
):
    overrides = [*LONG, *overrides]
    folder = interrupted(after_batches, *overrides, "outputs=${oc.env:PYTEST_OUTPUTS}/cut")
    resumed = train(*overrides, "outputs=${oc.env:PYTEST_OUTPUTS}/cut")
    assert resumed.folder == folder
    resumed.assert_equals(train(*overrides))


@pytest.fixture(autouse=True)
def outputs_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTEST_OUTPUTS", str(tmp_path))


@pytest.mark.parametrize("after_batches", [29, 47])
def test_run_of_so_many_steps_ends_in_the_same_numbers_if_interrupted(
    after_batches, train, interrupted
):
    overrides = (*LONG, "trainer.max_steps=50")  # in the third epoch
    interrupted(after_batches, *overrides, "outputs=${oc.env:PYTEST_OUTPUTS}/cut")
    resumed = train(*overrides, "outputs=${oc.env:PYTEST_OUTPUTS}/cut")
    assert resumed.record["num_steps"] == 50
    resumed.assert_equals(train(*overrides))


@pytest.mark.parametrize(
    "overrides",
    [
        ("callbacks=early_stopping", "callbacks.early_stopping.patience=0", "optimizer.lr=0.03"),
        ("trainer.max_steps=30",),
    ],
    ids=["early stopping", "max_steps"],
)
def test_run_that_was_stopped_and_then_killed_trains_no_further(overrides, train):
    overrides = ("trainer.max_epochs=30", "callbacks.figures=null", *overrides)
    trained = train(*overrides)
    assert trained.record["num_epochs"] < 30
    results, steps = trained.results, trained.steps
    (trained.folder / "record.json").unlink()
    assert train(*overrides).results == results
    assert trained.steps.equals(steps)


def test_run_that_is_interrupted_again_and_again_ends_in_the_same_numbers(train, interrupted):
    cut = "outputs=${oc.env:PYTEST_OUTPUTS}/cut"
    for after_batches in (8, 29, 16, 37):
        interrupted(after_batches, *LONG, cut)
    train(*LONG, cut).assert_equals(train(*LONG))


def test_interrupted_run_goes_on_where_its_outputs_were_moved_to(train, interrupted, tmp_path):
    overrides = (*LONG, "optimizer=sgd", "optimizer.lr=0.3")  # best at an epoch of its own
    folder = interrupted(71, *overrides, f"outputs='{tmp_path / 'old'}'")
    (tmp_path / "old").rename(tmp_path / "new")
    resumed = train(*overrides, f"outputs='{tmp_path / 'new'}'")
    assert resumed.folder.name == folder.name
    resumed.assert_equals(train(*overrides))


def test_curves_that_do_not_reach_the_checkpoint_are_refused(train, interrupted):
    folder = interrupted(50, *LONG)  # in the third epoch
    lines = (folder / "epochs.csv").read_text().splitlines(keepends=True)
    (folder / "epochs.csv").write_text("".join(lines[:-1]))
    with pytest.raises(ValueError, match=r"epochs\.csv .*\bstep 21\b.*\bstep 42\b"):
        train(*LONG)


def test_run_whose_own_code_was_edited_does_not_go_on(train, interrupted, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    code = tmp_path / "descent_test.py"
    code.write_text("from torch.optim import SGD")
    overrides = [*LONG, "optimizer=sgd", "optimizer._target_=descent_test.SGD"]
    interrupted(58, *overrides)
    code.write_text("from torch.optim import SGD  # another one")
    _fingerprint.cache_clear()
    with pytest.raises(ValueError, match=r"descent_test .*last\.ckpt(?s:.*)hint: .*rerun=true"):
        train(*overrides)
    code.write_text("from torch.optim import SGD")
    _fingerprint.cache_clear()
    assert train(*overrides).record["status"] == "finished"


def test_run_whose_images_were_changed_does_not_go_on(train, interrupted):
    folder = interrupted(58, *LONG)
    path = folder / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    was = checkpoint["dataset_checksum"]
    torch.save(checkpoint | {"dataset_checksum": "another"}, path)
    with pytest.raises(ValueError, match=r"data=digits .*last\.ckpt(?s:.*)hint: .*rerun=true"):
        train(*LONG)
    torch.save(checkpoint, path)
    assert train(*LONG).record["dataset"]["checksum"] == was


def test_lightnings_csv_logger_keeps_what_an_interrupted_run_wrote(train, interrupted):
    overrides = (*LONG, "logger=csv")
    interrupted(58, *overrides)  # in the third epoch
    trained = train(*overrides)
    tables = [pd.read_csv(path) for path in trained.folder.glob("lightning_csv/*/metrics.csv")]
    epochs = pd.concat(tables)["val/accuracy"].dropna()
    assert len(epochs) == 4
    train(*overrides, "rerun=true")
    assert len([*trained.folder.glob("lightning_csv/*/metrics.csv")]) == 1


def test_run_that_ended_before_its_record_was_written_is_completed(train):
    trained = train("trainer.max_epochs=2")
    whole = trained.results
    (trained.folder / "record.json").unlink()
    assert train("trainer.max_epochs=2").results == whole


def test_resumed_run_goes_on_from_its_last_epoch(train, interrupted, look_on):
    interrupted(58, *LONG)  # in the third epoch

    seen = []

    class Epochs(Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            seen.append(trainer.current_epoch)

    look_on(Epochs())
    trained = train(*LONG)
    assert seen == [2, 3]
    kept = sorted(path.name for path in (trained.folder / "checkpoints").iterdir())
    assert kept == ["best.ckpt", "last.ckpt"]
    seconds, speed = trained.record["train_time_s"], trained.record["images_per_s"]
    assert seconds * speed == pytest.approx(4 * trained.record["dataset"]["num_train"])


def test_finished_run_is_not_trained_again_unless_told_so(train, make_config, look_on):
    steps = []

    class Count(Callback):
        def on_train_batch_end(self, *args):
            steps.append(1)

    first = train("trainer.max_epochs=1")
    look_on(Count())
    again = train("trainer.max_epochs=1", "rerun=true")
    assert len(steps) == 21
    again.assert_equals(first)


def test_rerun_starts_from_scratch(train, interrupted):
    interrupted(37, *LONG)
    # whatever lies there, also what is damaged
    trained = train(*LONG, "outputs=${oc.env:PYTEST_OUTPUTS}/whole")
    train(*LONG, "rerun=true").assert_equals(trained)


def test_folder_that_another_process_trains_in_is_refused(make_config, monkeypatch):
    monkeypatch.setattr("optlab.runs.folder.LOCK_TIMEOUT_S", 0.1)
    config = make_config("trainer.max_epochs=1")
    folder = run_dir(config)
    folder.mkdir(parents=True)
    with (
        FileLock(folder / ".lock"),
        pytest.raises(RunLocked, match=re.escape(str(folder))),
    ):
        run(config)
    run(config)  # free again


def test_run_that_another_process_finished_in_the_meantime_is_left_alone(train, monkeypatch):
    first = train("trainer.max_epochs=1")
    finished = (first.folder / "record.json").read_bytes()
    (first.folder / "record.json").unlink()
    wait_alone = RunFolder.lock

    @contextmanager
    def finishes_while_we_wait(files):
        with wait_alone(files):
            files.record.write_bytes(finished)
            yield

    monkeypatch.setattr(RunFolder, "lock", finishes_while_we_wait)
    train("trainer.max_epochs=1")
    assert (first.folder / "record.json").read_bytes() == finished


def test_damaged_checkpoint_is_refused_or_replaced_but_never_trained_on_silently(
    train, interrupted
):
    folder = interrupted(37, *LONG)
    path = folder / "checkpoints" / "last.ckpt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"last\.ckpt .*\bdamaged\b(?s:.*)hint: .*rerun=true"):
        train(*LONG)
    train(*LONG, "rerun=true").assert_equals(train(*LONG, "outputs=${oc.env:PYTEST_OUTPUTS}/whole"))


# --- divergence --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "steps", "has_validated"),
    [
        (
            ("optimizer=adam", "lr_multiplier=1.0e5"),
            [1, 10, 20],
            True,
        ),  # at the end of the first epoch
        (("optimizer=adam", "lr_multiplier=1.0e5", "num_replicas=2"), [1, 10, 20], True),
        (
            ("optimizer=sgd", "lr_multiplier=1.0e30"),
            [1, "last"],
            False,
        ),  # of a CPU run that is not finite
    ],
    ids=["end of epoch", "replicas", "at once"],
)
def test_tensorboard_has_a_run_up_to_its_divergence_with_its_status(
    overrides, steps, has_validated, train
):
    trained = train("trainer.max_epochs=3", "logger=tensorboard", *overrides)
    assert trained.record["status"] == "diverged"
    events = [EventAccumulator(str(path)).Reload() for path in trained.folder.glob("events*")]
    scalars = {tag: each.Scalars(tag) for each in events for tag in each.Tags()["scalars"]}
    last = trained.steps.step.iloc[-1]
    found = [point.step for point in scalars["train/loss_step"]]
    assert found == [last if step == "last" else step for step in steps]
    assert ("val/accuracy" in scalars) == ("train/loss" in scalars) == has_validated
    named = {tag.removeprefix("with_best_weights/") for tag in scalars if "with_best" in tag}
    assert named == {"train_time_s", *(["val_accuracy"] if has_validated else [])}
    (start,) = [
        each.SummaryMetadata(tag).plugin_data.content
        for each in events
        for tag in each.summary_metadata
        if tag.endswith("session_start_info")
    ]
    settings = HParamsPluginData.FromString(start).session_start_info.hparams
    assert settings["status"].string_value == "diverged"


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_divergence_is_recorded_with_its_reason(optimizer, train):
    trained = train(f"optimizer={optimizer}", "lr_multiplier=100000", "trainer.max_epochs=3")
    record = trained.record
    assert record["status"] == "diverged"
    assert re.search(rf"\btraining .*\bstep {record['num_steps']}\b", record["reason"])
    assert record["test"] is None
    assert record["train"] is None
    assert record["confusion_matrix"] is None
    assert len(trained.steps) == record["num_steps"] > 0


def test_loss_that_is_not_finite_ends_a_cpu_run_at_once(train):
    trained = train("optimizer=sgd", "lr_multiplier=1.0e30", "trainer.max_epochs=3")
    record = trained.record
    assert record["status"] == "diverged"
    step = int(re.search(r"\btraining .*\bstep (\d+)$", record["reason"])[1])
    assert step < 5
    assert list(trained.steps.step) == list(range(1, step + 1))
    assert len(trained.epochs) == 0
    assert record["validation"] is None


def test_divergence_is_seen_when_validation_loss_decides(train):
    trained = train(
        "optimizer=sgd",
        "lr_multiplier=1.0e30",
        "callbacks.best.monitor=val/loss",
        "callbacks.best.mode=min",
    )
    assert trained.record["status"] == "diverged"


# --- odd sizes ---------------------------------------------------------------------------------


def test_batch_larger_than_the_data_is_one_step_an_epoch(train):
    trained = train("data.batch_size=100000", "trainer.max_epochs=2")
    assert list(trained.steps.step) == [1, 2]
    assert trained.record["status"] == "finished"


def test_single_epoch_of_a_single_step_is_a_run(train):
    trained = train("trainer.max_steps=1", "callbacks=default")
    assert trained.record["num_steps"] == 1


@pytest.mark.parametrize("lost", ["checkpoints/best.ckpt", "steps.csv"])
def test_run_that_lost_a_part_of_itself_does_not_go_on(lost, interrupted, make_config):
    folder = interrupted(50, "trainer.max_epochs=3")
    (folder / lost).unlink()
    with pytest.raises(ValueError, match=rf"{lost} (?s:.*)hint: .*rerun=true"):
        run(make_config("trainer.max_epochs=3"))
