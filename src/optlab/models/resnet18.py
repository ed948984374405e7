"""ResNet-18, for small images or with the ImageNet stem.

He et al. 2016, arXiv:1512.03385; the network is torchvision's.
"""

from torch import Tensor, nn

from optlab.ranges import check_choice


class ResNet18(nn.Module):
    """torchvision's residual network of 18 layers with a stem that suits the image size.

    The small stem replaces the 7x7 convolution with stride 2 by a 3x3 one with stride 1 and drops
    the max pooling: 32x32 images reach the residual stages at full size, as in the paper's CIFAR-10
    networks. With ten classes and color it has 11,173,962 parameters.
    """

    accepts_any_size = True  # the body ends in global average pooling

    def __init__(
        self, in_channels: int, image_size: int, num_classes: int, *, stem: str = "small"
    ) -> None:
        """
        Args:
            in_channels: 1 for gray, 3 for color.
            image_size: height and width in pixels; the weights do not depend on it.
            num_classes: number of logits.
            stem: `small` (up to about 64 pixels) or `imagenet`.

        Raises:
            ValueError: if the stem is unknown.
        """
        super().__init__()
        check_choice("model.stem", stem, ("small", "imagenet"))
        from torchvision.models import resnet18  # takes a second to import

        self.body = resnet18(weights=None)
        self.head = nn.Linear(self.body.fc.in_features, num_classes)
        self.body.fc = nn.Identity()
        if stem == "small":
            self.body.conv1 = nn.Conv2d(in_channels, 64, 3, stride=1, padding=1, bias=False)
            self.body.maxpool = nn.Identity()
        elif in_channels != 3:
            self.body.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        # as torchvision draws its convolutions
        nn.init.kaiming_normal_(self.body.conv1.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        features = self.body(images)  # (B, 512)
        return self.head(features)  # (B, num_classes)
