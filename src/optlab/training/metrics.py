"""Loss, accuracy and confusion matrix of a whole split, kept on the device."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

# float64 keeps sums over a whole split accurate; Apple's GPUs do not support it
SUM_DTYPE = torch.float32 if torch.backends.mps.is_available() else torch.float64


class ClassificationMetrics(Metric):
    """Accumulate loss and confusion matrix over a split; `compute` sums them over devices.

    Accuracy and all per-class metrics follow from the confusion matrix.
    """

    full_state_update = False

    loss_sum: Tensor  # () summed cross-entropy, nats
    confusion: Tensor  # (num_classes, num_classes) images by true class (row) and predicted class

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.add_state("loss_sum", torch.zeros((), dtype=SUM_DTYPE), "sum")
        confusion = torch.zeros(num_classes, num_classes, dtype=torch.int64)
        self.add_state("confusion", confusion, "sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Count a batch: logits of shape (B, num_classes), labels of shape (B,)."""
        self.loss_sum += F.cross_entropy(logits.float(), labels, reduction="none").sum()
        cell = labels.long() * self.num_classes + logits.argmax(dim=-1)  # (B,)
        # Not bincount, which waits for the GPU to return the largest value
        self.confusion.view(-1).index_add_(0, cell, torch.ones_like(cell))

    def compute(self) -> dict[str, Tensor]:
        """Return loss () mean cross-entropy, accuracy () fraction, confusion (C, C) counts."""
        num_images = self.confusion.sum().to(SUM_DTYPE)
        return {
            "loss": self.loss_sum / num_images,
            "accuracy": self.confusion.diagonal().sum() / num_images,
            "confusion": self.confusion.clone(),
        }
