"""A convolutional network of any number of stages."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from optlab.models.activations import make_activation
from optlab.models.dropout import dropout_per_layer
from optlab.models.initialization import initialize
from optlab.ranges import check, check_choice

POOLINGS = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d}
GLOBAL_POOLINGS: dict[str, Callable[[], nn.Module]] = {
    "none": nn.Identity,
    "avg": lambda: nn.AdaptiveAvgPool2d(1),
    "max": lambda: nn.AdaptiveMaxPool2d(1),
}


class CNN(nn.Module):
    """Stages of convolutions that halve the image, then hidden layers, then logits.

    A stage is `layers` times (convolution, batch norm, activation), then pooling by 2. Convolutions
    are padded, so that only pooling changes the size. The default is a small network for digits,
    206,922 parameters on 28x28 gray images.
    """

    def __init__(
        self,
        in_channels: int,
        image_size: int,
        num_classes: int,
        *,
        filters: Sequence[int] = (16, 32),
        layers: int | Sequence[int] = 1,
        kernel_size: int = 3,
        pooling: str = "max",
        global_pooling: str = "none",
        hidden_sizes: Sequence[int] = (128,),
        activation: str = "relu",
        conv_dropout: float = 0.0,
        dropout: float | Sequence[float] = 0.25,
        batch_norm: bool = False,
        init: str = "default",
    ) -> None:
        """
        Args:
            in_channels: 1 for gray, 3 for color.
            image_size: height and width in pixels.
            num_classes: number of logits.
            filters: channels of each stage.
            layers: convolutions of each stage, one number for all or a list.
            kernel_size: side of a kernel in pixels, odd.
            pooling: `max` or `avg`, window and stride 2, at the end of a stage.
            global_pooling: what remains of the image before the hidden layers: `none` keeps every
                position, `avg` and `max` one value per channel.
            hidden_sizes: units of the layers after the convolutions; empty for none.
            activation: a name in `optlab.models.activations.ACTIVATIONS`.
            conv_dropout: probability that a whole channel is zeroed after a stage, in [0, 1).
            dropout: one rate in [0, 1) for all hidden layers, or a list with one for each.
            batch_norm: normalize after every convolution, which then has no bias of its own.
            init: a name in `optlab.models.initialization.INITIALIZATIONS`.

        Raises:
            ValueError: if an option is out of its range; the message names it.
        """
        super().__init__()
        layers_of = [layers] * len(filters) if isinstance(layers, int) else list(layers)
        check("model.filters", filters, ">= 1")
        check("model.layers", layers_of, ">= 1")
        check("model.hidden_sizes", hidden_sizes, ">= 1")
        check("model.conv_dropout", conv_dropout, "in [0, 1)")
        check_choice("model.pooling", pooling, POOLINGS)
        check_choice("model.global_pooling", global_pooling, GLOBAL_POOLINGS)
        _check_stages(len(filters), len(layers_of), kernel_size, image_size)
        rates = dropout_per_layer(dropout, len(hidden_sizes), layers_option="model.hidden_sizes")

        stages: list[nn.Module] = []
        channels, size = in_channels, image_size
        for num_filters, num_layers in zip(filters, layers_of, strict=True):
            for _ in range(num_layers):
                padding = kernel_size // 2  # keeps the size
                stages.append(
                    nn.Conv2d(
                        channels,
                        num_filters,
                        kernel_size,
                        padding=padding,
                        bias=not batch_norm,
                    )
                )
                if batch_norm:
                    stages.append(nn.BatchNorm2d(num_filters))
                stages.append(make_activation(activation))
                channels = num_filters
            stages.append(POOLINGS[pooling](2))
            size //= 2
            if conv_dropout > 0:
                stages.append(nn.Dropout2d(conv_dropout))
        self.features = nn.Sequential(*stages)
        self.global_pool = GLOBAL_POOLINGS[global_pooling]()
        self.accepts_any_size = global_pooling != "none"

        num_inputs = channels * (1 if self.accepts_any_size else size**2)
        hidden: list[nn.Module] = []
        for num_units, rate in zip(hidden_sizes, rates, strict=True):
            hidden += [nn.Linear(num_inputs, num_units), make_activation(activation)]
            if rate > 0:
                hidden.append(nn.Dropout(rate))
            num_inputs = num_units
        self.hidden = nn.Sequential(*hidden)
        self.head = nn.Linear(num_inputs, num_classes)
        initialize(self, init)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.features(images)  # (B, filters[-1], H / 2**stages, W / 2**stages)
        pooled = self.global_pool(maps).flatten(1)  # (B, filters[-1] * positions)
        return self.head(self.hidden(pooled))  # (B, num_classes)


def _check_stages(num_stages: int, num_layers: int, kernel_size: int, image_size: int) -> None:
    if not num_stages:
        raise ValueError(
            "model.filters is empty, but a CNN needs at least one stage.\n\n"
            "hint: use [16, 32] for two stages, or model=mlp for a network without convolutions"
        )
    if num_layers != num_stages:
        raise ValueError(
            f"model.layers has {num_layers} entries, but model.filters has {num_stages}.\n\n"
            f"hint: use one number per stage, or a single number for all stages"
        )
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(
            f"model.kernel_size is {kernel_size}; it must be odd, so that padding keeps the image "
            f"size.\n\nhint: 3 or 5"
        )
    if image_size // 2**num_stages < 1:
        raise ValueError(
            f"model.filters has {num_stages} stages, each of which halves the image, but "
            f"{image_size} pixels can be halved only {image_size.bit_length() - 1} times.\n\n"
            f"hint: use fewer stages with more model.layers in each"
        )
