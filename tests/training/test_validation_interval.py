"""Validation within epochs: an epoch of the digits has 21 batches."""

import time
from types import SimpleNamespace

import pandas as pd
from lightning.pytorch.callbacks import Callback

OVERRIDES = ("trainer.max_epochs=2", "model.dropout=0.2")
EVERY = ("+trainer.val_check_interval=8",)
ACROSS = ("+trainer.val_check_interval=15", "+trainer.check_val_every_n_epoch=null")
OF_THE_OPTION = ("config", "hash")


def validations(trained):
    return pd.read_csv(trained.folder / "validation.csv")


def test_validation_within_epochs_changes_no_number_and_stops_the_clock(
    train, look_on, monkeypatch
):
    seconds = SimpleNamespace(now=0.0)

    class TakeTime(Callback):
        def on_train_batch_start(self, *args):
            seconds.now += 1

        def on_validation_epoch_end(self, *args):
            seconds.now += 100

    whole = train(*OVERRIDES)
    monkeypatch.setattr(time, "perf_counter", lambda: seconds.now)
    look_on(TakeTime())
    trained = train(*OVERRIDES, *EVERY)
    trained.assert_equals(whole, but_for=OF_THE_OPTION)
    table = validations(trained)
    assert list(table.step) == [8, 16, 21, 29, 37, 42]
    assert list(table.epoch) == [1, 1, 1, 2, 2, 2]
    ends = table[table.step.isin([21, 42])].reset_index(drop=True)
    epochs = pd.read_csv(trained.folder / "epochs.csv")
    pd.testing.assert_frame_equal(ends, epochs[list(ends)], check_exact=True)
    assert list(table.train_time_s) == list(table.step)
    assert trained.record["train_time_s"] == 42
    assert not (whole.folder / "validation.csv").exists()


def test_run_that_ends_between_two_validations_has_one_at_its_end(train):
    whole, trained = train(*OVERRIDES), train(*OVERRIDES, *ACROSS)
    assert list(validations(trained).step) == [15, 30]
    assert trained.epochs["val/accuracy"].isna().all()
    assert trained.record["validation"]["last"] == whole.record["validation"]["last"]
    assert trained.record["validation"]["best"] == whole.record["validation"]["last"]
    assert trained.weights("best").keys() == trained.weights("last").keys()


def test_resumed_run_has_the_validations_of_one_that_was_not_interrupted(
    train, interrupted, tmp_path
):
    cut = f"outputs='{tmp_path / 'cut'}'"
    folder = interrupted(30, *OVERRIDES, *EVERY, cut)
    assert pd.read_csv(folder / "validation.csv").step.iloc[-1] == 29  # after the checkpoint
    resumed, whole = train(*OVERRIDES, *EVERY, cut), train(*OVERRIDES, *EVERY)
    resumed.assert_equals(whole)
    tables = [validations(each).drop(columns="train_time_s") for each in (resumed, whole)]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
