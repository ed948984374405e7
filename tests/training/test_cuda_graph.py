"""Replayed passes against launched ones. Where there is no GPU, a stand-in records and replays.

The stand-in keeps the rules of a CUDA graph: it notes every kernel with the memory that it reads
and writes, runs the same kernels on the same memory again, and refuses to look at a number.
"""

from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from optlab.data.loader import Batch
from optlab.training import build, cuda_graph
from optlab.training.classifier import ImageClassifier
from optlab.training.cuda_graph import ReplayedPass

NUM_STEPS_AN_EPOCH = 21
LOOKS = {"aten._local_scalar_dense", "aten.nonzero", "aten.is_nonzero", "aten.equal"}


KINDS_OF_RUNS = [
    ["optimizer=adam", "model.dropout=0.2", "model.batch_norm=true"],
    ["optimizer=sgd", "trainer.gradient_clip_norm=0.1", "scheduler=cosine"],
    ["optimizer=adamw", "trainer.precision=bf16-mixed", "label_smoothing=0.1"],
    ["optimizer=rmsprop", "trainer.accumulate_grad_batches=2", "model.batch_norm=true"],
    ["optimizer=schedule_free", "trainer.precision=64-true"],
    ["optimizer=muon", "model=cnn", "model.filters=[2,4]"],
    ["optimizer=adafactor", "data.augment.rotation_degrees=10"],
    ["optimizer=lbfgs", "data.batch_size=256", "optimizer.max_iter=3"],
    ["optimizer=nadam", "trainer.max_steps=30"],
]


class Recorder(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.kernels = []

    def __torch_dispatch__(self, kernel, types, args=(), kwargs=None):
        assert str(kernel.overloadpacket) not in LOOKS, f"{kernel} waits for the device"
        result = kernel(*args, **(kwargs or {}))
        self.kernels.append((kernel, args, kwargs or {}, result))
        return result

    @torch.no_grad()
    def replay(self):
        for kernel, args, kwargs, result in self.kernels:
            again = kernel(*args, **kwargs)
            for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


def record_on_cpu(compute):
    compute()  # a warm-up, which makes the gradients
    with Recorder() as recorder:
        result = compute()
    return recorder.replay, result


@pytest.fixture
def train_replayed(train, monkeypatch, tmp_path):
    """Trains with replayed passes; `counted.passes` are those that Python went through."""
    counted = SimpleNamespace(passes=0)
    one_pass = ImageClassifier._pass

    def counting(self, batches):
        counted.passes += 1
        return one_pass(self, batches)

    def trained(*overrides):
        with monkeypatch.context() as patch:
            patch.setattr(build, "graphed", lambda config: True)
            patch.setattr(cuda_graph, "record", record_on_cpu)
            patch.setattr(ImageClassifier, "_pass", counting)
            return train(*overrides, f"outputs={tmp_path / 'replayed'}")

    trained.counted = counted
    return trained


@pytest.mark.parametrize("overrides", KINDS_OF_RUNS)
def test_replayed_run_equals_the_launched_one(overrides, train, train_replayed):
    overrides = ["trainer.max_epochs=2", *overrides]
    train_replayed(*overrides).assert_equals(train(*overrides))


def test_only_the_recordings_go_through_python(train_replayed):
    train_replayed("trainer.max_epochs=2")
    shapes = 2  # of full batches, and of the last one
    assert train_replayed.counted.passes == shapes * 2  # a warm-up and a recording


def test_replayed_replicas_equal_launched_ones(train, train_replayed, make_config):
    overrides = ("num_replicas=2", "model.batch_norm=true", "trainer.max_epochs=2")
    replayed, launched = train_replayed(*overrides), train(*overrides)
    for seed in (0, 1):
        folders = [next(run.folder.parent.glob(f"*seed{seed}*")) for run in (replayed, launched)]
        steps = [(folder / "steps.csv").read_text() for folder in folders]
        assert steps[0] == steps[1]
        assert len(steps[0].splitlines()) == 1 + 2 * NUM_STEPS_AN_EPOCH


def test_recording_leaves_no_trace():
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2), torch.nn.Dropout())
    seen = []

    def record(compute):
        seen.append(compute())
        return lambda: None, seen[-1]

    def compute(batches):
        logits = net(batches[0].images)
        return logits.sum().detach(), [logits.detach()]

    batch = Batch(torch.rand(4, 3), torch.zeros(4, dtype=torch.int64), 4)
    before = {name: buffer.clone() for name, buffer in net.named_buffers()}
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuda_graph, "record", record)
        ReplayedPass(compute, net)([batch])
    assert torch.equal(torch.rand(1), expected)
    for name, buffer in net.named_buffers():
        assert torch.equal(buffer, before[name])
    assert len(seen) == 1


@pytest.mark.parametrize(("unfrozen", "recorded_again"), [(False, False), (True, True)])
def test_pass_is_recorded_again_only_when_other_weights_are_trained(unfrozen, recorded_again):
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

    batch = Batch(torch.ones(4, 3), torch.zeros(4, dtype=torch.int64), 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuda_graph, "record", record)
        replayed = ReplayedPass(compute, net)
        replayed([batch])
        net[0].requires_grad_(unfrozen)
        replayed.follow_unfreezing()
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
