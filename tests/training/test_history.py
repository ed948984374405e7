"""The CSV files under cuts of every kind, and a clock that stops where training stops."""

import sys
import time
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from optlab.training.history import Diverged, History, append_rows, keep_rows

COLUMNS = ("step", "loss")


def test_number_reads_back_as_the_same_float(tmp_path):
    path = tmp_path / "steps.csv"
    values = [0.1, 1 / 3, 5e-324, float("nan"), float("inf"), 12345678.9]
    append_rows(path, [[value] for value in values])
    read = [float(line) for line in path.read_text().splitlines()]
    assert repr(read) == repr(values)


@pytest.mark.parametrize(
    ("old", "last", "kept"),
    [
        (None, 0, ""),
        (None, 7, ""),
        ("step,loss\n1,0.5\n2,0.4\n", 0, ""),  # a run that starts anew
        ("step,loss\n1,0.5\n2,0.4\n3,0.3\n", 2, "1,0.5\n2,0.4\n"),
        ("step,loss\n1,0.5\n2,0.4\n", 5, "1,0.5\n2,0.4\n"),
        ("step,loss\n1,0.5\n2,0.", 2, "1,0.5\n"),  # cut off within a number: 0.4 would be 0.
        ("step,loss\n1,0.5\n2", 2, "1,0.5\n"),
        ("step,loss\n", 2, ""),
        ("step,lo", 2, ""),
        ("", 2, ""),
    ],
)
def test_rows_up_to_the_checkpoint_are_kept(old, last, kept, tmp_path):
    path = tmp_path / "steps.csv"
    if old is not None:
        path.write_text(old)
    keep_rows(path, COLUMNS, "step", last)
    assert path.read_text() == "step,loss\n" + kept


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
    record = train("trainer.max_epochs=2", "trainer.steps_per_call=8").record
    assert spent["total_wall_time"] == pytest.approx(2 * 3 * 0.2)
    assert 0 < record["train_time_s"] < 1.0


def test_training_clock_includes_every_step_and_grows(train, look_on):
    class SlowStep(Callback):
        def on_train_batch_start(self, *args):
            time.sleep(0.05)

    look_on(SlowStep())
    trained = train("trainer.max_epochs=2", "trainer.steps_per_call=8")
    import pandas as pd

    times = pd.read_csv(trained.folder / "epochs.csv").train_time_s
    assert times.is_monotonic_increasing
    assert times.iloc[-1] == trained.record["train_time_s"] > 2 * 3 * 0.05
    assert trained.record["images_per_s"] == pytest.approx(2 * 1293 / times.iloc[-1])


def see(history, losses, last_step):
    history._see_divergence(torch.tensor(losses), last_step)


def test_divergence_names_the_first_step_that_was_not_finite(tmp_path):
    history = History([tmp_path], num_classes=10)
    with pytest.raises(Diverged, match="the training loss was not finite at step 42"):
        see(history, [[1.0], [float("inf")], [float("nan")]], last_step=43)


def test_divergence_is_a_loss_ten_times_that_of_a_network_that_knows_nothing(tmp_path):
    history = History([tmp_path], num_classes=10)  # 10 * log(10) = 23.03
    see(history, [[22.0]] * 5, last_step=5)
    with pytest.raises(Diverged, match=r"the training loss was 24 at step 10, over 23: ten times"):
        see(history, [[24.0]] * 5, last_step=10)


def test_single_high_loss_is_no_divergence(tmp_path):
    history = History([tmp_path], num_classes=10)
    see(history, [[2.0], [1000.0], [2.0]], last_step=3)
    assert history.diverged == {}


def test_one_replica_that_diverges_is_noted_and_the_others_go_on(tmp_path):
    history = History([tmp_path / "a", tmp_path / "b"], num_classes=10)
    see(history, [[1.0, 1.0], [1.0, float("nan")]], last_step=2)
    assert history.diverged == {1: "the training loss was not finite at step 2"}
    with pytest.raises(Diverged, match="step 3"):
        see(history, [[float("nan"), float("nan")]], last_step=3)
    assert history.diverged[1].endswith("step 2")  # the first reason stays
