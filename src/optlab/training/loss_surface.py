"""Project the optimizers' paths of a study onto the training-loss surface of their network.

A network has too many weights to draw. The paths are projected on the plane in which they move
most, the first two principal components of all their snapshots, and the loss is computed on a grid
of that plane. Source: Li et al. 2018, arXiv:1712.09913, section 7.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import vector_to_parameters

from optlab.models.load import load_checkpoint
from optlab.runs.folder import RunFolder

MARGIN = 0.15  # of the paths' extent, on each side of the grid
BATCH_SIZE = 1000


@dataclass(frozen=True, eq=False)
class Path2D:
    """Path of one run in the plane: `steps` (T,), optimizer steps, and `points` (T, 2)."""

    steps: np.ndarray
    points: np.ndarray


@dataclass(frozen=True, eq=False)
class LossSurface:
    """Training loss over a plane of weights, and the paths on it.

    Attributes:
        x, y: (n,) coordinates of the grid.
        losses: (n, n) training loss in nats, rows by y.
        paths: by label.
        explained: share of the paths' variance in the plane.
        num_images: training images that the loss is the mean of.
    """

    x: np.ndarray
    y: np.ndarray
    losses: np.ndarray
    paths: Mapping[str, Path2D]
    explained: float
    num_images: int


def read_snapshots(run: Path, net: nn.Module) -> tuple[np.ndarray, Tensor]:
    """Return the steps (T,) of a run's snapshots and the parameters (T, num_parameters) there.

    Raises:
        ValueError: if the run has fewer than two snapshots.
    """
    files = RunFolder(run)
    steps = files.snapshot_steps
    if len(steps) < 2:
        raise ValueError(
            f"{run} has fewer than two snapshots of its weights.\n\n"
            "hint: train it with callbacks=snapshots"
        )
    names = [name for name, _ in net.named_parameters()]
    states = [load_checkpoint(files.snapshot(step)) for step in steps]
    vectors = [torch.cat([state[f"net.{name}"].flatten() for name in names]) for state in states]
    return np.array(steps), torch.stack(vectors).float()


def principal_plane(vectors: Tensor) -> tuple[Tensor, Tensor, float]:
    """Return the plane in which weights vary most.

    Args:
        vectors: (N, num_parameters), N of 3 or more.

    Returns:
        The mean (num_parameters,), two orthonormal directions (2, num_parameters), and the share of
        the variance in their plane.
    """
    center = vectors.mean(dim=0)
    # From the small (N, N) Gram matrix: the directions are combinations of the N vectors
    values, combinations = torch.linalg.eigh((vectors - center) @ (vectors - center).T)
    directions = F.normalize(combinations[:, -2:].T.flip(0) @ (vectors - center), dim=1)
    return center, directions, float(values[-2:].sum() / values.clamp(min=0).sum())


def loss_at(net: nn.Module, images: Tensor, labels: Tensor) -> Callable[[Tensor], float]:
    """Return the function from a parameter vector to the mean cross-entropy in nats.

    Batch normalization uses the statistics of each batch, as the running statistics belong to other
    weights.

    Args:
        net: its parameters are overwritten.
        images: (N, C, H, W), prepared as in training.
        labels: (N,).
    """
    net.eval()
    for module in net.modules():
        if isinstance(module, _BatchNorm):
            module.train()
            module.momentum = 0.0

    def loss(vector: Tensor) -> float:
        vector_to_parameters(vector, net.parameters())
        batches = zip(images.split(BATCH_SIZE), labels.split(BATCH_SIZE), strict=True)
        with torch.inference_mode():
            total = sum(F.cross_entropy(net(x), y, reduction="sum").item() for x, y in batches)
        return total / len(labels)

    return loss


def loss_surface(
    net: nn.Module,
    snapshots: Mapping[str, tuple[np.ndarray, Tensor]],
    images: Tensor,
    labels: Tensor,
    num_points: int = 31,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> LossSurface:
    """Compute the loss on the plane in which the runs of a study moved most.

    Args:
        net: the network that all of them trained.
        snapshots: results of `read_snapshots`, by label.
        images: (N, C, H, W), prepared as in training.
        labels: (N,).
        num_points: number of grid points along each side.
        progress: wraps the loop over the rows of the grid.
    """
    center, directions, explained = principal_plane(
        torch.cat([each for _, each in snapshots.values()])
    )
    paths = {
        label: Path2D(steps, ((vectors - center) @ directions.T).numpy())
        for label, (steps, vectors) in snapshots.items()
    }
    every = np.concatenate([each.points for each in paths.values()])
    low, high = every.min(axis=0), every.max(axis=0)
    margin = MARGIN * (high - low)
    x, y = np.linspace(low - margin, high + margin, num_points).T
    loss = loss_at(net, images, labels)
    losses = np.empty((num_points, num_points))
    for row in progress(range(num_points)):
        for column in range(num_points):
            at = torch.tensor([x[column], y[row]], dtype=center.dtype)
            losses[row, column] = loss(center + at @ directions)
    return LossSurface(x, y, losses, paths, explained, len(labels))
