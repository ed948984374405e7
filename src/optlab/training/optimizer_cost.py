"""Measure the cost of an optimizer: its share of a step, evaluations of the loss, state."""

import time
from collections.abc import Callable, Iterable
from statistics import fmean, median
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.optim import Optimizer
from torch.utils._pytree import tree_leaves

from optlab.training.clock import synchronize
from optlab.training.cuda_graphs import CUDAGraphLoop

SKIPPED, SAMPLED = 3, 5  # steps at the start of each epoch: skipped as warm-up, then timed

TimePoint = float | torch.cuda.Event  # a moment, in the time of the device


class OptimizerCost(Callback):
    """Measure the optimizer's share of the step time in a few steps of every epoch.

    A step lasts from the end of the previous one to its own end. The optimizer's share is the time
    in `Optimizer.step` minus the time in its closure, which runs the forward and backward pass. On
    CUDA, times are measured with events, which do not synchronize. The optimizer has hooks only in
    the timed steps, and they do not change its results.
    """

    def __init__(self) -> None:
        self.shares: list[float] = []
        self.evaluations: list[int] = []
        self._hooks: list[Any] = []
        # Start, start and end of each evaluation, end of the step; end of the step before
        self._timed: list[
            tuple[TimePoint, TimePoint, list[tuple[TimePoint, TimePoint]], TimePoint]
        ] = []

    @property
    def share(self) -> float | None:
        """The optimizer's share of the step time, median over timed steps; None without any."""
        return median(self.shares) if self.shares else None

    @property
    def evaluations_per_step(self) -> float | None:
        """Forward and backward passes per step: 1, except for L-BFGS and two-pass optimizers."""
        return fmean(self.evaluations) if self.evaluations else None

    def state_dict(self) -> dict[str, Any]:
        return {"shares": list(self.shares), "evaluations": list(self.evaluations)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.shares, self.evaluations = state_dict["shares"], state_dict["evaluations"]

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._remove_hooks()
        self._timed.clear()
        self._num_steps = 0
        self._previous: TimePoint | None = None
        self._device = pl_module.device
        # With several optimizers, the module decides which one steps; a graph replays a whole step
        is_replayed = isinstance(trainer.fit_loop.epoch_loop, CUDAGraphLoop)
        if len(trainer.optimizers) == 1 and not is_replayed:
            (optimizer,) = trainer.optimizers
            self._hooks = [
                optimizer.register_step_pre_hook(self._before_step),
                optimizer.register_step_post_hook(self._after_step),
            ]

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._previous = None  # validation is not part of a step

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._remove_hooks()
        synchronize(pl_module.device)
        for start, previous, evaluations, end in self._timed:
            inside = sum(_seconds(*each) for each in evaluations)
            self.shares.append((_seconds(start, end) - inside) / _seconds(previous, end))
            # A gradient scaler evaluates before it calls the optimizer
            self.evaluations.append(len(evaluations) or 1)
        self._timed.clear()

    def _before_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        self._num_steps += 1
        if self._num_steps <= SKIPPED:
            return None
        self._evaluations: list[tuple[TimePoint, TimePoint]] = []
        self._start = self._now()
        if callable(kwargs.get("closure")):
            return args, {**kwargs, "closure": self._timed_closure(kwargs["closure"])}
        if len(args) > 1 and callable(args[1]):  # args[0] is the optimizer
            return (args[0], self._timed_closure(args[1]), *args[2:]), kwargs
        return None

    def _timed_closure(self, closure: Callable[[], Any]) -> Callable[[], Any]:
        def timed() -> Any:
            start = self._now()
            loss = closure()
            self._evaluations.append((start, self._now()))
            return loss

        return timed

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if self._num_steps < SKIPPED:
            return
        end = self._now()
        if self._num_steps > SKIPPED and self._previous is not None:
            self._timed.append((self._start, self._previous, self._evaluations, end))
        self._previous = end
        if self._num_steps == SKIPPED + SAMPLED:
            self._remove_hooks()

    def _remove_hooks(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def _now(self) -> TimePoint:
        if self._device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            return event
        synchronize(self._device)
        return time.perf_counter()


def _seconds(start: TimePoint, end: TimePoint) -> float:
    if isinstance(start, float) and isinstance(end, float):
        return end - start
    assert isinstance(start, torch.cuda.Event)
    assert isinstance(end, torch.cuda.Event)
    return float(start.elapsed_time(end)) / 1000


def state_bytes(optimizers: Iterable[Optimizer]) -> int:
    """Return the bytes of all tensors that optimizers keep from step to step."""
    leaves = tree_leaves([optimizer.state_dict() for optimizer in optimizers])
    tensors = {id(each): each for each in leaves if isinstance(each, Tensor)}
    return sum(each.numel() * each.element_size() for each in tensors.values())
