import math

import pytest
import torch

from optlab.models import CNN, MLP
from optlab.models.initialization import INITIALIZATIONS

# standard deviation of a layer with 400 inputs and 200 units, from each paper's variance
EXPECTED_STD = {
    "default": 1 / math.sqrt(3 * 400),  # uniform in +-1/sqrt(fan_in)
    "he_normal": math.sqrt(2 / 400),
    "he_uniform": math.sqrt(2 / 400),
    "xavier_normal": math.sqrt(2 / 600),
    "xavier_uniform": math.sqrt(2 / 600),
    "orthogonal": 1 / math.sqrt(400),  # 200 orthonormal rows of 400
}


def test_every_initialization_has_an_expected_value():
    assert EXPECTED_STD.keys() == INITIALIZATIONS.keys()


@pytest.mark.parametrize("init", sorted(EXPECTED_STD))
def test_initial_weights_have_the_deviation_of_the_paper(init):
    torch.manual_seed(0)
    weight = MLP(1, 20, 10, hidden_sizes=[200], init=init).body[0].weight  # (200, 400)
    # 80,000 draws: the sample's deviation is within 1 % with more than three sigma to spare
    assert weight.std().item() == pytest.approx(EXPECTED_STD[init], rel=0.01)
    assert abs(weight.mean().item()) < 0.001


@pytest.mark.parametrize("init", sorted(EXPECTED_STD.keys() - {"default"}))
def test_named_initializations_zero_the_biases(init):
    net = CNN(1, 8, 10, init=init)
    biases = [parameter for name, parameter in net.named_parameters() if name.endswith("bias")]
    assert len(biases) == 4
    assert all(bias.abs().max() == 0 for bias in biases)


def test_orthogonal_rows_are_orthonormal():
    weight = MLP(1, 8, 10, hidden_sizes=[32], init="orthogonal").body[0].weight  # (32, 64)
    torch.testing.assert_close(weight @ weight.T, torch.eye(32), atol=1e-5, rtol=0)


def test_unknown_initialization_names_the_nearest():
    with pytest.raises(ValueError, match=r"model\.init .*\bhe_norm\b(?s:.*)hint: .*\bhe_normal\b"):
        MLP(1, 8, 10, init="he_norm")
