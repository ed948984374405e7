"""Replayed steps and passes against launched ones; a stand-in records where there is no GPU."""

from pathlib import Path

import pytest
import torch

from optlab.data.loader import Batch
from optlab.training import cuda_graph
from optlab.training.build import build_classifier, build_data, build_net
from optlab.training.classifier import ImageClassifier
from optlab.training.cuda_graph import Replayed, can_be_recorded

OPTIMIZERS = Path(__file__).parents[2] / "conf" / "optimizer"
NUM_STEPS_AN_EPOCH = 21
LR = "optimizer.lr=0.0009765625"  # a recorded update has its rate in float32, which holds 2**-10

KINDS_OF_RUNS = [
    ["optimizer=adam", "model.dropout=0.2", "model.batch_norm=true"],
    ["optimizer=sgd", "trainer.gradient_clip_norm=0.1", "scheduler=step", "scheduler.gamma=0.5"],
    ["optimizer=adamw", "trainer.precision=bf16-mixed", "label_smoothing=0.1"],
    ["optimizer=adagrad", "weight_decay_on=kernels", "optimizer.weight_decay=0.01"],
    ["optimizer=rmsprop", "trainer.accumulate_grad_batches=2", "model.batch_norm=true"],
    ["optimizer=adam", "scheduler=plateau", "scheduler.patience=0"],
    ["optimizer=rprop", "trainer.max_steps=30"],
    ["optimizer=adadelta"],
    # Of these the passes alone are recorded
    ["optimizer=adafactor", "data.augment.rotation_degrees=10"],
    ["optimizer=radam"],
    ["optimizer=lbfgs", "data.batch_size=256", "optimizer.max_iter=3"],
    ["optimizer=muon", "model=cnn", "model.filters=[2,4]"],
    ["optimizer=schedule_free", "trainer.precision=64-true"],
]


@pytest.fixture
def through_python(monkeypatch):
    """Counts the steps and the passes that Python goes through."""
    counts = {"_optimizer_step": 0, "_pass": 0}

    def counting(name, method):
        def counted(self, batches):
            counts[name] += 1
            return method(self, batches)

        return counted

    for name in counts:
        monkeypatch.setattr(ImageClassifier, name, counting(name, getattr(ImageClassifier, name)))
    return counts


@pytest.mark.parametrize("overrides", KINDS_OF_RUNS)
def test_replayed_run_equals_the_launched_one(overrides, train_there):
    overrides = [LR, "trainer.max_epochs=3", *overrides]
    train_there(*overrides, graphs=True).assert_equals(train_there(*overrides))


@pytest.mark.parametrize("optimizer", [path.stem for path in sorted(OPTIMIZERS.glob("*.yaml"))])
def test_update_is_recorded_where_torch_can_to_the_same_numbers(optimizer, make_config):
    config = make_config(f"optimizer={optimizer}")
    datamodule = build_data(config, [0])
    classifier = build_classifier(config, build_net(config, datamodule), datamodule)
    passes_alone = ("adafactor", "lbfgs", "muon", "schedule_free")  # torch cannot
    passes_alone += ("adamax", "asgd", "nadam", "radam")  # torch rounds otherwise
    assert can_be_recorded(classifier.make_optimizer()) == (optimizer not in passes_alone)


def test_update_that_reads_its_rate_is_not_recorded(train_there, through_python):
    train_there("optimizer=rmsprop", "+optimizer.foreach=false", graphs=True)
    assert through_python["_optimizer_step"] > through_python["_pass"]


@pytest.mark.parametrize(("optimizer", "whole"), [("adam", True), ("muon", False)])
def test_only_the_recordings_go_through_python(optimizer, whole, train_there, through_python):
    train_there(f"optimizer={optimizer}", "trainer.max_epochs=2", graphs=True)
    shapes = 2  # of full batches, and of the last one
    recordings = 1 + shapes * 2  # the first call, and a warm-up and a recording each
    assert through_python["_pass"] == recordings
    assert through_python["_optimizer_step"] == (recordings if whole else 2 * NUM_STEPS_AN_EPOCH)


