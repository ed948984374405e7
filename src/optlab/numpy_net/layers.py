"""The affine layer, forward and backward, in the layout of `torch.nn.Linear`.

Shapes: B images in a batch, `in` inputs, `out` outputs of the layer. Row b of every array belongs
to image b, so the textbook's column vector `W x + b` reads `X W^T + b` for a whole batch.

Source: Goodfellow, Bengio and Courville, Deep Learning (2016), algorithms 6.3 and 6.4.
"""

import math
from typing import NamedTuple

import numpy as np


class LinearGradients(NamedTuple):
    """Derivatives of the cost by the three things that went into an affine layer."""

    inputs: np.ndarray  # (B, in)
    weight: np.ndarray  # (out, in)
    bias: np.ndarray  # (out,)


def linear_forward(inputs: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Z = X W^T + b."""
    return inputs @ weight.T + bias  # (B, in) @ (in, out) + (out,) -> (B, out)


def linear_backward(
    grad_outputs: np.ndarray, inputs: np.ndarray, weight: np.ndarray
) -> LinearGradients:
    """Chain rule through Z = X W^T + b.

    Args:
        grad_outputs: derivative of the cost by Z, of shape (B, out).
        inputs: the X of the forward pass, of shape (B, in).
        weight: the W of the forward pass, of shape (out, in).
    """
    return LinearGradients(
        # Each input affects the cost through all `out` outputs, so sum over them.
        inputs=grad_outputs @ weight,  # (B, out) @ (out, in) -> (B, in)
        # Each weight affects the cost through all B images, so the product sums over them.
        weight=grad_outputs.T @ inputs,  # (out, B) @ (B, in) -> (out, in)
        bias=grad_outputs.sum(axis=0),  # (out,)
    )


def uniform_fan_in(
    num_inputs: int, num_outputs: int, rng: np.random.Generator, dtype: np.typing.DTypeLike
) -> tuple[np.ndarray, np.ndarray]:
    """Fresh weight (out, in) and bias (out,), each uniform within 1 / sqrt(in).

    The distribution of `torch.nn.Linear`; the numbers drawn are NumPy's own.
    """
    bound = 1.0 / math.sqrt(num_inputs)
    weight = rng.uniform(-bound, bound, size=(num_outputs, num_inputs)).astype(dtype)  # (out, in)
    bias = rng.uniform(-bound, bound, size=num_outputs).astype(dtype)  # (out,)
    return weight, bias
