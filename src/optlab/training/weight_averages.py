"""Averages of a run's weights, and batch-norm statistics that fit them.

Lightning's `EMAWeightAveraging` (callbacks=ema) and the two classes here average the weights while
an optimizer trains. Validation, test and checkpoints use the average; training does not see it.
"""

import math
import time
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, WeightAveraging
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from optlab.ranges import check
from optlab.training.clock import synchronize
from optlab.training.evaluate import pair

# Training images that statistics are taken from. Running statistics with torch's momentum of 0.1
# remember 19 batches, 1,216 images in batches of 64.
BATCH_NORM_IMAGES = 4_096


class _StepAverage(WeightAveraging):
    """Weight average that starts after some steps; until then it equals the current weights."""

    def __init__(self, every_n_steps: int | None) -> None:
        super().__init__(use_buffers=False)
        check("callbacks.average.every_n_steps", every_n_steps, ">= 1")
        self.every_n_steps = every_n_steps

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        batches = trainer.num_training_batches
        self._every = self.every_n_steps or max(1, int(batches // trainer.accumulate_grad_batches))

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._follow(pl_module)
        super().on_validation_epoch_start(trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._follow(pl_module)
        super().on_train_end(trainer, pl_module)

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._follow(pl_module)
        super().on_save_checkpoint(trainer, pl_module, checkpoint)

    def _follow(self, module: L.LightningModule) -> None:
        """Use the current weights until averaging starts; Lightning would use the initial ones."""
        average = self._average_model
        if average is not None and not average.n_averaged:
            average.module.load_state_dict(module.state_dict())


class SWA(_StepAverage):
    """Average the weights of the last part of a run with equal weighting.

    Source: Izmailov et al. 2018, arXiv:1803.05407, algorithm 1, with any learning-rate schedule.
    Unlike Lightning's StochasticWeightAveraging, it counts optimizer steps and leaves the learning
    rate unchanged.
    """

    def __init__(self, start: float = 0.75, every_n_steps: int | None = None) -> None:
        """
        Args:
            start: share of the run's optimizer steps before the first weights are averaged, in
                [0, 1).
            every_n_steps: optimizer steps between two updates of the average; None for one update
                per epoch.
        """
        super().__init__(every_n_steps)
        check("callbacks.average.start", start, "in [0, 1)")
        self.start = start

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._first = self.start * trainer.estimated_stepping_batches

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Whether the weights after the optimizer step `step_idx` (from 0) enter the average."""
        if step_idx is None:
            return False
        return step_idx + 1 > self._first and (step_idx + 1) % self._every == 0


class LAWA(_StepAverage):
    """Average the latest k weights of a run, taken every `every_n_steps` optimizer steps.

    Source: Kaddour 2022, arXiv:2209.14981, section 2, which averages the ends of k epochs.
    """

    def __init__(self, k: int = 5, every_n_steps: int | None = None) -> None:
        """
        Args:
            k: number of weights to average, at least 2; as many copies are kept in memory.
            every_n_steps: optimizer steps between two of them; None for once per epoch.
        """
        super().__init__(every_n_steps)
        check("callbacks.average.k", k, ">= 2")
        self._latest: deque[list[Tensor]] = deque(maxlen=k)

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Whether the weights after the optimizer step `step_idx` (from 0) enter the average."""
        return step_idx is not None and (step_idx + 1) % self._every == 0

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        updated = self._latest_update_step
        super().on_train_batch_end(trainer, pl_module, *_)
        if self._latest_update_step == updated:
            return
        assert self._average_model is not None
        self._latest.append([each.detach().clone() for each in pl_module.parameters()])
        averages = self._average_model.module.parameters()
        for average, latest in zip(averages, zip(*self._latest, strict=True), strict=True):
            average.data.copy_(torch.stack(latest).mean(dim=0))

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "latest": list(self._latest)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._latest.extend(state_dict["latest"])


class RecomputeBatchNorm(Callback):
    """Recompute batch-norm statistics before validating averaged or schedule-free weights.

    The running statistics belong to the weights at which gradients are computed. Averaged weights,
    or the weights that a schedule-free optimizer evaluates, need their own. They are computed from
    training images without augmentation. Frozen layers are not changed. Runs without such weights
    keep their running statistics.
    """

    def __init__(self) -> None:
        self.time_s = 0.0  # not part of the training time
        self._step = 0  # optimizer steps when statistics were last taken

    def state_dict(self) -> dict[str, Any]:
        return {"time_s": self.time_s}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.time_s = state_dict["time_s"]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        self._averages = [each for each in callbacks if isinstance(each, WeightAveraging)]
        switches = any(callable(getattr(each, "eval", None)) for each in trainer.optimizers)
        self._layers = trained_batch_norms(pl_module) if self._averages or switches else []

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # After WeightAveraging has put its average in place: it comes earlier in the list
        if not trainer.sanity_checking and trainer.state.fn == "fit":
            self._recompute(trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.global_step != self._step:  # trained on since the last validation
            self._recompute(trainer, pl_module)

    def _recompute(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        models = [each._average_model for each in self._averages]
        has_begun = all(each is not None and each.n_averaged for each in models)
        if not self._layers or not has_begun:
            return
        start_s = time.perf_counter()
        precision = trainer.precision_plugin
        with torch.no_grad(), torch.random.fork_rng([]), precision.forward_context():
            batches = (
                precision.convert_input(pair(batch)[0].to(module.device))
                for batch in _batches(trainer)
            )
            recompute_batch_norm(module, self._layers, batches)
        synchronize(module.device)
        self.time_s += time.perf_counter() - start_s
        self._step = trainer.global_step


def _batches(trainer: L.Trainer) -> Iterable[Any]:
    """Return training images without augmentation, or as in training if there is no such loader."""
    datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
    if hasattr(datamodule, "train_eval_dataloader"):
        batches: Iterable[Any] = datamodule.train_eval_dataloader(max_images=BATCH_NORM_IMAGES)
        return batches
    loader = datamodule.train_dataloader()
    return islice(loader, math.ceil(BATCH_NORM_IMAGES / len(pair(next(iter(loader)))[1])))


def trained_batch_norms(module: nn.Module) -> list[_BatchNorm]:
    """Return the batch-norm layers whose running statistics change in training.

    Args:
        module: in training mode, where frozen layers are in eval mode.
    """
    layers = (each for each in module.modules() if isinstance(each, _BatchNorm))
    return [each for each in layers if each.training and each.track_running_stats]


def recompute_batch_norm(
    module: nn.Module, layers: Sequence[_BatchNorm], batches: Iterable[Tensor]
) -> None:
    """Set running statistics to the mean over all batches; other layers stay in eval mode.

    `torch.optim.swa_utils.update_bn` would also update frozen layers, and with active dropout.

    Args:
        module: the network; it is left in eval mode.
        layers: its batch-norm layers to update.
        batches: images (B, C, H, W), on its device.
    """
    module.eval()
    momenta = [each.momentum for each in layers]
    for each in layers:
        each.reset_running_stats()
        each.momentum = None  # a cumulative mean
        each.train()
    for images in batches:
        module(images)
    for each, momentum in zip(layers, momenta, strict=True):
        each.momentum = momentum
        each.eval()
