"""The minibatch loop: a batch, its loss and gradients, a step.

Whoever calls decides which batches come in which order, so a run here can see exactly the batches
of a PyTorch run.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from optlab.numpy_net.network import MLP
from optlab.numpy_net.optimizers import Optimizer


def train(
    network: MLP, optimizer: Optimizer, batches: Iterable[tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """One optimizer step per (images (B, D), labels (B,)) pair, in the order they come.

    Returns:
        (num_steps,) float64, the loss of each batch under the weights before its step. A run that
        diverges has infinite losses or nan; to stop is the caller's decision.
    """
    losses = []
    # Overflow makes the loss infinite or nan, so NumPy's warnings are silenced
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        for images, labels in batches:
            loss, gradients = network.loss_and_gradients(images, labels)
            optimizer.step(gradients)
            losses.append(loss)
    return np.array(losses, np.float64)


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
