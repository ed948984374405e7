"""Activations by the name that a config uses."""

from collections.abc import Callable
from difflib import get_close_matches

from torch import nn

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
    """A fresh activation module.

    Raises:
        ValueError: if the name is none of `ACTIVATIONS`.
    """
    if name not in ACTIVATIONS:
        near = get_close_matches(str(name), ACTIVATIONS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(
            f"model.activation is {name!r}, which is no activation.\n\n"
            f"hint: {hint}choose one of {', '.join(sorted(ACTIVATIONS))}"
        )
    return ACTIVATIONS[name]()
