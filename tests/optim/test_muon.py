from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from optlab.models import CNN, MLP
from optlab.optim import Muon, param_groups
from optlab.optim.muon import orthogonalize


def uses_of(optimizer: Muon) -> dict[str, str]:
    return {
        name: group["uses"] for group in optimizer.param_groups for name in group["param_names"]
    }


def backward(net: nn.Module, image_size: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(16, 1, image_size, image_size, generator=generator)
    labels = torch.randint(0, 3, (16,), generator=generator)
    net.zero_grad()
    F.cross_entropy(net(images), labels).backward()


@pytest.mark.parametrize("shape", [(8, 8), (8, 30), (30, 8)])
def test_orthogonalize_brings_singular_values_near_1(shape):
    torch.manual_seed(0)
    left, _, right = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    values = torch.logspace(0, -2, 8)  # from 1 down to 0.01
    result = orthogonalize(left @ torch.diag(values) @ right, 5)
    assert result.shape == shape
    # Jordan et al. 2024: five iterations end between about 0.7 and 1.2
    singular = torch.linalg.svdvals(result)
    assert singular.min() > 0.6
    assert singular.max() < 1.25


def test_orthogonalize_of_zero_is_zero():
    assert torch.equal(orthogonalize(torch.zeros(3, 4), 5), torch.zeros(3, 4))


def test_first_layer_head_and_vectors_go_to_adamw():
    net = MLP(1, 4, 3, hidden_sizes=[6, 5, 4], batch_norm=True)
    uses = uses_of(Muon(param_groups(net)))
    assert [name for name, chosen in uses.items() if chosen == "muon"] == [
        "body.3.weight",
        "body.6.weight",
    ]
    assert uses.keys() == dict(net.named_parameters()).keys()


def test_first_layer_can_go_to_muon():
    net = MLP(1, 4, 3, hidden_sizes=[6, 5])
    uses = uses_of(Muon(param_groups(net), first_layer="muon"))
    assert uses["body.0.weight"] == "muon"
    assert uses["head.weight"] == "adamw"


@pytest.mark.parametrize("hidden_sizes", [[], [6]])
def test_network_without_hidden_matrices_is_refused(hidden_sizes):
    with pytest.raises(ValueError, match=r"first_layer=adamw (?s:.*)optimizer\.first_layer=muon"):
        Muon(param_groups(MLP(1, 4, 3, hidden_sizes=hidden_sizes)))


def test_first_layer_alone_is_enough_for_muon():
    uses = uses_of(Muon(param_groups(MLP(1, 4, 3, hidden_sizes=[6])), first_layer="muon"))
    assert [name for name, chosen in uses.items() if chosen == "muon"] == ["body.0.weight"]


def test_decay_of_kernels_only_is_kept_when_groups_are_split():
    net = MLP(1, 4, 3, hidden_sizes=[6, 5])
    optimizer = Muon(param_groups(net, decay_norm_and_bias=False), weight_decay=0.3)
    decay = {group["uses"]: [] for group in optimizer.param_groups}
    for group in optimizer.param_groups:
        decay[group["uses"]].append(group["weight_decay"])
    assert decay == {"muon": [0.3], "adamw": [0.3, 0.0]}


def test_adamw_half_has_its_own_rate():
    optimizer = Muon(param_groups(MLP(1, 4, 3)), lr=0.02, adamw_lr_ratio=0.015)
    rates = {group["uses"]: group["lr"] for group in optimizer.param_groups}
    assert rates == pytest.approx({"muon": 0.02, "adamw": 3.0e-4})


@pytest.mark.parametrize("lr_adjustment", ["original", "match_rms_adamw"])
@pytest.mark.parametrize("nesterov", [True, False])
def test_five_steps_equal_torchs_muon_and_adamw(lr_adjustment, nesterov):
    torch.manual_seed(0)
    net = MLP(1, 6, 3, hidden_sizes=[24, 16])
    reference = deepcopy(net)
    ours = Muon(
        param_groups(net),
        lr=0.01,
        weight_decay=0.1,
        nesterov=nesterov,
        lr_adjustment=lr_adjustment,
    )
    matrix = reference.body[2].weight
    muon = torch.optim.Muon(
        [matrix],
        lr=0.01,
        momentum=0.95,
        weight_decay=0.1,
        nesterov=nesterov,
        adjust_lr_fn=lr_adjustment,
    )
    rest = [parameter for parameter in reference.parameters() if parameter is not matrix]
    adamw = torch.optim.AdamW(rest, lr=0.01, weight_decay=0.1)
    for _ in range(5):
        for parameter, expected in zip(net.parameters(), reference.parameters(), strict=True):
            parameter.grad = torch.randn_like(parameter)
            expected.grad = parameter.grad.clone()
        ours.step()
        muon.step()
        adamw.step()
    for (name, parameter), expected in zip(
        net.named_parameters(), reference.parameters(), strict=True
    ):
        # torch iterates in bfloat16, whose rounding (2^-8) adds up over five steps of 0.01
        atol = 5e-4 if name == "body.2.weight" else 1e-6
        torch.testing.assert_close(parameter, expected, atol=atol, rtol=0)


def test_convolution_is_the_matrix_of_its_flattened_kernels():
    torch.manual_seed(0)
    net = CNN(1, 8, 3, filters=[4, 6], dropout=0.0)
    kernel = net.features[3].weight  # (6, 4, 3, 3)
    before = kernel.detach().clone()
    optimizer = Muon(param_groups(net), lr=0.1, weight_decay=0.0, lr_adjustment="original")
    backward(net, 8, 0)
    optimizer.step()
    update = (before - kernel.detach()).flatten(1) / 0.1  # (6, 36), scale max(1, 6/36) = 1
    singular = torch.linalg.svdvals(update)
    assert singular.min() > 0.6
    assert singular.max() < 1.25


def test_channels_last_kernels_get_the_same_update():
    torch.manual_seed(0)
    net = CNN(1, 8, 3, filters=[4, 6], dropout=0.0)
    other = deepcopy(net).to(memory_format=torch.channels_last)
    for each in (net, other):
        optimizer = Muon(param_groups(each), lr=0.1)
        for seed in range(3):
            backward(each, 8, seed)
            optimizer.step()
    torch.testing.assert_close(net.features[3].weight, other.features[3].weight)


def test_parameters_without_gradient_stay():
    net = MLP(1, 4, 3, hidden_sizes=[6, 5])
    net.body.requires_grad_(False)
    before = deepcopy(net.body.state_dict())
    optimizer = Muon(param_groups(net), lr=0.1)
    backward(net, 4, 0)
    optimizer.step()
    assert all(torch.equal(before[name], tensor) for name, tensor in net.body.state_dict().items())
    net.body.requires_grad_(True)
    backward(net, 4, 1)
    optimizer.step()
    assert not torch.equal(before["2.weight"], net.body.state_dict()["2.weight"])


def test_closure_is_called_once_with_gradients():
    net = MLP(1, 4, 3)
    optimizer = Muon(param_groups(net))
    calls = []

    def closure() -> float:
        backward(net, 4, 0)
        calls.append(1)
        return 0.5

    assert optimizer.step(closure) == 0.5
    assert calls == [1]


def test_plain_parameters_are_accepted():
    net = MLP(1, 4, 3, hidden_sizes=[6, 5])
    optimizer = Muon(net.parameters())
    assert sorted(group["uses"] for group in optimizer.param_groups) == ["adamw", "muon"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -1.0}, r"optimizer.lr .*-1.0\b"),
        ({"momentum": 1.0}, r"optimizer.momentum .*\b1.0\b"),
        ({"num_iterations": 0}, r"optimizer.num_iterations .*\b0\b"),
        ({"weight_decay": -0.1}, r"optimizer.weight_decay .*-0.1\b"),
        ({"adamw_lr_ratio": -1}, r"optimizer.adamw_lr_ratio .*-1\b"),
        ({"betas": [0.9]}, r"optimizer.betas .*\[0.9\]"),
        ({"betas": [0.9, 1.0]}, r"optimizer.betas .*\[0.9, 1.0\]"),
        ({"eps": -1.0}, r"optimizer.eps .*-1.0\b"),
        (
            {"lr_adjustment": "moonshot"},
            r"lr_adjustment .*\bmoonshot\b.* match_rms_adamw, original",
        ),
        ({"first_layer": "sgd"}, r"optimizer.first_layer .*\bsgd\b.* adamw, muon"),
    ],
)
def test_option_out_of_range_is_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        Muon(param_groups(MLP(1, 4, 3)), **options)
