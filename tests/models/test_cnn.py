import pytest
import torch
from torch import nn

from optlab.models import CNN


def num_parameters(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def test_default_has_206922_parameters_on_mnist():
    # published for this network: 16*1*9+16 + 32*16*9+32 + 32*7*7*128+128 + 128*10+10, padding 1
    assert num_parameters(CNN(1, 28, 10)) == 206_922


def test_lists_of_filters_and_layers_set_width_and_depth():
    net = CNN(3, 32, 10, filters=[4, 8, 16], layers=[1, 2, 1], hidden_sizes=[], dropout=0.0)
    convolutions = [layer for layer in net.features if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [4, 8, 8, 16]
    assert net.head.in_features == 16 * 4 * 4  # 32 halved three times


@pytest.mark.parametrize(("in_channels", "image_size"), [(1, 28), (3, 32), (1, 8)])
@pytest.mark.parametrize("global_pooling", ["none", "avg", "max"])
def test_forward_gives_one_logit_a_class(in_channels, image_size, global_pooling):
    net = CNN(in_channels, image_size, 7, global_pooling=global_pooling)
    assert net(torch.rand(4, in_channels, image_size, image_size)).shape == (4, 7)


def test_batch_norm_takes_the_place_of_the_convolution_bias():
    net = CNN(1, 8, 10, batch_norm=True, filters=[4], activation="tanh", conv_dropout=0.1)
    kinds = [type(layer) for layer in net.features]
    assert kinds == [nn.Conv2d, nn.BatchNorm2d, nn.Tanh, nn.MaxPool2d, nn.Dropout2d]
    assert net.features[0].bias is None


def test_odd_image_sizes_are_rounded_down_by_pooling():
    net = CNN(1, 15, 10, pooling="avg")
    assert net(torch.rand(2, 1, 15, 15)).shape == (2, 10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filters": []}, r"model.filters .*\bempty\b.*\n\nhint: .*model=mlp"),
        ({"filters": [4, 0]}, r"model.filters .*\[4, 0\]"),
        ({"layers": [1]}, r"model.layers .*\b1\b.*model.filters .*\b2\b"),
        ({"layers": 0}, r"model.layers .*\[0, 0\]"),
        ({"kernel_size": 4}, r"model.kernel_size .*\b4\b.*\bodd\b"),
        ({"pooling": "mean"}, r"model.pooling .*\bmean\b.* max, avg"),
        ({"global_pooling": "mean"}, r"model.global_pooling .*\bmean\b"),
        ({"hidden_sizes": [0]}, r"model.hidden_sizes .*\[0\]"),
        ({"conv_dropout": 1.0}, r"model.conv_dropout .*\b1.0\b"),
        ({"dropout": [0.1, 0.1]}, r"model.dropout .*\b2\b.*model.hidden_sizes .*\b1\b"),
        ({"activation": "rleu"}, r"model.activation .*\brleu\b"),
        ({"filters": [2, 2, 2, 2, 2]}, r"model.filters .*\b5\b.*\b28\b.*\b4\b"),
    ],
)
def test_option_out_of_range_is_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        CNN(1, 28, 10, **options)
