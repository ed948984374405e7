"""The CSV files under cuts of every kind, and what is called divergence."""

import pytest
from lightning.pytorch.callbacks import Callback

from optlab.training import csv_metrics
from optlab.training.clock import TrainingClock
from optlab.training.csv_metrics import CSVMetrics, Diverged, append_rows, keep_rows

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


@pytest.fixture
def csv(tmp_path):
    return CSVMetrics(tmp_path, 10, TrainingClock())


def see(csv, losses, last_step):
    csv._written_losses, csv._step = losses, last_step
    csv._end_if_diverged(csv._divergence())


def test_divergence_names_the_first_step_that_was_not_finite(csv):
    with pytest.raises(Diverged, match=r"\btraining .*\bstep 42\b"):
        see(csv, [1.0, float("inf"), float("nan")], last_step=43)


def test_divergence_is_a_loss_ten_times_that_of_uniform_predictions(csv):
    see(csv, [22.0] * 5, last_step=5)  # 10 * log(10) = 23.03
    with pytest.raises(Diverged, match=r"\btraining .*\b24\b.*\bstep 10\b.*\b23\b"):
        see(csv, [24.0] * 5, last_step=10)


def test_single_high_loss_is_no_divergence(csv):
    see(csv, [2.0, 1000.0, 2.0], last_step=3)


@pytest.fixture
def outputs_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTEST_OUTPUTS", str(tmp_path))


@pytest.mark.usefixtures("outputs_variable")
def test_rows_are_written_while_the_epoch_runs(train, look_on, monkeypatch):
    """And the files end in the same numbers, however often they are written."""
    whole = train("trainer.max_epochs=2", "outputs=${oc.env:PYTEST_OUTPUTS}/whole")
    monkeypatch.setattr(csv_metrics, "WRITE_INTERVAL_S", 0.0)
    num_lines = []

    class Look(Callback):
        def on_train_batch_end(self, trainer, *args):
            num_lines.append(len((folder(trainer) / "steps.csv").read_text().splitlines()))

    def folder(trainer):
        (csv,) = (each for each in trainer.callbacks if isinstance(each, CSVMetrics))
        return csv.files.path

    look_on(Look())
    train("trainer.max_epochs=2").assert_equals(whole)
    assert num_lines == [1 + step for step in range(1, 43)]
