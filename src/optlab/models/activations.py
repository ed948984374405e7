"""Activations by the name that a config uses."""

from collections.abc import Callable

from torch import nn

from optlab.ranges import check_choice

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,  # slope 0.01 below zero
    "elu": nn.ELU,
    "celu": nn.CELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,  # exact, not the tanh approximation
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
    "identity": nn.Identity,  # a deep linear network, for study
}


def make_activation(name: str) -> nn.Module:
    """Return a new activation module.

    Raises:
        ValueError: if the name is not in `ACTIVATIONS`.
    """
    check_choice("model.activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]()
