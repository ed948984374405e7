"""Many seeds in one program against each seed alone."""

import re
from dataclasses import asdict

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from optlab.training import build
from optlab.training.csv_metrics import Diverged
from optlab.training.plan import Plan
from optlab.training.replicas import StopWhenAllDiverged
from optlab.training.run import run
from optlab.training.run_id import replicas, run_dir

SMALL_CNN = [
    "model=cnn", "model.filters=[2,4]", "model.hidden_sizes=[16]", "model.dropout=0",
    "model.batch_norm=true",
]  # fmt: skip
APART = "outputs=${oc.env:PYTEST_OUTPUTS}/alone"


@pytest.fixture(autouse=True)
def outputs_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTEST_OUTPUTS", str(tmp_path))


@pytest.mark.parametrize(
    "overrides",
    [
        ["optimizer=sgd", "scheduler=cosine"],
        ["optimizer=adam", "data.augment.crop_padding=2"],
        ["optimizer=adamw", "module.decay_norm_and_bias=false", "module.label_smoothing=0.1"],
        pytest.param(  # the mode after a validation too
            ["optimizer=sgd", *SMALL_CNN, "trainer.max_epochs=2"], marks=pytest.mark.slow
        ),
    ],
    ids=["sgd", "adam", "adamw", "cnn"],
)
def test_replica_equals_its_seed_alone(overrides, train, make_config):
    """In double precision, so that a difference is a mistake and not rounding that has grown."""
    overrides = ["trainer.max_epochs=2", *overrides, "trainer.precision=64-true"]
    records = run(make_config("num_replicas=3", *overrides))
    assert [record.seed for record in records] == [0, 1, 2]
    for seed in (0, 2):
        alone = train(f"seed={seed}", *overrides, APART)
        # no run is trained here: the folder of the replica is the folder of the seed
        folder = run_dir(make_config(f"seed={seed}", *overrides))
        replica = type(alone)(folder)
        assert folder.name == alone.folder.name
        assert replica.record["hash"] == alone.record["hash"]
        assert replica.record["replica"]["equality"].endswith("tolerance")
        assert replica.record["model"] == alone.record["model"]
        assert list(replica.steps.step) == list(alone.steps.step)
        assert list(replica.steps.lr) == list(alone.steps.lr)
        assert list(replica.steps["train/loss"]) == pytest.approx(
            list(alone.steps["train/loss"]), rel=1e-8
        )
        assert replica.record["test"]["last"]["loss"] == pytest.approx(
            alone.record["test"]["last"]["loss"], rel=1e-6
        )
        weights, expected = replica.weights(), alone.weights()
        assert weights.keys() == expected.keys()
        for name in expected:
            torch.testing.assert_close(weights[name], expected[name], rtol=1e-7, atol=1e-9)


def test_first_steps_of_replicas_are_bit_close(make_config, train):
    overrides = ["optimizer=sgd", "trainer.max_steps=3"]
    run(make_config("num_replicas=3", *overrides))
    alone = train("seed=2", *overrides, APART)
    replica = type(alone)(run_dir(make_config("seed=2", *overrides)))
    assert list(replica.steps["train/loss"]) == pytest.approx(
        list(alone.steps["train/loss"]), rel=1e-6
    )


def test_loaded_replica_has_its_recorded_accuracy(make_config):
    from optlab.models import load_network

    config = make_config("num_replicas=2", *SMALL_CNN, "trainer.max_epochs=3")
    records = run(config)
    ((images, labels),) = build.build_data(config).test_dataloader()
    for each, record in zip(replicas(config), records, strict=True):
        for which in ("best", "last"):
            with torch.no_grad():
                logits = load_network(run_dir(each), which)(images)
            accuracy = (logits.argmax(dim=1) == labels).double().mean().item()
            assert accuracy == pytest.approx(record.metric("test", which), abs=1 / 360)


def test_replicas_with_dropout_say_in_distribution_and_differ(make_config):
    records = run(make_config("num_replicas=2", "model.dropout=0.5", "trainer.max_epochs=1"))
    assert [record.replica.equality for record in records] == ["in distribution"] * 2
    losses = [record.validation.last.loss for record in records]
    assert losses[0] != losses[1]


def test_dropout_of_whole_channels_counts_as_dropout(make_config):
    overrides = ("model=cnn", "model.filters=[2,4]", "model.dropout=0", "trainer.max_steps=2")
    records = run(make_config("num_replicas=2", "model.conv_dropout=0.5", *overrides))
    assert records[0].replica.equality == "in distribution"


def test_replica_that_is_done_is_left_alone(make_config, train):
    first = train("seed=1", "trainer.max_epochs=1")
    before = first.record
    records = run(make_config("num_replicas=3", "trainer.max_epochs=1"))
    assert [record.seed for record in records] == [0, 1, 2]
    assert asdict(records[1]) == before
    assert first.record == before


@pytest.fixture
def exploding_replica(monkeypatch):
    """Seed 1 starts with weights that no step survives."""
    original = build.build_net

    def build_net(config, datamodule):
        net = original(config, datamodule)
        if config.seed == 1:
            with torch.no_grad():
                for parameter in net.parameters():
                    parameter.fill_(1e30)
        return net

    monkeypatch.setattr(build, "build_net", build_net)


