import pytest
import torch

from optlab.models import ResNet9


def test_default_has_6573130_parameters_on_cifar10():
    def convolution(inputs: int, outputs: int) -> int:
        return inputs * outputs * 9 + 2 * outputs  # a 3x3 kernel without bias, scale and shift

    expected = (
        convolution(3, 64)
        + convolution(64, 128)
        + 2 * convolution(128, 128)
        + convolution(128, 256)
        + convolution(256, 512)
        + 2 * convolution(512, 512)
        + 512 * 10
        + 10
    )
    assert expected == 6_573_130
    net = ResNet9(3, 32, 10)
    assert sum(parameter.numel() for parameter in net.parameters()) == expected


@pytest.mark.parametrize(("in_channels", "image_size"), [(1, 28), (3, 32), (1, 8)])
def test_forward_gives_one_logit_a_class(in_channels, image_size):
    net = ResNet9(in_channels, image_size, 7, widths=[4, 4, 8, 8])
    assert net(torch.rand(2, in_channels, image_size, image_size)).shape == (2, 7)


def test_logit_scale_multiplies_the_logits():
    net = ResNet9(1, 8, 3, widths=[4, 4, 4, 4]).eval()
    images = torch.rand(2, 1, 8, 8)
    scaled = net(images)
    net.logit_scale = 1.0
    torch.testing.assert_close(net(images) * 0.125, scaled)


@pytest.mark.parametrize(
    ("image_size", "options", "message"),
    [
        (32, {"widths": [64, 128]}, r"model.widths .*\[64, 128\].*\b4\b"),
        (32, {"logit_scale": 0.0}, r"model.logit_scale .*\b0.0\b.* > 0"),
        (7, {}, r"model=resnet9\b.*\b7\b.*\n\nhint: .*\b8\b.*model=mlp"),
    ],
)
def test_option_out_of_range_is_refused_by_name(image_size, options, message):
    with pytest.raises(ValueError, match=message):
        ResNet9(3, image_size, 10, **options)
