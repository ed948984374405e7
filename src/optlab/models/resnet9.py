"""A nine-layer residual network that trains fast on CIFAR-10.

After David Page's entry in the DAWNBench competition (myrtle.ai, "How to train your ResNet", 2018):
eight convolutions and a linear layer, two residual blocks, max pooling, scaled logits.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from optlab.models.activations import make_activation
from optlab.ranges import check


class ResNet9(nn.Module):
    """Four stages; all but the first halve the size, the second and fourth end in a residual block.

    With the default widths, ten classes and color it has 6,573,130 parameters.
    """

    accepts_any_size = True  # the stages end in global max pooling

    def __init__(
        self,
        in_channels: int,
        image_size: int,
        num_classes: int,
        *,
        widths: Sequence[int] = (64, 128, 256, 512),
        activation: str = "relu",
        logit_scale: float = 0.125,
    ) -> None:
        """
        Args:
            in_channels: 1 for gray, 3 for color.
            image_size: height and width in pixels, 8 or more; the weights do not depend on it.
            num_classes: number of logits.
            widths: channels of the four stages.
            activation: a name in `optlab.models.activations.ACTIVATIONS`.
            logit_scale: factor on the logits, above 0; small values soften early predictions.

        Raises:
            ValueError: if an option is out of its range; the message names it.
        """
        super().__init__()
        check("model.widths", widths, ">= 1")
        check("model.logit_scale", logit_scale, "> 0")
        if len(widths) != 4:
            raise ValueError(
                f"model.widths is {list(widths)}, but there are 4 stages.\n\n"
                f"hint: [64, 128, 256, 512] is usual; half of each is a quarter of the work"
            )
        if image_size < 8:
            raise ValueError(
                f"model=resnet9 halves the image three times, but images have {image_size} pixels."
                f"\n\nhint: use images of 8 pixels or more, or model=mlp"
            )
        first, second, third, fourth = widths
        self.body = nn.Sequential(
            _convolution(in_channels, first, activation),
            _convolution(first, second, activation),
            nn.MaxPool2d(2),
            _Residual(second, activation),
            _convolution(second, third, activation),
            nn.MaxPool2d(2),
            _convolution(third, fourth, activation),
            nn.MaxPool2d(2),
            _Residual(fourth, activation),
            nn.AdaptiveMaxPool2d(1),
        )
        self.head = nn.Linear(fourth, num_classes)
        self.logit_scale = logit_scale

    def forward(self, images: Tensor) -> Tensor:
        features = self.body(images).flatten(1)  # (B, widths[3])
        return self.head(features) * self.logit_scale  # (B, num_classes)


def _convolution(in_channels: int, out_channels: int, activation: str) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        make_activation(activation),
    )


class _Residual(nn.Module):
    def __init__(self, channels: int, activation: str) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            _convolution(channels, channels, activation),
            _convolution(channels, channels, activation),
        )

    def forward(self, maps: Tensor) -> Tensor:
        return maps + self.branch(maps)  # (B, channels, H, W)
