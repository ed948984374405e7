"""Compute the class probabilities that a trained network predicts for many images."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn


@torch.inference_mode()
def probabilities(
    net: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the softmax of the logits over all batches, and the labels.

    Args:
        net: network in eval mode, on the device of the images; see `load_network`.
        batches: pairs of images (B, C, H, W), normalized, and labels (B,).

    Returns:
        probabilities (N, num_classes) float64 and labels (N,) int64.
    """
    assert not net.training
    outputs: list[Tensor] = []
    labels: list[Tensor] = []
    for images, targets in batches:
        outputs.append(net(images).double().softmax(dim=1).cpu())
        labels.append(targets.cpu())
    return torch.cat(outputs).numpy(), torch.cat(labels).numpy()
