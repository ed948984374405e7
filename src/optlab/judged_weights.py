"""The judged weights of a run, which its ranking, comparison and tuning are based on.

They are the last weights. The accuracy of the best epoch is the largest of many noisy values, so a
ranking by it would prefer the noisier of two equal configurations. With early stopping they are the
best epoch's weights, because these are what the method returns.
"""

from collections.abc import Mapping
from typing import Any


def judged_weights(config: Mapping[str, Any]) -> str:
    """Return `last` or `best` for a run's config, given as plain nested dicts as in its record."""
    callbacks = config.get("callbacks")
    entries = callbacks.values() if isinstance(callbacks, dict) else ()
    targets = [str(entry.get("_target_")) for entry in entries if isinstance(entry, dict)]
    return "best" if any(target.endswith("EarlyStopping") for target in targets) else "last"
