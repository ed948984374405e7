"""A clock that stops where training stops."""

import sys
import time
from types import SimpleNamespace

import pandas as pd
import pytest
from lightning.pytorch.callbacks import Callback

# Two epochs of three batches of 64 images
SHORT = ("trainer.max_epochs=2", "+trainer.limit_train_batches=3")


def test_training_clock_excludes_evaluation(train, look_on):
    class Slow(Callback):
        def on_validation_epoch_end(self, *args):
            time.sleep(0.5)

        def on_test_epoch_end(self, *args):
            time.sleep(0.5)

    look_on(Slow())
    record = train("trainer.max_epochs=3").record
    assert record["wall_time_s"] > 2.0
    assert 0 < record["train_time_s"] < record["wall_time_s"] - 2.0


def test_training_clock_stands_still_while_torch_compiles(train, look_on, monkeypatch):
    spent = {"total_wall_time": 0.0}
    dynamo = SimpleNamespace(calculate_time_spent=lambda: spent)
    monkeypatch.setitem(sys.modules, "torch._dynamo.utils", dynamo)

    class Compile(Callback):
        def on_train_batch_start(self, *args):
            time.sleep(0.2)
            spent["total_wall_time"] += 0.2

    look_on(Compile())
    record = train(*SHORT).record
    assert spent["total_wall_time"] == pytest.approx(2 * 3 * 0.2)
    assert 0 < record["train_time_s"] < 1.0


def test_training_clock_includes_every_step_and_grows(train, look_on):
    class SlowStep(Callback):
        def on_train_batch_start(self, *args):
            time.sleep(0.05)

    look_on(SlowStep())
    trained = train(*SHORT)

    times = pd.read_csv(trained.folder / "epochs.csv").train_time_s
    assert times.is_monotonic_increasing
    assert times.iloc[-1] == trained.record["train_time_s"] > 2 * 3 * 0.05
    assert trained.record["images_per_s"] == pytest.approx(2 * 3 * 64 / times.iloc[-1])
