import pytest
import torch
from torch import nn

from optlab.models import MLP


def num_parameters(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def num_parameters_as_keras_counts(net: nn.Module) -> int:
    """Parameters plus running means and variances, without torch's counter of batches."""
    statistics = [
        buffer for name, buffer in net.named_buffers() if not name.endswith("num_batches_tracked")
    ]
    return num_parameters(net) + sum(buffer.numel() for buffer in statistics)


@pytest.mark.parametrize(
    ("in_channels", "image_size", "hidden_sizes", "expected"),
    [
        # 784*256+256 + 256*128+128 + 128*10+10
        (1, 28, [256, 128], 235_146),
        # The sequential MNIST network that is shown in its publication. The ~101,770 stated beside
        # it is a network without the layer of 64: 784*128+128 + 128*10+10.
        (1, 28, [128, 64], 109_386),
        (1, 28, [128], 101_770),
        # The published CIFAR-10 networks. 2x32 and 3x128 agree with their statement:
        (3, 32, [32, 32], 99_722),
        (3, 32, [128, 128, 128], 427_658),
        # 4x64: 222,986 is stated, but 3072*64+64 + 3*(64*64+64) + 64*10+10 = 209,802.
        (3, 32, [64, 64, 64, 64], 209_802),
        # 256, 128, 64: 362,378 is stated, but 3072*256+256 alone is 786,688; the combined network
        # of the same publication, 830,282 with batch norm, confirms 828,490.
        (3, 32, [256, 128, 64], 828_490),
        # a linear classifier
        (1, 28, [], 7_850),
    ],
)
def test_parameters_are_counted_as_published(in_channels, image_size, hidden_sizes, expected):
    net = MLP(in_channels, image_size, 10, hidden_sizes=hidden_sizes)
    assert num_parameters(net) == expected


def test_combined_cifar10_network_has_830282_parameters_with_statistics():
    net = MLP(
        3,
        32,
        10,
        hidden_sizes=[256, 128, 64],
        batch_norm=True,
        dropout=[0.3, 0.3, 0.2],
        init="he_normal",
    )
    assert num_parameters_as_keras_counts(net) == 830_282  # 828,490 + 4 * (256 + 128 + 64)


@pytest.mark.parametrize(("in_channels", "image_size"), [(1, 28), (3, 32), (1, 8)])
def test_forward_gives_one_logit_a_class(in_channels, image_size):
    net = MLP(in_channels, image_size, 7)
    assert net(torch.rand(4, in_channels, image_size, image_size)).shape == (4, 7)


def test_hidden_layer_is_linear_then_norm_then_activation_then_dropout():
    net = MLP(1, 8, 10, hidden_sizes=[5, 4], batch_norm=True, activation="gelu", dropout=[0.2, 0])
    kinds = [type(layer) for layer in net.body]
    first = [nn.Linear, nn.BatchNorm1d, nn.GELU, nn.Dropout]
    assert kinds == [*first, nn.Linear, nn.BatchNorm1d, nn.GELU]  # a rate of 0 adds no layer


def test_one_dropout_rate_is_that_of_every_hidden_layer():
    net = MLP(1, 8, 10, hidden_sizes=[5, 4], dropout=0.3)
    assert [layer.p for layer in net.body if isinstance(layer, nn.Dropout)] == [0.3, 0.3]


@pytest.mark.parametrize("dropout", [[0.2], [0.2, 0.2, 0.2]])
def test_dropout_list_of_another_length_is_refused(dropout):
    message = rf"model\.dropout .*\b{len(dropout)}\b.*model\.hidden_sizes .*\b2\b"
    with pytest.raises(ValueError, match=message):
        MLP(1, 8, 10, hidden_sizes=[5, 4], dropout=dropout)


@pytest.mark.parametrize("dropout", [1.0, -0.1, [0.2, 1.5]])
def test_dropout_out_of_range_is_refused(dropout):
    with pytest.raises(ValueError, match=r"model\.dropout .* \[0, 1\)"):
        MLP(1, 8, 10, hidden_sizes=[5, 4], dropout=dropout)


def test_empty_layer_is_refused():
    with pytest.raises(ValueError, match=r"model.hidden_sizes .*\[5, 0\]"):
        MLP(1, 8, 10, hidden_sizes=[5, 0])


def test_same_seed_gives_same_weights():
    nets = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        nets.append(MLP(1, 8, 10))
    assert torch.equal(nets[0].head.weight, nets[1].head.weight)
    assert not torch.equal(nets[0].head.weight, nets[2].head.weight)