@pytest.mark.parametrize("begun_with_graphs", [False, True])
def test_interrupted_run_goes_on_with_graphs(
    begun_with_graphs, train_there, on_stand_in, interrupted
):
    overrides = ("optimizer=rmsprop", LR, "trainer.max_epochs=3")
    with on_stand_in(graphs=begun_with_graphs):
        interrupted(4, *overrides, f"outputs={train_there.outputs(graphs=True)}")
    train_there(*overrides, graphs=True).assert_equals(train_there(*overrides))


@pytest.mark.parametrize("optimizer", ["adam", "adadelta", "rmsprop"])
def test_interrupted_run_ends_in_the_numbers_of_one_that_was_not(
    optimizer, train, train_there, on_stand_in, interrupted, tmp_path
):
    overrides = (f"optimizer={optimizer}", "optimizer.lr=0.001", "trainer.max_epochs=3")
    with on_stand_in(graphs=True):
        interrupted(4, *overrides, f"outputs={tmp_path / 'cut'}")
        cut = train(*overrides, f"outputs={tmp_path / 'cut'}")
    cut.assert_equals(train_there(*overrides, graphs=True))


def test_run_begun_with_graphs_goes_on_on_the_cpu(train, on_stand_in, interrupted, tmp_path):
    overrides = ("optimizer=rmsprop", LR, "trainer.max_epochs=3")
    with on_stand_in(graphs=True):
        interrupted(4, *overrides, f"outputs={tmp_path / 'cut'}")
    cut = train(*overrides, f"outputs={tmp_path / 'cut'}")
    cut.assert_equals(train(*overrides), but_for=("device",))


def test_replayed_replicas_equal_launched_ones(train_there):
    overrides = ("num_replicas=2", LR, "model.batch_norm=true", "trainer.max_epochs=2")
    replayed, launched = train_there(*overrides, graphs=True), train_there(*overrides)
    for seed in (0, 1):
        folders = [next(run.folder.parent.glob(f"*seed{seed}*")) for run in (replayed, launched)]
        steps = [(folder / "steps.csv").read_text() for folder in folders]
        assert steps[0] == steps[1]
        assert len(steps[0].splitlines()) == 1 + 2 * NUM_STEPS_AN_EPOCH


@pytest.mark.parametrize(("unfrozen", "recorded_again"), [(False, False), (True, True)])
def test_pass_is_recorded_again_only_when_other_weights_are_trained(
    unfrozen, recorded_again, monkeypatch
):
    net = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 2))
    net[0].requires_grad_(False)
    recordings = []

    def record(compute):
        recordings.append(compute)
        return lambda: None, compute()

    def compute(batches):
        loss = net(batches[0].images).sum()
        loss.backward()
        return loss.detach(), []

    monkeypatch.setattr(cuda_graph, "record", record)
    batch = Batch(torch.ones(4, 3), torch.zeros(4, dtype=torch.int64), 4)
    replayed = Replayed(compute, net)
    for _ in range(3):  # launched, recorded, replayed
        replayed([batch])
    assert len(recordings) == 1
    net[0].requires_grad_(unfrozen)
    replayed.follow_unfreezing()
    for _ in range(3):
        replayed([batch])
    assert len(recordings) == 1 + recorded_again


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("compile", ["graph", "true"])
@pytest.mark.parametrize("overrides", [*KINDS_OF_RUNS, ["num_replicas=2", "model.dropout=0.2"]])
def test_graph_on_a_gpu_equals_launching_there(overrides, compile, train):
    torch.compiler.reset()  # what other cases compiled counts against a limit
    overrides = ["trainer.accelerator=gpu", "trainer.max_epochs=2", *overrides]
    if compile == "true":  # compiled kernels draw dropout from random numbers of their own
        overrides.append("model.dropout=0")
    launched = train(*overrides)
    replayed = train(*overrides, f"trainer.compile={compile}")
    torch.testing.assert_close(
        torch.tensor(replayed.steps["train/loss"]),
        torch.tensor(launched.steps["train/loss"]),
        rtol=1e-2,  # kernels of another choice add in another order
        atol=1e-2,
    )
