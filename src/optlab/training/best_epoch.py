"""Which epoch has the best weights: one rule for the checkpoint and for the record.

On a small validation split many epochs have the same accuracy. Of equal ones the epoch with the
lower validation loss is better, and of those the later one.
"""

import math

from omegaconf import DictConfig


def best_rule(config: DictConfig) -> tuple[str, str]:
    """The metric that chooses the best weights, and `max` or `min`; `last` keeps the last ones."""
    best = (config.callbacks or {}).get("best")
    if not best:
        return "val/accuracy", "last"
    return best.get("monitor", "val/accuracy"), best.get("mode", "max")


def merit(value: float, mode: str, loss: float) -> tuple[float, float]:
    """What epochs are compared by: a later one is better unless its merit is smaller.

    Args:
        value: of the metric that chooses; not a number is worse than any number.
        mode: `max` or `min`.
        loss: validation loss.
    """
    signed = value if mode == "max" else -value
    return -math.inf if math.isnan(value) else signed, -math.inf if math.isnan(loss) else -loss
