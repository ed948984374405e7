"""Callbacks that OptLab adds to every run in code, because its results depend on them."""

import random
import warnings
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from optlab.optim import SAM
from optlab.seeds import epoch_seed


def seed_generators(seed: int) -> None:
    """Seed the global generators of torch, NumPy and Python: a user's class may draw from any."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


class SeedEpochs(Callback):
    """Seeds each epoch from (seed, epoch), so that a resumed run draws the same numbers.

    A DataLoader that shuffles draws its order when `iter` is called. Lightning calls it before this
    hook for the first epoch of a process, and after it for every later epoch. Calling it again here
    gives an epoch the same order in a fresh and in a resumed run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._is_first_epoch = True

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        seed_generators(epoch_seed(self.seed, trainer.current_epoch))
        if self._is_first_epoch and trainer.fit_loop._data_fetcher is not None:
            iter(trainer.fit_loop._data_fetcher)
        self._is_first_epoch = False


class UnfreezeBody(Callback):
    """Calls `set_epoch` of a network that has it, so that it can unfreeze its body."""

    def __init__(self, net: Any) -> None:
        self.net = net

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # A frozen body is in eval mode on purpose
        warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.net.set_epoch(trainer.current_epoch)


class OptimizerModes(Callback):
    """Switches optimizers that have `train` and `eval`, as schedule-free ones do.

    They use different weights for gradients and for evaluation. This callback switches to the
    evaluation weights before validation and before a checkpoint, and back afterwards.
    """

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._switch(trainer, "train")

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._switch(trainer, "eval")

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        loop = trainer.fit_loop.epoch_loop
        if not (loop._num_ready_batches_reached() or trainer.should_stop):
            self._switch(trainer, "train")  # the epoch continues

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._switch(trainer, "eval")

    @staticmethod
    def _switch(trainer: L.Trainer, mode: str) -> None:
        for optimizer in trainer.optimizers:
            switch = getattr(optimizer, mode, None)
            if callable(switch):
                switch()


class AttachNetworkToSAM(Callback):
    """Pass the network to SAM, whose second pass must not change batch-norm statistics."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for optimizer in trainer.optimizers:
            if isinstance(optimizer, SAM):
                optimizer.watch(pl_module)


def backward_with_graph(loss: Tensor) -> None:
    """Compute gradients that can be differentiated; replaces LightningModule.backward."""
    loss.backward(create_graph=True)


class ReleaseGraph(Callback):
    """Frees the last graph of `create_graph=True`, which is a reference cycle."""

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        warnings.filterwarnings("ignore", message=".*backward.. with create_graph=True")

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        pl_module.zero_grad()


class StopAtMaxSteps(Callback):
    """Ends a run at `trainer.max_steps` with a validation, so that its last weights are judged."""

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step >= trainer.max_steps:
            trainer.should_stop = True


class ValidateAtEpochEnd(Callback):
    """Adds a validation at the end of each epoch to those of `trainer.val_check_interval`.

    epochs.csv, the best epoch and the record need a validation there, and Lightning has one only if
    the interval divides the number of batches.
    """

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._interval = trainer.val_check_batch  # batches

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if trainer.is_last_batch:
            trainer.val_check_batch = batch_idx + 1

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        trainer.val_check_batch = self._interval


class CheckClosureFirst(Callback):
    """Reject optimizers that update the weights before they call their closure.

    Such a class, for example some versions of SAM, expects gradients to exist when `step` is
    called. In a run these are the gradients of the previous batch, so its result would be wrong.
    """

    NUM_STEPS = 3  # at the first step there are no old gradients to move by

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._last_step = trainer.global_step + self.NUM_STEPS
        self._before: list[int] = []

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if pl_module.automatic_optimization and trainer.global_step < self._last_step:
            self._before = _versions(pl_module)

    def on_before_backward(
        self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Tensor
    ) -> None:
        if self._before and self._before != _versions(pl_module):
            raise ValueError(
                f"{type(trainer.optimizers[0]).__name__} updates the weights before it calls its "
                "closure, with the gradients of the previous batch, which gives wrong results."
                "\n\nhint: call closure() first in step(self, closure); it computes the gradients"
            )
        self._before = []  # later calls within a step may follow a move


def _versions(module: L.LightningModule) -> list[int]:
    """Return torch's version counter of each parameter, which every in-place change increases."""
    return [parameter._version for parameter in module.parameters()]
