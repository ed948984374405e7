"""One seed for every purpose, derived from the run's seed by a hash.

Consecutive run seeds (0, 1, 2, ...) and consecutive epochs give unrelated streams, and adding a
new purpose moves no existing one.
"""

import hashlib


def derive_seed(seed: int, *words: str | int) -> int:
    """Seed in [0, 2**63) for the purpose that `words` name, the same on every machine."""
    text = "\x1f".join([str(seed), *map(str, words)])
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
