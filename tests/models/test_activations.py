import pytest
import torch
from torch import nn

from optlab.models.activations import ACTIVATIONS, make_activation


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_every_activation_keeps_the_shape(name):
    assert make_activation(name)(torch.randn(2, 3)).shape == (2, 3)


def test_each_call_makes_a_module_of_its_own():
    assert isinstance(make_activation("relu"), nn.ReLU)
    assert make_activation("relu") is not make_activation("relu")


def test_unknown_activation_names_the_nearest():
    with pytest.raises(ValueError, match=r"model\.activation .*\brleu\b(?s:.*)hint: .*\brelu\b"):
        make_activation("rleu")


def test_unknown_activation_lists_what_there_is():
    with pytest.raises(ValueError, match=r"\bxxxx\b.*\belu, celu, selu, gelu\b"):
        make_activation("xxxx")
