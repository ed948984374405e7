"""A clock that stops where training stops."""

import sys
import time
from types import SimpleNamespace

import pandas as pd
import pytest
from lightning.pytorch.callbacks import Callback

NUM_STEPS = 2 * 3
SHORT = ("trainer.max_epochs=2", "+trainer.limit_train_batches=3")


@pytest.fixture
def seconds(monkeypatch):
    """A clock that only callbacks move: `seconds.now += 1`."""
    seconds = SimpleNamespace(now=0.0)
    monkeypatch.setattr(time, "perf_counter", lambda: seconds.now)
    return seconds


def test_training_clock_includes_every_step_and_excludes_evaluation(train, look_on, seconds):
    class TakeTime(Callback):
        def on_train_batch_start(self, *args):
            seconds.now += 1

        def on_validation_epoch_end(self, *args):
            seconds.now += 10

        def on_test_epoch_end(self, *args):
            seconds.now += 100

    look_on(TakeTime())
    trained = train(*SHORT)
    assert pd.read_csv(trained.folder / "epochs.csv").train_time_s.tolist() == [3, NUM_STEPS]
    assert trained.record["train_time_s"] == NUM_STEPS
    assert trained.record["images_per_s"] == NUM_STEPS * 64 / NUM_STEPS
    assert trained.record["wall_time_s"] >= NUM_STEPS + 2 * 10 + 100


def test_training_clock_stands_still_while_torch_compiles(train, look_on, seconds, monkeypatch):
    spent = {"total_wall_time": 0.0}
    dynamo = SimpleNamespace(calculate_time_spent=lambda: spent)
    monkeypatch.setitem(sys.modules, "torch._dynamo.utils", dynamo)

    class Compile(Callback):
        def on_train_batch_start(self, *args):
            seconds.now += 10 + 1
            spent["total_wall_time"] += 10

    look_on(Compile())
    assert train(*SHORT).record["train_time_s"] == NUM_STEPS
