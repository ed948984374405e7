"""What an optimizer costs, by a clock that moves as told."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from optlab.training import optimizer_cost
from optlab.training.optimizer_cost import SAMPLED, SKIPPED, OptimizerCost, state_bytes

DATA_S, EVALUATION_S, UPDATE_S = 2.0, 1.0, 3.0  # whole seconds: sums of them are exact


@pytest.fixture
def now(monkeypatch):
    """The time, in seconds; tests move it."""
    clock = SimpleNamespace(s=0.0)
    monkeypatch.setattr(optimizer_cost.time, "perf_counter", lambda: clock.s)
    return clock


class TwoPass(torch.optim.SGD):
    """Evaluates the loss twice in a step, as SAM does."""

    def step(self, closure=None):
        closure()
        closure()
        self.now.s += UPDATE_S
        return closure


class OwnPass(torch.optim.SGD):
    """Is called when the gradients are there, as by a gradient scaler."""

    def step(self, closure=None):
        self.now.s += UPDATE_S


def epoch(cost, optimizer, now, num_steps, call):
    """Train for an epoch as far as the callback sees it; validation is after the first half."""
    module = SimpleNamespace(device=torch.device("cpu"))
    loop = SimpleNamespace(epoch_loop=None)
    trainer = SimpleNamespace(optimizers=[optimizer], fit_loop=loop)

    def closure():
        now.s += EVALUATION_S

    cost.on_train_epoch_start(trainer, module)
    for _ in range(num_steps):
        now.s += DATA_S
        call(optimizer, closure)
    cost.on_validation_start(trainer, module)
    now.s += 100.0
    cost.on_train_epoch_end(trainer, module)
    return cost


@pytest.mark.parametrize(
    ("kind", "call", "evaluations", "share"),
    [
        # By keyword, as the lean loop and Lightning do it, and by position
        (TwoPass, lambda one, closure: one.step(closure=closure), 2, 3 / (2 + 1 + 1 + 3)),
        (TwoPass, lambda one, closure: one.step(closure), 2, 3 / (2 + 1 + 1 + 3)),
        (OwnPass, lambda one, closure: (closure(), one.step()), 1, 3 / (2 + 1 + 3)),
    ],
)
def test_share_is_the_step_without_its_evaluations(kind, call, evaluations, share, now):
    kind.now = now
    optimizer = kind(nn.Linear(3, 2).parameters(), lr=0.1)
    cost = OptimizerCost()
    for _ in range(2):
        epoch(cost, optimizer, now, 20, call)
    assert cost.shares == [share] * 2 * SAMPLED
    assert (cost.share, cost.evaluations_per_step) == (share, evaluations)
    assert not optimizer._optimizer_step_pre_hooks  # nothing is left of it


def test_validation_is_no_part_of_a_step(now):
    TwoPass.now = now
    optimizer = TwoPass(nn.Linear(3, 2).parameters(), lr=0.1)
    cost = OptimizerCost()

    def validates(one, closure):
        if cost._num_steps % 2:
            cost.on_validation_start(None, None)
            now.s += 100.0
        one.step(closure=closure)

    epoch(cost, optimizer, now, 20, validates)
    assert set(cost.shares) == {3 / (2 + 1 + 1 + 3)}


def test_epoch_that_ends_before_a_step_was_timed_says_nothing(now):
    TwoPass.now = now
    optimizer = TwoPass(nn.Linear(3, 2).parameters(), lr=0.1)
    call = lambda one, closure: one.step(closure=closure)  # noqa: E731
    cost = epoch(OptimizerCost(), optimizer, now, SKIPPED, call)
    assert (cost.share, cost.evaluations_per_step) == (None, None)


@pytest.mark.parametrize(
    ("kind", "options", "num_bytes"),
    [
        (torch.optim.SGD, {}, 0),
        (torch.optim.SGD, {"momentum": 0.9}, 8 * 4),  # of 8 weights in float32
        (torch.optim.Adam, {}, 2 * 8 * 4 + 2 * 4),  # two moments, and a step count a tensor
    ],
)
def test_state_is_the_tensors_that_are_kept(kind, options, num_bytes):
    net = nn.Linear(3, 2)
    optimizer = kind(net.parameters(), lr=0.1, **options)
    assert state_bytes([optimizer]) == 0
    net(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    assert state_bytes([optimizer]) == num_bytes
