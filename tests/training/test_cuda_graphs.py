"""Replayed steps and passes against launched ones; a stand-in records where there is no GPU."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from omegaconf import OmegaConf
from torch.optim.optimizer import register_optimizer_step_post_hook

from optlab.training import cuda_graphs
from optlab.training.build import build_data, build_module, build_net
from optlab.training.cuda_graphs import CUDAGraphLoop, CUDAGraphStep, can_be_captured

OPTIMIZERS = Path(__file__).parents[2] / "conf" / "optimizer"
NUM_STEPS_AN_EPOCH = 21
FEW = "data.train_fraction=0.25"  # five batches of 64 an epoch, and one of 3
LR = "optimizer.lr=0.0009765625"  # a recorded update has its rate in float32, which holds 2**-10

KINDS_OF_RUNS = [
    ["optimizer=adam", "model.dropout=0.2", "model.batch_norm=true"],
    ["optimizer=sgd", "scheduler=step", "scheduler.gamma=0.5"],
    pytest.param(
        ["optimizer=adamw", "trainer.precision=bf16-mixed", "module.label_smoothing=0.1"],
        marks=pytest.mark.slow,
    ),
    pytest.param(
        ["optimizer=adagrad", "module.decay_norm_and_bias=false", "optimizer.weight_decay=0.01"],
        marks=pytest.mark.slow,
    ),
    pytest.param(["optimizer=rmsprop", "model.batch_norm=true"], marks=pytest.mark.slow),
    ["optimizer=adam", "scheduler=plateau", "scheduler.patience=0"],
    pytest.param(["optimizer=rprop", "trainer.max_steps=14"], marks=pytest.mark.slow),
    pytest.param(["optimizer=adadelta"], marks=pytest.mark.slow),
    # Of these only the passes are recorded
    pytest.param(
        ["optimizer=adafactor", "data.augment.rotation_degrees=10"], marks=pytest.mark.slow
    ),
    pytest.param(["optimizer=radam"], marks=pytest.mark.slow),
    ["optimizer=lbfgs", "data.batch_size=256", "optimizer.max_iter=3"],
    ["optimizer=muon", "model=cnn", "model.filters=[2,4]"],
    pytest.param(["optimizer=schedule_free", "trainer.precision=64-true"], marks=pytest.mark.slow),
]


@pytest.fixture
def through_python(monkeypatch):
    """Counts the passes that Python goes through, and the updates."""
    counts = {"passes": 0, "updates": 0}
    make_pass = CUDAGraphLoop._pass

    def counted(self, batch):
        counts["passes"] += 1
        return make_pass(self, batch)

    def count_update(*_):
        counts["updates"] += 1

    monkeypatch.setattr(CUDAGraphLoop, "_pass", counted)
    hook = register_optimizer_step_post_hook(count_update)
    yield counts
    hook.remove()


@pytest.mark.parametrize("overrides", KINDS_OF_RUNS)
def test_replayed_run_equals_the_launched_one(overrides, train_there):
    overrides = [LR, FEW, "trainer.max_epochs=3", *overrides]
    train_there(*overrides, graphs=True).assert_equals(train_there(*overrides))


@pytest.mark.parametrize("optimizer", [path.stem for path in sorted(OPTIMIZERS.glob("*.yaml"))])
def test_update_is_recorded_where_torch_can_to_the_same_numbers(optimizer, make_config):
    wraps = optimizer in ("asam", "lookahead", "sam")
    config = make_config(f"optimizer={optimizer if wraps else 'adam'}")
    if not wraps:  # composing takes longer than the rest
        config.optimizer = OmegaConf.load(OPTIMIZERS / f"{optimizer}.yaml")
    datamodule = build_data(config)
    module = build_module(config, build_net(config, datamodule), datamodule)
    is_torchs = config.optimizer._target_.startswith("torch.")
    passes_only = ("adafactor", "lbfgs")  # torch cannot
    passes_only += ("adamax", "asgd", "nadam", "radam")  # torch rounds otherwise
    assert can_be_captured(module.make_optimizer(module.param_groups())) == (
        is_torchs and optimizer not in passes_only
    )


def test_update_that_reads_its_rate_is_not_recorded(train_there, through_python):
    train_there("optimizer=rmsprop", "+optimizer.foreach=false", graphs=True)
    assert through_python["updates"] > through_python["passes"]


@pytest.mark.parametrize(("optimizer", "whole"), [("adam", True), ("muon", False)])
def test_only_the_recordings_go_through_python(optimizer, whole, train_there, through_python):
    train_there(f"optimizer={optimizer}", "trainer.max_epochs=2", graphs=True)
    shapes = 2  # of full batches, and of the last one
    recordings = 1 + shapes * 2  # the first call, and a warm-up and a recording each
    assert through_python["passes"] == recordings
    assert through_python["updates"] == (recordings if whole else 2 * NUM_STEPS_AN_EPOCH)


@pytest.mark.parametrize("begun_with_graphs", [False, True])
def test_interrupted_run_goes_on_with_graphs(
    begun_with_graphs, train_there, on_stand_in, interrupted
):
    overrides = ("optimizer=rmsprop", LR, FEW, "trainer.max_epochs=3")
    with on_stand_in(graphs=begun_with_graphs):
        interrupted(8, *overrides, f"outputs={train_there.outputs(graphs=True)}")
    train_there(*overrides, graphs=True).assert_equals(train_there(*overrides))


@pytest.mark.parametrize(
    "optimizer",
    ["adam", *(pytest.param(o, marks=pytest.mark.slow) for o in ("adadelta", "rmsprop"))],
)
def test_interrupted_run_ends_in_the_numbers_of_one_that_was_not(
    optimizer, train, train_there, on_stand_in, interrupted, tmp_path
):
    overrides = (f"optimizer={optimizer}", "optimizer.lr=0.001", FEW, "trainer.max_epochs=3")
    with on_stand_in(graphs=True):
        interrupted(8, *overrides, f"outputs={tmp_path / 'cut'}")
        cut = train(*overrides, f"outputs={tmp_path / 'cut'}")
    cut.assert_equals(train_there(*overrides, graphs=True))


def test_run_begun_with_graphs_goes_on_on_the_cpu(train, on_stand_in, interrupted, tmp_path):
    overrides = ("optimizer=rmsprop", LR, FEW, "trainer.max_epochs=3")
    with on_stand_in(graphs=True):
        interrupted(8, *overrides, f"outputs={tmp_path / 'cut'}")
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


class Gradients(Callback):
    def on_after_backward(self, trainer, pl_module):
        raise AssertionError("a replayed step calls nothing")


@pytest.mark.parametrize(
    ("overrides", "callbacks", "named"),
    [
        (["trainer.accumulate_grad_batches=2"], [], "accumulate_grad_batches"),
        (["trainer.gradient_clip_val=0.1"], [], "gradient_clip_val"),
        ([], [Gradients()], r"on_after_backward\b.*\bGradients\b"),
    ],
)
def test_what_a_replayed_step_would_skip_is_refused(
    overrides, callbacks, named, train_there, look_on
):
    look_on(*callbacks)
    with pytest.raises(ValueError, match=named):
        train_there(*overrides, graphs=True)


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

    def compute(batch):
        loss = net(batch[0]).sum()
        loss.backward()
        return {"loss": loss.detach()}

    monkeypatch.setattr(cuda_graphs, "record", record)
    batch = (torch.ones(4, 3), torch.zeros(4, dtype=torch.int64))
    replayed = CUDAGraphStep(compute, net)
    for _ in range(3):  # launched, recorded, replayed
        replayed(batch)
    assert len(recordings) == 1
    net[0].requires_grad_(unfrozen)
    replayed.discard_if_unfrozen()
    for _ in range(3):
        replayed(batch)
    assert len(recordings) == 1 + recorded_again


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("option", ["cuda_graphs", "compile"])
@pytest.mark.parametrize("overrides", [*KINDS_OF_RUNS, ["num_replicas=2", "model.dropout=0.2"]])
def test_graph_on_a_gpu_equals_launching_there(overrides, option, train):
    torch.compiler.reset()  # what other cases compiled counts against a limit
    overrides = ["trainer.accelerator=gpu", "trainer.max_epochs=2", *overrides]
    if option == "compile":  # compiled kernels draw dropout from random numbers of their own
        overrides.append("model.dropout=0")
    launched = train(*overrides)
    replayed = train(*overrides, f"{option}=true")
    torch.testing.assert_close(
        torch.tensor(replayed.steps["train/loss"]),
        torch.tensor(launched.steps["train/loss"]),
        rtol=1e-2,  # kernels of another choice add in another order
        atol=1e-2,
    )
