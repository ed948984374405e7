"""A multilayer perceptron of any width and depth."""

from collections.abc import Sequence

from torch import Tensor, nn

from optlab.models.activations import make_activation
from optlab.models.dropout import dropout_per_layer
from optlab.models.initialization import initialize
from optlab.ranges import check


class MLP(nn.Module):
    """Multilayer perceptron from flattened pixels to logits.

    A hidden layer is linear, batch norm, activation and dropout, in this order. The linear layer
    keeps its bias with batch norm, as in Keras, so that published parameter counts are comparable.
    """

    def __init__(
        self,
        in_channels: int,
        image_size: int,
        num_classes: int,
        *,
        hidden_sizes: Sequence[int] = (256, 128),
        activation: str = "relu",
        dropout: float | Sequence[float] = 0.0,
        batch_norm: bool = False,
        init: str = "default",
    ) -> None:
        """
        Args:
            in_channels: 1 for gray, 3 for color.
            image_size: height and width in pixels.
            num_classes: number of logits.
            hidden_sizes: units of each hidden layer; empty gives a linear classifier.
            activation: a name in `optlab.models.activations.ACTIVATIONS`.
            dropout: one rate in [0, 1) for all hidden layers, or a list with one for each.
            batch_norm: normalize each hidden layer before its activation.
            init: a name in `optlab.models.initialization.INITIALIZATIONS`.

        Raises:
            ValueError: if an option is out of its range; the message names it.
        """
        super().__init__()
        check("model.hidden_sizes", hidden_sizes, ">= 1")
        rates = dropout_per_layer(dropout, len(hidden_sizes), layers_option="model.hidden_sizes")

        layers: list[nn.Module] = []
        num_inputs = in_channels * image_size**2
        for size, rate in zip(hidden_sizes, rates, strict=True):
            layers.append(nn.Linear(num_inputs, size))
            if batch_norm:
                layers.append(nn.BatchNorm1d(size))
            layers.append(make_activation(activation))
            if rate > 0:
                layers.append(nn.Dropout(rate))
            num_inputs = size
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(num_inputs, num_classes)
        initialize(self, init)

    def forward(self, images: Tensor) -> Tensor:
        pixels = images.flatten(1)  # (B, C*H*W)
        return self.head(self.body(pixels))  # (B, num_classes)
