import pytest
import torch

from optlab.models import ResNet18


def num_parameters(net: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize(
    ("in_channels", "stem", "expected"),
    [
        # torchvision's ten-class network: 11,689,512 with 1000 classes minus 990 * 513
        (3, "imagenet", 11_181_642),
        # minus 64 * 3 * (49 - 9) = 7,680 for the 3x3 stem
        (3, "small", 11_173_962),
        # minus 64 * 2 * 9 = 1,152 for two channels less
        (1, "small", 11_172_810),
    ],
)
def test_parameters_follow_from_torchvisions_count(in_channels, stem, expected):
    assert num_parameters(ResNet18(in_channels, 32, 10, stem=stem)) == expected


def test_forward_gives_one_logit_a_class_at_any_size():
    net = ResNet18(1, 28, 10).eval()
    for size in (8, 28):
        assert net(torch.rand(2, 1, size, size)).shape == (2, 10)


def test_small_stem_keeps_the_size_up_to_the_first_stage():
    net = ResNet18(3, 32, 10)
    images = torch.rand(1, 3, 32, 32)
    assert net.body.maxpool(net.body.conv1(images)).shape == (1, 64, 32, 32)


def test_unknown_stem_is_refused():
    with pytest.raises(ValueError, match=r"model.stem .*\btiny\b.*\bsmall, imagenet\b"):
        ResNet18(3, 32, 10, stem="tiny")
