import pytest
import torch

from optlab.models import MLP
from optlab.optim import param_groups


@pytest.fixture
def net() -> MLP:
    return MLP(1, 4, 3, hidden_sizes=[5], batch_norm=True)


def names(group: dict) -> list[str]:
    return [name for name, _ in group["params"]]


def test_decay_of_everything_is_one_group_with_every_parameter_in_order(net):
    (group,) = param_groups(net)
    assert group.keys() == {"params"}
    assert names(group) == [name for name, _ in net.named_parameters()]


def test_biases_and_norms_can_be_spared_from_decay(net):
    kernels, others = param_groups(net, decay_norm_and_bias=False)
    assert names(kernels) == ["body.0.weight", "head.weight"]
    assert names(others) == ["body.0.bias", "body.1.weight", "body.1.bias", "head.bias"]
    assert "weight_decay" not in kernels
    assert others["weight_decay"] == 0.0


def test_kernels_without_other_parameters_are_one_group():
    assert len(param_groups(torch.nn.Linear(3, 2, bias=False), decay_norm_and_bias=False)) == 1


def test_frozen_parameters_are_groups_of_their_own_before_the_others(net):
    net.body.requires_grad_(False)
    frozen, trained = param_groups(net)
    assert names(frozen) == ["body.0.weight", "body.0.bias", "body.1.weight", "body.1.bias"]
    assert names(trained) == ["head.weight", "head.bias"]
    assert [names(group) for group in param_groups(net, decay_norm_and_bias=False)] == [
        ["body.0.weight"],
        ["body.0.bias", "body.1.weight", "body.1.bias"],
        ["head.weight"],
        ["head.bias"],
    ]


def test_optimizer_keeps_the_names_and_decays_kernels_alone(net):
    optimizer = torch.optim.SGD(
        param_groups(net, decay_norm_and_bias=False), lr=0.1, weight_decay=0.5
    )
    assert optimizer.param_groups[0]["param_names"] == ["body.0.weight", "head.weight"]
    weight, bias = net.head.weight.clone(), net.head.bias.clone()
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(net.head.weight, weight * (1 - 0.1 * 0.5))
    assert torch.equal(net.head.bias, bias)
