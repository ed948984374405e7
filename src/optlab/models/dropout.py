"""Dropout rates from a config: one for all layers, or a list with one for each."""

from collections.abc import Sequence


def dropout_per_layer(
    dropout: float | Sequence[float], num_layers: int, *, layers_option: str
) -> list[float]:
    """One rate per hidden layer.

    Args:
        dropout: probability that a unit is zeroed in training, in [0, 1).
        num_layers: number of hidden layers.
        layers_option: the option that `num_layers` comes from, for the message.

    Raises:
        ValueError: if a list has another length than there are layers, or a rate is out of range.
    """
    rates = [dropout] * num_layers if isinstance(dropout, (int, float)) else list(dropout)
    if len(rates) != num_layers:
        raise ValueError(
            f"model.dropout lists {len(rates)} rates, but {layers_option} makes {num_layers} "
            f"hidden layers.\n\nhint: give one rate for each hidden layer, or one number for all"
        )
    checked = rates if rates else [dropout] if isinstance(dropout, (int, float)) else []
    for rate in checked:
        if not 0.0 <= rate < 1.0:
            raise ValueError(
                f"model.dropout is {dropout}, but a rate is in [0, 1).\n\n"
                f"hint: 0.2 zeroes a fifth of the units; 0.0 switches dropout off"
            )
    return [float(rate) for rate in rates]
