"""Measure the training time of a run, without evaluation, logging and compilation."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback


class TrainingClock(Callback):
    """Run while batches are trained on; synchronize the device at each start and stop."""

    def __init__(self) -> None:
        self.train_time_s = 0.0
        self._start_s: float | None = None  # clock reading while it runs

    def state_dict(self) -> dict[str, Any]:
        return {"train_time_s": self.train_time_s}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.train_time_s = state_dict["train_time_s"]

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._start(pl_module)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._stop(pl_module)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        if not (trainer.fit_loop.epoch_loop._num_ready_batches_reached() or trainer.should_stop):
            self._start(pl_module)  # the epoch continues

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._stop(pl_module)

    @contextmanager
    def stopped(self, pl_module: L.LightningModule) -> Iterator[None]:
        """Stop the clock while this block runs."""
        was_running = self._start_s is not None
        self._stop(pl_module)
        yield
        if was_running:
            self._start(pl_module)

    def _start(self, pl_module: L.LightningModule) -> None:
        synchronize(pl_module.device)
        self._start_s = time.perf_counter() - compiling_s()

    def _stop(self, pl_module: L.LightningModule) -> None:
        if self._start_s is not None:
            synchronize(pl_module.device)
            self.train_time_s += time.perf_counter() - compiling_s() - self._start_s
            self._start_s = None


def synchronize(device: torch.device) -> None:
    """Wait until the device has completed all queued work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def compiling_s() -> float:
    """Return the seconds that this process has spent in torch.compile, mostly in its first run."""
    dynamo = sys.modules.get("torch._dynamo.utils")
    spent = dynamo.calculate_time_spent() if dynamo else {}
    return float(spent.get("total_wall_time", 0.0))
