"""The minibatch loop: a batch, its loss and gradients, a step.

Whoever calls decides which batches come in which order, so a run here can see exactly the batches
of a PyTorch run.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from optlab.numpy_net.cost import cross_entropy, cross_entropy_gradient
from optlab.numpy_net.network import MLP
from optlab.numpy_net.optimizers import Optimizer


@dataclass(frozen=True)
class History:
    """One entry per optimizer step, measured on its batch before the step."""

    losses: np.ndarray  # (num_steps,) float64
    accuracies: np.ndarray  # (num_steps,) float64, fractions
    batch_sizes: np.ndarray  # (num_steps,) int64


def train_step(
    network: MLP, optimizer: Optimizer, images: np.ndarray, labels: np.ndarray
) -> tuple[float, float]:
    """One optimizer step on one batch.

    Args:
        images: of shape (B, D).
        labels: classes, of shape (B,).

    Returns:
        Loss and accuracy of the batch under the weights before the step. A run that diverges
        returns an infinite loss or nan; to stop is the caller's decision.
    """
    # What overflows shows in the loss; a warning per array operation would say it many times.
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        forward_pass = network.forward(images)
        logits = forward_pass.logits  # (B, K)
        loss = cross_entropy(logits, labels)
        optimizer.step(network.backward(forward_pass, cross_entropy_gradient(logits, labels)))
    return loss, float((logits.argmax(axis=1) == labels).mean())


def train(
    network: MLP, optimizer: Optimizer, batches: Iterable[tuple[np.ndarray, np.ndarray]]
) -> History:
    """One optimizer step per (images (B, D), labels (B,)) pair, in the order they come."""
    losses, accuracies, batch_sizes = [], [], []
    for images, labels in batches:
        loss, accuracy = train_step(network, optimizer, images, labels)
        losses.append(loss)
        accuracies.append(accuracy)
        batch_sizes.append(len(labels))
    return History(
        np.array(losses, np.float64),
        np.array(accuracies, np.float64),
        np.array(batch_sizes, np.int64),
    )


def minibatches(
    images: np.ndarray,
    labels: np.ndarray,
    *,
    batch_size: int,
    num_epochs: int,
    rng: np.random.Generator,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Every image once per epoch in a fresh random order; an epoch's last batch may be short."""
    for _ in range(num_epochs):
        order = rng.permutation(len(labels))  # (N,)
        for start in range(0, len(labels), batch_size):
            chosen = order[start : start + batch_size]  # (B,)
            yield images[chosen], labels[chosen]
