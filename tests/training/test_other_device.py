"""Runs on a device that is not the CPU; a stand-in whose kernels are the CPU's takes its place."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from optlab.training import csv_metrics

FEW = "data.train_fraction=0.25"  # five batches of 64 an epoch, and one of 3
OPTIMIZERS = Path(__file__).parents[2] / "conf" / "optimizer"
AUGMENTED = [
    *("data.augment.crop_padding=2", "data.augment.horizontal_flip=true"),
    *("data.augment.rotation_degrees=10", "data.augment.cutout_pixels=4"),
]


@pytest.mark.parametrize(
    "overrides",
    [
        ["optimizer=adam", "model.dropout=0.2", "model.batch_norm=true"],
        ["optimizer=sgd", "trainer.gradient_clip_val=0.1", "scheduler=plateau"],
        pytest.param(
            ["optimizer=adamw", "trainer.precision=bf16-mixed", "module.label_smoothing=0.1"],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["optimizer=rmsprop", "trainer.accumulate_grad_batches=2", *AUGMENTED],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["optimizer=adagrad", "callbacks=early_stopping", "trainer.max_steps=9"],
            marks=pytest.mark.slow,
        ),
        ["optimizer=muon", "model=cnn", "model.filters=[2,4]", "data.num_folds=3"],
        pytest.param(
            ["optimizer=schedule_free", "trainer.precision=64-true", "data.train_fraction=0.5"],
            marks=pytest.mark.slow,
        ),
        ["optimizer=lbfgs", "data.batch_size=256", "optimizer.max_iter=3"],
    ],
)
def test_run_equals_the_one_on_the_cpu(overrides, train, train_there):
    overrides = [FEW, "trainer.max_epochs=2", *overrides]
    there, here = train_there(*overrides), train(*overrides)
    assert there.record["device"]["type"] != here.record["device"]["type"]
    there.assert_equals(here, but_for=("device",))


def test_replicas_equal_those_on_the_cpu(train, train_there):
    overrides = ("num_replicas=2", "model.batch_norm=true", "trainer.max_epochs=2")
    folders = [run(*overrides).folder.parent for run in (train_there, train)]
    for name in ("steps.csv", "classification_report.txt"):
        there, here = ([path.read_text() for path in each.glob(f"*/{name}")] for each in folders)
        assert sorted(there) == sorted(here)
        assert len(set(there)) == 2


@pytest.mark.slow
def test_interrupted_run_goes_on_there(train, train_there, on_stand_in, interrupted):
    overrides = ("optimizer=adam", "callbacks=early_stopping", "trainer.max_epochs=3")
    with on_stand_in():
        interrupted(29, *overrides, f"outputs={train_there.outputs()}")
    train_there(*overrides).assert_equals(train(*overrides), but_for=("device",))


def test_run_that_diverges_leaves_what_it_leaves_on_the_cpu(train, train_there):
    overrides = ("optimizer=sgd", "optimizer.lr=1e6", "trainer.max_epochs=2")
    for trained in (train_there(*overrides), train(*overrides)):
        assert trained.record["status"] == "diverged"
        assert (trained.record["validation"], trained.record["num_epochs"]) == (None, 0)
        assert trained.epochs.empty


@pytest.mark.slow
def test_pictures_are_drawn_of_what_lies_there(train, train_there):
    overrides = ("callbacks=full", "logger=tensorboard", "trainer.max_epochs=1")
    there, here = (run(*overrides).folder / "figures" for run in (train_there, train))
    names = {path.name for path in here.iterdir()}
    assert names == {path.name for path in there.iterdir()}
    for name in names:
        assert (there / name).read_bytes() == (here / name).read_bytes()


class WaitsOfSteps(Callback):
    """The places at which the steps of an epoch waited for the device."""

    def __init__(self, stand_in):
        self.waits = stand_in.waits
        self.places = set()

    def on_train_epoch_start(self, *args):
        self.waits.clear()

    def on_train_batch_end(self, *args):
        self.places |= set(self.waits)


# A number of theirs is read in every step: by torch, of Prodigy by its package
WAITING = ("adafactor", "asgd", "lbfgs", "prodigy")


@pytest.mark.parametrize(
    "overrides",
    [
        *(
            pytest.param(
                [f"optimizer={path.stem}"],
                marks=[] if path.stem in ("adam", "sgd", "muon") else pytest.mark.slow,
            )
            for path in sorted(OPTIMIZERS.glob("*.yaml"))
            if path.stem not in WAITING
        ),
        ["trainer.gradient_clip_val=0.1", "trainer.accumulate_grad_batches=2", *AUGMENTED],
        ["trainer.precision=bf16-mixed", "callbacks=early_stopping", "logger=tensorboard"],
        ["model=cnn", "model.filters=[2,4]", "model.batch_norm=true", "model.dropout=0.1"],
        ["num_replicas=2", "model.batch_norm=true"],
    ],
)
def test_no_step_waits_for_the_device(overrides, train_there, stand_in, look_on, monkeypatch):
    monkeypatch.setattr(csv_metrics, "WRITE_INTERVAL_S", float("inf"))  # that waits, and rarely
    steps = WaitsOfSteps(stand_in)
    look_on(steps)
    train_there(FEW, "trainer.max_epochs=2", "trainer.max_steps=9", *overrides)
    assert steps.places == set()


def test_stand_in_notes_who_waits_and_refuses_tensors_of_the_cpu(stand_in):
    with stand_in:
        there = torch.ones(3, device=stand_in.device)
        stand_in.waits.clear()
        with pytest.raises(RuntimeError, match="same device"):
            there + torch.ones(3)
        assert (there + 1).tolist() == [2, 2, 2]
    assert stand_in.waits.total() == 1
