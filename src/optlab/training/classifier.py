"""The LightningModule `ImageClassifier` computes the loss of a batch and makes the optimizer."""

from collections.abc import Callable
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from optlab.optim import param_groups
from optlab.optim.schedules import build_scheduler
from optlab.training.metrics import ClassificationMetrics


class ImageClassifier(L.LightningModule):
    """Train a network with cross-entropy, for any image data set and any optimizer."""

    def __init__(
        self,
        net: nn.Module,
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[..., LRScheduler] | None = None,
        *,
        num_classes: int,
        label_smoothing: float = 0.0,
        decay_norm_and_bias: bool = True,
    ) -> None:
        """
        Args:
            net: maps images of shape (B, C, H, W) to logits of shape (B, num_classes).
            optimizer: callable that takes parameter groups and returns the optimizer, such as a
                `functools.partial` (`_partial_: true` in the config).
            scheduler: callable that takes the optimizer and `total_steps`, the optimizer steps of
                the whole run, and returns the scheduler. None keeps the learning rate constant.
            num_classes: number of classes.
            label_smoothing: probability mass spread over all classes in training, in [0, 1).
            decay_norm_and_bias: whether weight decay applies to biases and normalization as well.
        """
        super().__init__()
        self.save_hyperparameters(ignore=["net", "optimizer", "scheduler"])
        self.net = net
        self.label_smoothing = label_smoothing
        self.decay_norm_and_bias = decay_norm_and_bias
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        # LearningRateFinder reads and sets self.lr; `optimizer` is a functools.partial
        self.lr: float | None = getattr(optimizer, "keywords", {}).get("lr")
        self.val_metrics = ClassificationMetrics(num_classes)
        self.test_metrics = ClassificationMetrics(num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)  # (B, C, H, W) -> (B, num_classes)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        try:
            images, labels = batch
            logits = self(images)
            loss = F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        except Exception as error:  # torch's message does not name the batch or the labels
            check_batch(batch, self.val_metrics.num_classes, error)
            raise
        # The CSVMetrics callback records both. self.log would take a third of a small step's time
        return {"loss": loss, "logits": logits.detach()}

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        images, labels = batch
        self.val_metrics.update(self(images), labels)

    def on_validation_epoch_end(self) -> None:
        self._log("val", self.val_metrics)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, labels = batch
        logits = self(images)
        self.test_metrics.update(logits, labels)
        return logits

    def on_test_epoch_end(self) -> None:
        self._log("test", self.test_metrics)

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, _ = batch
        return self(images).softmax(dim=-1)  # (B, num_classes) probabilities

    def configure_optimizers(self) -> Any:
        lr = {} if self.lr is None else {"lr": self.lr}
        optimizer = self.make_optimizer(self.param_groups(), **lr)
        if self.make_scheduler is None:
            return optimizer
        total_steps = int(self.trainer.estimated_stepping_batches)
        scheduler = build_scheduler(self.make_scheduler, optimizer, total_steps)
        # ReduceLROnPlateau is stepped once per epoch, after validation and before the checkpoint
        on_plateau = isinstance(scheduler, ReduceLROnPlateau)
        frequency = int(self.trainer.num_training_batches) if on_plateau else 1
        lr_scheduler = {"scheduler": scheduler, "interval": "step", "frequency": frequency}
        return {"optimizer": optimizer, "lr_scheduler": {**lr_scheduler, "monitor": "val/loss"}}

    def param_groups(self) -> list[dict[str, Any]]:
        """Return parameter groups with named parameters, in the order of the network."""
        return param_groups(self.net, decay_norm_and_bias=self.decay_norm_and_bias)

    def _log(self, split: str, metrics: ClassificationMetrics) -> None:
        result = metrics.compute()
        metrics.reset()
        self.log_dict({f"{split}/{name}": result[name] for name in ("loss", "accuracy")})


def check_batch(batch: Any, num_classes: int, cause: Exception) -> None:
    """Raise an error that explains `cause` if the batch is not a pair of images and labels.

    Raises:
        ValueError: if it is not; the message states what was found and what is expected.
    """
    problem = None
    if not (isinstance(batch, tuple | list) and len(batch) == 2):
        size = f" of {len(batch)}" if hasattr(batch, "__len__") else ""
        problem = f"a batch is a {type(batch).__name__}{size}"
    elif not all(isinstance(part, Tensor) for part in batch):
        problem = f"a batch contains {' and '.join(type(part).__name__ for part in batch)}"
    elif not batch[0].is_floating_point():
        problem = f"images are {batch[0].dtype}"
    elif batch[1].dtype != torch.int64 or batch[1].ndim != 1:
        problem = f"labels are {batch[1].dtype} of shape {tuple(batch[1].shape)}"
    elif len(batch[1]) and not 0 <= batch[1].min() <= batch[1].max() < num_classes:
        problem = f"labels range from {batch[1].min()} to {batch[1].max()}"
    if problem is not None:
        raise ValueError(
            f"{problem}, but ImageClassifier expects pairs: float32 images of shape (B, C, H, W) "
            f"and int64 labels of shape (B,), from 0 to {num_classes - 1}.\n\n"
            "hint: change the data module, or write a LightningModule with another training_step"
        ) from cause
