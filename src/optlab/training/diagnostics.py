"""Measure each layer during training: updates and their angles, gradients, dead units."""

import math
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.optim import Optimizer

from optlab.ranges import check
from optlab.runs.folder import DIAGNOSTIC_COLUMNS, RunFolder
from optlab.training.clock import TrainingClock
from optlab.training.csv_metrics import append_rows, keep_rows
from optlab.training.evaluate import pair

WHOLE_NETWORK = "network"  # in the column `layer`
RADIUS = 0.05  # of the neighborhood for sharpness, the default of Foret et al. 2021


class Diagnostics(Callback):
    """Measure two successive optimizer steps at intervals, and the curvature at the end.

    Writes `diagnostics.csv` with one row per epoch, layer and quantity (the mean over the measured
    steps), and logs the same numbers:

    - `update_ratio`: norm of the update divided by the norm of the weights.
    - `gradient_norm`: norm of the gradient of the batch loss, before clipping.
    - `update_angle`: degrees between two successive updates, in [0, 180].
    - `dead_units`: share of the units of a ReLU that are zero for the whole batch; in a
      convolutional layer, a unit is a channel.
    - `top_eigenvalue`: largest eigenvalue of the Hessian of the training loss, at the end.
    - `sharpness`: maximum increase of the training loss within a radius of 0.05, to first order
      (Foret et al. 2021, arXiv:2010.01412, equation 2), at the end.
    - `seconds` and `curvature_seconds`: time of these measurements, not part of the training time.

    Layers are the parameters with at least two dimensions.
    """

    def __init__(
        self,
        dirpath: str,
        every_n_steps: int = 100,
        hessian_images: int = 1000,
        power_iterations: int = 30,
    ) -> None:
        """
        Args:
            dirpath: folder of the run.
            every_n_steps: optimizer steps between two measurements, at least 2.
            hessian_images: training images that curvature is computed on; 0 skips it.
            power_iterations: maximum number of iterations to find the largest eigenvalue.
        """
        check("callbacks.diagnostics.every_n_steps", every_n_steps, ">= 2")
        self.path = RunFolder(Path(dirpath)).diagnostics
        self.every_n_steps = every_n_steps
        self.hessian_images = hessian_images
        self.power_iterations = power_iterations
        self._begin_epoch()

    def _begin_epoch(self) -> None:
        self._values: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._before: list[Tensor] = []  # weights before the measured step
        self._last_updates: list[Tensor] = []
        self._seconds = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.hessian_images and not hasattr(trainer.datamodule, "train_eval_dataloader"):  # type: ignore[attr-defined]
            raise ValueError(
                f"callbacks.diagnostics.hessian_images is {self.hessian_images}, but the data "
                "module has no train_eval_dataloader.\n\n"
                "hint: callbacks.diagnostics.hessian_images=0 skips the curvature"
            )
        self._layers = {name: each for name, each in pl_module.named_parameters() if each.ndim >= 2}
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        (self._clock,) = (each for each in callbacks if isinstance(each, TrainingClock))
        if trainer.is_global_zero:
            keep_rows(self.path, DIAGNOSTIC_COLUMNS, "step", trainer.global_step)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._begin_epoch()

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step % self.every_n_steps > 1 or self._before:
            return
        with self._outside_training_time(pl_module):
            self._before = [each.detach().clone() for each in self._layers.values()]
            self._hooks = [
                module.register_forward_hook(self._count_dead(name))
                for name, module in pl_module.named_modules()
                if isinstance(module, nn.ReLU)
            ]

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer
    ) -> None:
        if not self._before:
            return
        for hook in self._hooks:  # later evaluations of the step see other weights
            hook.remove()
        with self._outside_training_time(pl_module):
            for name, each in self._layers.items():
                if each.grad is not None:
                    self._values["gradient_norm", name].append(each.grad.norm().item())

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        step = trainer.global_step
        if not self._before or (step - 1) % self.every_n_steps > 1:
            return
        with self._outside_training_time(pl_module):
            updates = [
                each.detach() - before
                for each, before in zip(self._layers.values(), self._before, strict=True)
            ]
            for index, (name, before) in enumerate(zip(self._layers, self._before, strict=True)):
                norm = before.norm().item()
                if norm:
                    ratio = updates[index].norm().item() / norm
                    self._values["update_ratio", name].append(ratio)
                if self._last_updates:
                    cosine = F.cosine_similarity(
                        updates[index].flatten(), self._last_updates[index].flatten(), dim=0
                    )
                    angle = math.degrees(math.acos(max(-1.0, min(1.0, cosine.item()))))
                    self._values["update_angle", name].append(angle)
            is_first = (step - 1) % self.every_n_steps == 0
            self._last_updates = updates if is_first else []
            self._before = []

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for hook in getattr(self, "_hooks", []):
            hook.remove()
        self._values["seconds", WHOLE_NETWORK] = [self._seconds]
        self._write(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not self.hessian_images:
            return
        start_s = time.perf_counter()
        self._begin_epoch()
        datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
        batches = list(map(pair, datamodule.train_eval_dataloader(max_images=self.hessian_images)))
        images, labels = (
            torch.cat(parts).to(pl_module.device) for parts in zip(*batches, strict=True)
        )
        pl_module.eval()
        with torch.enable_grad():
            found = curvature(pl_module, images, labels, self.power_iterations)
        for quantity, value in zip(("top_eigenvalue", "sharpness"), found, strict=True):
            self._values[quantity, WHOLE_NETWORK] = [value]
        self._values["curvature_seconds", WHOLE_NETWORK] = [time.perf_counter() - start_s]
        self._write(trainer, epoch=trainer.current_epoch)

    def _write(self, trainer: L.Trainer, epoch: int | None = None) -> None:
        if not trainer.is_global_zero:
            return
        step = trainer.global_step
        epoch = trainer.current_epoch + 1 if epoch is None else epoch
        means = {key: sum(each) / len(each) for key, each in self._values.items() if each}
        append_rows(self.path, [(epoch, step, *key, means[key]) for key in sorted(means)])
        metrics = {"/".join(("diagnostics", *key)): value for key, value in means.items()}
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=step)

    def _count_dead(self, name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            if not self._before:
                return
            units = output.detach().transpose(0, 1).flatten(start_dim=1)  # (units, the rest)
            self._values["dead_units", name].append((units <= 0).all(1).float().mean().item())

        return hook

    @contextmanager
    def _outside_training_time(self, module: L.LightningModule) -> Iterator[None]:
        """Run this block without gradients and without counting it as training time."""
        with self._clock.stopped(module), torch.no_grad():
            start_s = time.perf_counter()
            yield
            self._seconds += time.perf_counter() - start_s


def curvature(
    module: nn.Module, images: Tensor, labels: Tensor, power_iterations: int
) -> tuple[float, float]:
    """Return the top eigenvalue of the Hessian of the mean cross-entropy, and the sharpness.

    The eigenvalue is the one of the largest magnitude, by power iteration on Hessian-vector
    products (Pearlmutter 1994, doi:10.1162/neco.1994.6.1.147).

    Args:
        module: maps images to logits; its weights are not changed.
        images: (N, C, H, W).
        labels: (N,).
        power_iterations: maximum number; stops when the eigenvalue changes by less than 0.1 %.
    """
    parameters = [each for each in module.parameters() if each.requires_grad]
    loss = F.cross_entropy(module(images), labels)
    gradients = torch.autograd.grad(loss, parameters, create_graph=True, materialize_grads=True)
    generator = torch.Generator().manual_seed(0)
    vector = [torch.randn(each.shape, generator=generator).to(each) for each in parameters]
    eigenvalue = 0.0
    for _ in range(power_iterations):
        length = _norm(vector)
        vector = [each / length for each in vector]
        product = torch.autograd.grad(
            gradients, parameters, vector, retain_graph=True, materialize_grads=True
        )
        last, eigenvalue = eigenvalue, _dot(vector, product).item()
        if abs(eigenvalue - last) <= 1e-3 * abs(eigenvalue):
            break
        vector = list(product)
    step = RADIUS / max(_norm(gradients).item(), 1e-12)
    before = [each.detach().clone() for each in parameters]
    with torch.no_grad():
        for each, gradient in zip(parameters, gradients, strict=True):
            each.add_(gradient, alpha=step)
        risen = F.cross_entropy(module(images), labels)
        for each, old in zip(parameters, before, strict=True):
            each.copy_(old)
    return eigenvalue, (risen - loss).item()


def _dot(some: Sequence[Tensor], others: Sequence[Tensor]) -> Tensor:
    return torch.stack([(a * b).sum() for a, b in zip(some, others, strict=True)]).sum()


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    return _dot(tensors, tensors).sqrt()
