"""Choose the best epoch: one rule for the checkpoint and for the record.

On a small validation split many epochs have the same accuracy. Among equal ones, the epoch with the
lower validation loss is better; if that is equal too, the later one.
"""

import math

from omegaconf import DictConfig


def best_rule(config: DictConfig) -> tuple[str, str]:
    """Return the metric to monitor for the best weights, and its mode, `max` or `min`.

    Without a `best` callback the mode is `last`: the last weights count as the best.
    """
    best = (config.callbacks or {}).get("best")
    if not best:
        return "val/accuracy", "last"
    return best.get("monitor", "val/accuracy"), best.get("mode", "max")


def ranking_key(value: float, mode: str, loss: float) -> tuple[float, float]:
    """Return the key by which epochs are compared; of equal keys, the later epoch is better.

    Args:
        value: value of the monitored metric; NaN is worse than any number.
        mode: `max` or `min`.
        loss: validation loss.
    """
    signed = value if mode == "max" else -value
    return -math.inf if math.isnan(value) else signed, -math.inf if math.isnan(loss) else -loss
