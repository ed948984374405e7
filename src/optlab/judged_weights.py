"""Which weights of a run are judged: ranked, compared, tuned by.

The best epoch is the largest of many noisy values. Ranking by it would prefer the noisier of two
equal configurations, so the last weights are judged. With early stopping the best epoch's weights
are what the method returns, and they are judged.
"""

from collections.abc import Mapping
from typing import Any


def judged_weights(config: Mapping[str, Any]) -> str:
    """Return `last` or `best` for a run's config, which is nested and plain as in its record."""
    callbacks = config.get("callbacks")
    entries = callbacks.values() if isinstance(callbacks, dict) else ()
    targets = [str(entry.get("_target_")) for entry in entries if isinstance(entry, dict)]
    return "best" if any(target.endswith("EarlyStopping") for target in targets) else "last"
