"""Four activations, each with its derivative.

An activation turns z, the outputs of an affine layer, into a = f(z), element by element. Backward
needs f'(z). Where f' is shorter in terms of a, which the forward pass has already, it is written
in a.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import erf, expit


class Activation(NamedTuple):
    """A function of z and its derivative as a function of (z, a); shapes are kept."""

    forward: Callable[[np.ndarray], np.ndarray]
    derivative: Callable[[np.ndarray, np.ndarray], np.ndarray]


def relu(z: np.ndarray) -> np.ndarray:
    """max(0, z)."""
    return np.maximum(z, 0)


def relu_derivative(z: np.ndarray, a: np.ndarray) -> np.ndarray:
    """1 where z > 0, else 0; at the kink z = 0 the value is 0, as in torch."""
    return (z > 0).astype(z.dtype)


def sigmoid(z: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-z))."""
    return expit(z)  # SciPy's sigmoid: exp(-z) itself would overflow for very negative z


def sigmoid_derivative(z: np.ndarray, a: np.ndarray) -> np.ndarray:
    """a (1 - a)."""
    return a * (1 - a)


def tanh(z: np.ndarray) -> np.ndarray:
    """(exp(z) - exp(-z)) / (exp(z) + exp(-z))."""
    return np.tanh(z)


def tanh_derivative(z: np.ndarray, a: np.ndarray) -> np.ndarray:
    """1 - a^2."""
    return 1 - a**2


def gelu(z: np.ndarray) -> np.ndarray:
    """z Phi(z), with Phi the normal distribution function; exact, not the tanh approximation.

    Source: Hendrycks and Gimpel 2016, arXiv:1606.08415, section 2.
    """
    return z * _normal_cdf(z)


def gelu_derivative(z: np.ndarray, a: np.ndarray) -> np.ndarray:
    """Phi(z) + z phi(z), with phi the normal density."""
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)  # phi(z)
    return _normal_cdf(z) + z * density


def _normal_cdf(z: np.ndarray) -> np.ndarray:
    return (1 + erf(z / math.sqrt(2))) / 2


ACTIVATIONS = {
    "relu": Activation(relu, relu_derivative),
    "tanh": Activation(tanh, tanh_derivative),
    "gelu": Activation(gelu, gelu_derivative),
    "sigmoid": Activation(sigmoid, sigmoid_derivative),
}
