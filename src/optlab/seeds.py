"""Derive a separate seed for every use of randomness from the run's seed by a hash.

Consecutive run seeds (0, 1, 2, ...) and consecutive epochs give unrelated streams, and adding a new
use does not change existing ones.
"""

import hashlib


def derive_seed(*words: str | int) -> int:
    """Return the seed for the use that `words` name, such as `derive_seed(seed, "order", epoch)`.

    Returns:
        A number in [0, 2**63), the same on every machine.
    """
    text = "\x1f".join(map(str, words))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def weights_seed(seed: int) -> int:
    """Return the seed of a run's initial weights."""
    return derive_seed(
        f"{seed}/weights"
    )  # one word, for compatibility: another seed would change all results


def epoch_seed(seed: int, epoch: int) -> int:
    """Return the seed of what a network draws within an epoch, such as dropout."""
    return derive_seed(f"{seed}/epoch/{epoch}")
