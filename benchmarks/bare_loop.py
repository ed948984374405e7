"""The bare loop: what an expert writes by hand when only speed matters.

All images are stored on the device as one normalized float tensor, and each batch is picked out of
it by index. Of the simple ways this is the fastest: normalizing uint8 batch by batch and putting a
whole epoch in order beforehand were both slower. It keeps no loss, counts nothing and logs nothing.
"""

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from optlab.seeds import derive_seed
from optlab.training.clock import synchronize


def normalized(
    images: Tensor, mean: tuple[float, ...], std: tuple[float, ...], device: torch.device
) -> Tensor:
    """Return float32 (N, C, H, W) of zero mean and unit deviation, from uint8 (N, C, H, W)."""
    shift = torch.tensor(mean).view(1, -1, 1, 1)
    scale = torch.tensor(std).view(1, -1, 1, 1)
    return images.float().div_(255).sub_(shift).div_(scale).to(device)


def train_epoch(
    net: nn.Module,
    optimizer: Optimizer,
    images: Tensor,
    labels: Tensor,
    order: Tensor,
    batch_size: int,
    see_loss: Callable[[Tensor], None] | None = None,
) -> None:
    """Make one pass over the images.

    Args:
        net: in training mode.
        images: (N, C, H, W) float32, on the device of the network.
        labels: (N,) int64, likewise.
        order: (N,) int64, likewise: the order in which images are taken.
        see_loss: gets the loss of every step; for tests.
    """
    for index in order.split(batch_size):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(images[index]), labels[index])
        loss.backward()
        optimizer.step()
        if see_loss is not None:
            see_loss(loss.detach())


def shuffled(num_images: int, seed: int, epoch: int) -> Tensor:
    """Return the order in which OptLab takes the images of an epoch: the batches are the same."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "order", epoch))
    return torch.randperm(num_images, generator=generator)


def seconds_per_epoch(
    net: nn.Module,
    optimizer: Optimizer,
    images: Tensor,
    labels: Tensor,
    *,
    batch_size: int,
    epochs: int,
    seed: int = 0,
) -> float:
    """Return the mean seconds of an epoch, shuffling included, device synchronized."""
    net.train()
    synchronize(images.device)
    start_s = time.perf_counter()
    for epoch in range(epochs):
        order = shuffled(len(images), seed, epoch).to(images.device)
        train_epoch(net, optimizer, images, labels, order, batch_size)
    synchronize(images.device)
    return (time.perf_counter() - start_s) / epochs
