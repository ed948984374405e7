"""Dropout rates from a config: one for all layers, or a list with one for each."""

from collections.abc import Sequence

from optlab.ranges import check


def dropout_per_layer(
    dropout: float | Sequence[float], num_layers: int, *, layers_option: str
) -> list[float]:
    """Return one dropout rate per hidden layer.

    Args:
        dropout: probability that a unit is zeroed in training, in [0, 1).
        num_layers: number of hidden layers.
        layers_option: the option that `num_layers` comes from, for the message.

    Raises:
        ValueError: if a list has another length than there are layers, or a rate is out of range.
    """
    check("model.dropout", dropout, "in [0, 1)")
    rates = [dropout] * num_layers if isinstance(dropout, (int, float)) else list(dropout)
    if len(rates) != num_layers:
        raise ValueError(
            f"model.dropout has {len(rates)} rates, but {layers_option} has {num_layers} "
            f"hidden layers.\n\nhint: use one rate per hidden layer, or a single number for all"
        )
    return [float(rate) for rate in rates]
