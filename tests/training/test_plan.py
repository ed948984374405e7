"""What a command would do, told from the folders alone."""

import re
from dataclasses import replace

import pytest
from made_records import make_record

from optlab.runs.record import read_record, write_record
from optlab.training.plan import Plan
from optlab.training.run_id import run_dir


@pytest.fixture
def plan_of(make_config):
    def plan(*overrides):
        config = make_config(*overrides)
        return Plan.of([(config, run_dir(config), "")])

    return plan


def test_run_without_a_folder_is_new(plan_of):
    plan = plan_of()
    assert [(run.state, run.to_train) for run in plan.runs] == [("new", True)]
    assert plan.seconds(1) is None


@pytest.mark.parametrize(
    ("status", "to_train"), [("finished", False), ("diverged", False), ("failed", True)]
)
def test_state_is_that_of_the_record(status, to_train, plan_of, make_config):
    write_record(run_dir(make_config()), make_record(status))
    assert [(run.state, run.to_train) for run in plan_of().runs] == [(status, to_train)]
    assert plan_of("rerun=true").runs[0].to_train


def test_run_with_epochs_and_no_record_is_interrupted_and_has_the_others_left(plan_of, make_config):
    overrides = ("trainer.max_epochs=5",)
    folder = run_dir(make_config(*overrides))
    folder.mkdir(parents=True)
    (folder / "epochs.csv").write_text("epoch\n1\n2\n")
    (run,) = plan_of(*overrides).runs
    assert (run.state, run.to_train, run.num_epochs) == ("interrupted", True, 3)
    assert plan_of(*overrides, "rerun=true").runs[0].num_epochs == 5


def test_time_is_estimated_from_finished_runs_of_the_same_problem(plan_of, train, capsys):
    trained = train("trainer.max_epochs=2")
    record = read_record(trained.folder)
    an_epoch_s = record.wall_time_s / 2
    plan = plan_of("optimizer=sgd", "trainer.max_epochs=20")
    assert plan.seconds(1) == pytest.approx(20 * an_epoch_s)
    a_tenth = plan_of("optimizer=sgd", "data.train_fraction=0.1", "trainer.max_epochs=20")
    saved_s = 0.9 * record.train_time_s / 2  # evaluation takes what it took
    assert a_tenth.seconds(1) == pytest.approx(20 * (an_epoch_s - saved_s))
    three = Plan(plan.runs * 3)  # side by side in two rounds
    assert three.seconds(2) == pytest.approx(40 * an_epoch_s)
    assert plan_of("model=cnn").seconds(1) is None
    write_record(trained.folder, replace(record, wall_time_s=0.01, train_time_s=8.0))  # went on
    assert plan_of("optimizer=sgd", "trainer.max_epochs=2").seconds(1) == pytest.approx(8.0)
    (trained.folder.parent / "damaged").mkdir()
    (trained.folder.parent / "damaged" / "record.json").write_text("{")
    assert plan_of("optimizer=sgd").seconds(1) is not None
    plan.print(num_processes=2)
    printed = " ".join(capsys.readouterr().out.split())
    assert re.search(rf"\b1 to train\b\D*\b0 done\b\D*\b{plan.seconds(2):.0f} s\b", printed)
