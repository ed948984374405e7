import pytest
import torch

from optlab.models import CNN, MLP, ResNet18
from optlab.models.feature_maps import feature_maps


def test_maps_are_those_after_each_activation():
    net = CNN(1, 28, 10, filters=[4, 8], layers=[2, 1]).eval()
    image = torch.rand(1, 28, 28)
    maps = feature_maps(net, image)
    assert [tuple(layer.shape) for layer in maps] == [(4, 28, 28), (4, 28, 28), (8, 14, 14)]
    convolution, activation = net.features[0], net.features[1]
    expected = activation(convolution(image.unsqueeze(0)))[0]
    torch.testing.assert_close(maps[0], expected)


def test_network_is_left_as_it_was():
    net = CNN(1, 28, 10).eval()
    feature_maps(net, torch.rand(1, 28, 28))
    assert not any(module._forward_hooks for module in net.modules())


def test_layers_that_work_in_place_do_not_overwrite_earlier_maps():
    net = ResNet18(3, 32, 10).eval()
    maps = feature_maps(net, torch.rand(3, 32, 32))
    # a stem and eight blocks of two convolutions, each followed by its activation
    assert len(maps) == 17
    assert maps[0].shape == (64, 32, 32)
    assert all((layer >= 0).all() for layer in maps)


def test_network_without_convolutions_is_refused():
    with pytest.raises(ValueError, match=r"\bMLP\b.*\n\nhint: .*model=cnn"):
        feature_maps(MLP(1, 28, 10).eval(), torch.rand(1, 28, 28))