@pytest.mark.parametrize(
    "best",
    [
        [],
        ["callbacks.best.monitor=val/loss", "callbacks.best.mode=min"],
    ],
    ids=["val/accuracy", "val/loss"],
)
def test_replica_that_diverges_leaves_the_others(best, exploding_replica, make_config, train):
    overrides = ["trainer.max_epochs=2", "optimizer=sgd", *best]
    records = run(make_config("num_replicas=3", *overrides))
    assert [record.status for record in records] == ["finished", "diverged", "finished"]
    assert re.search(r"training .*step 1\b", records[1].reason)
    assert records[1].test is None
    alone = train("seed=2", *overrides, APART)
    assert records[2].test.last.loss == pytest.approx(
        alone.record["test"]["last"]["loss"], rel=1e-2
    )


def test_one_replica_that_diverges_is_noted_and_the_others_go_on():
    shared = StopWhenAllDiverged(2)
    shared.diverged(1, "at step 2")
    assert shared.reasons == {1: "at step 2"}
    shared.diverged(1, "at step 3")
    assert shared.reasons[1] == "at step 2"  # the first reason stays
    with pytest.raises(Diverged, match="at step 4"):
        shared.diverged(0, "at step 4")


def test_replicas_that_all_diverge_are_all_recorded(make_config):
    records = run(make_config("num_replicas=2", "optimizer=sgd", "lr_multiplier=1.0e30"))
    assert [record.status for record in records] == ["diverged", "diverged"]


@pytest.mark.slow
def test_interrupted_replicas_end_in_the_numbers_of_those_that_were_not(
    make_config, look_on, train
):
    import signal

    class Interrupt(Callback):
        calls = 0

        def on_train_batch_end(self, *args):
            self.calls += 1
            if self.calls == 37:  # in the second of three epochs
                raise KeyboardInterrupt

    overrides = ["num_replicas=2", "trainer.max_epochs=3", "optimizer=adam"]
    run(make_config(*overrides, APART))
    look_on(Interrupt())
    on_interrupt = signal.getsignal(signal.SIGINT)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        run(make_config(*overrides))
    signal.signal(signal.SIGINT, on_interrupt)
    look_on()
    plan = Plan.of([(one, run_dir(one), "") for one in replicas(make_config(*overrides))])
    assert [planned.state for planned in plan.runs] == ["interrupted", "interrupted"]
    run(make_config(*overrides))
    for cut, whole in zip(
        replicas(make_config(*overrides)), replicas(make_config(*overrides, APART)), strict=True
    ):
        steps = [(run_dir(config) / "steps.csv").read_text() for config in (cut, whole)]
        assert steps[0] == steps[1]


def test_replicas_end_no_files_of_the_stack_behind(make_config):
    config = make_config("num_replicas=2", "trainer.max_epochs=1")
    run(config)
    for each in replicas(config):
        left = {path.name for path in (run_dir(each) / "checkpoints").iterdir()}
        assert left == {"best.ckpt", "last.ckpt"}


def test_seed_that_is_finished_alone_leaves_no_file_of_the_stack(make_config, monkeypatch):
    overrides = ["num_replicas=2", "trainer.max_epochs=1"]
    die_among_the_pictures(monkeypatch, make_config(*overrides))
    (first, _) = replicas(make_config(*overrides))
    checkpoints = run_dir(first) / "checkpoints"
    assert list(checkpoints.glob("2-replicas-*.ckpt"))
    run(first)
    assert {path.name for path in checkpoints.iterdir()} == {"best.ckpt", "last.ckpt"}


def test_replicas_that_are_killed_among_their_pictures_are_not_trained_again(
    make_config, look_on, monkeypatch
):
    class Count(Callback):
        calls = 0

        def on_train_batch_end(self, *args):
            self.calls += 1

    overrides = ["num_replicas=2", "trainer.max_epochs=1"]
    die_among_the_pictures(monkeypatch, make_config(*overrides))
    look_on(count := Count())
    records = run(make_config(*overrides))
    assert [record.status for record in records] == ["finished", "finished"]
    assert count.calls == 0


def die_among_the_pictures(monkeypatch, config):
    """Ends a run of two replicas when the pictures of the second are drawn."""

    def show(record, *args):
        if record.seed == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("optlab.training.replicas.write_run_report", show)
        run(config)


def test_replica_without_a_record_is_trained_again_alone(make_config, train):
    first = run(make_config("num_replicas=2", "trainer.max_epochs=2"))
    folder = run_dir(make_config("seed=1", "trainer.max_epochs=2"))
    (folder / "record.json").unlink()  # killed between the first record and the second
    done, again = run(make_config("num_replicas=2", "trainer.max_epochs=2"))
    assert done.finished_at == first[0].finished_at
    assert (again.seed, again.replica) == (1, None)
    assert again.validation.last.accuracy == pytest.approx(
        first[1].validation.last.accuracy, abs=0.05
    )
