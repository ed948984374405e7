"""Softmax cross-entropy: from logits and labels to the cost and its derivative.

Shapes: B images in a batch, K classes.

Source: Bishop, Pattern Recognition and Machine Learning (2006), eq. 4.104 (softmax), 4.108
(cost) and 4.109 (derivative).
"""

import numpy as np


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """log p_k = z_k - log(sum_j exp z_j), row by row; (B, K) -> (B, K)."""
    # Softmax does not change when a row is shifted. With the largest logit at 0, exp cannot
    # overflow, and the sum is at least 1, so its logarithm is finite.
    shifted = logits - logits.max(axis=1, keepdims=True)  # (B, K)
    log_sums = np.log(np.exp(shifted).sum(axis=1, keepdims=True))  # (B, 1)
    return shifted - log_sums  # (B, K)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Class probabilities, each row summing to 1; (B, K) -> (B, K)."""
    return np.exp(log_softmax(logits))


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Cost: mean over the batch of -log p(label); logits (B, K), labels (B,) in 0..K-1."""
    of_labels = log_softmax(logits)[np.arange(len(labels)), labels]  # (B,) log p of the true class
    return float(-of_labels.mean())


def cross_entropy_gradient(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Derivative of the cost by the logits: (p - y) / B with y the labels as one-hot rows."""
    grad_logits = softmax(logits)  # (B, K)
    grad_logits[np.arange(len(labels)), labels] -= 1  # p - y: y is 1 at the label, else 0
    return grad_logits / len(labels)  # the cost is a mean over B images
