"""Networks that map a batch of images to logits: plain nn.Modules, one per file.

Every constructor takes `in_channels`, `image_size` and `num_classes`, which depend on the data, and
the network's own options as keyword arguments. Every `forward` maps (B, C, H, W) to
(B, num_classes). The last linear layer is always called `head`, so that transfer can replace it.
"""

from optlab.models.cnn import CNN
from optlab.models.efficientnet_lite0 import EfficientNetLite0
from optlab.models.load import load_network
from optlab.models.mlp import MLP
from optlab.models.resnet9 import ResNet9
from optlab.models.resnet18 import ResNet18
from optlab.models.transfer import FineTuned

__all__ = [
    "CNN",
    "MLP",
    "EfficientNetLite0",
    "FineTuned",
    "ResNet9",
    "ResNet18",
    "load_network",
]
