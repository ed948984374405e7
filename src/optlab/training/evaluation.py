"""Evaluation: loss, accuracy and confusion matrix of a whole split, kept on the device."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

# Sums over a whole split keep every digit, but for Apple's GPUs, which have no float64
SUM_DTYPE = torch.float32 if torch.backends.mps.is_available() else torch.float64


class Evaluation(Metric):
    """Sums over the images of a split; devices of one run are added up when it is computed.

    Everything has a leading dimension R: the replicas of a run (`num_replicas`), 1 for a plain run.
    One confusion matrix holds accuracy and every per-class measure, so nothing else is counted.
    """

    full_state_update = False

    loss_sum: Tensor  # (R,) summed cross-entropy, nats
    confusion: (
        Tensor  # (R, num_classes, num_classes) images by true class (row) and predicted class
    )

    def __init__(self, num_classes: int, num_replicas: int = 1) -> None:
        super().__init__()
        self.shape = (num_replicas, num_classes, num_classes)
        self.add_state("loss_sum", torch.zeros(num_replicas, dtype=SUM_DTYPE), "sum")
        self.add_state("confusion", torch.zeros(self.shape, dtype=torch.int64), "sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Counts logits of shape (B, C) or (R, B, C) with labels of shape (B,)."""
        replicas, classes, _ = self.shape
        logits = logits.reshape(replicas, -1, classes).float()
        losses = F.cross_entropy(
            logits.flatten(0, 1), labels.repeat(replicas), reduction="none"
        )  # (R * B,)
        self.loss_sum += losses.reshape(replicas, -1).sum(dim=1)
        cell = labels * classes + logits.argmax(dim=-1)  # (R, B)
        cell += torch.arange(replicas, device=cell.device)[:, None] * classes**2
        # Not bincount, which waits for a GPU to say how large the largest is
        self.confusion.view(-1).index_add_(0, cell.flatten(), torch.ones_like(cell.flatten()))

    def compute(self) -> dict[str, Tensor]:
        """loss (R,) mean cross-entropy, accuracy (R,) fraction, confusion (R, C, C)."""
        num_images = self.confusion.sum(dim=(1, 2)).to(SUM_DTYPE)
        return {
            "loss": self.loss_sum / num_images,
            "accuracy": self.confusion.diagonal(dim1=1, dim2=2).sum(dim=1) / num_images,
            "confusion": self.confusion,
        }
