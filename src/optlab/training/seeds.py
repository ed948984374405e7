"""Seeds derived from a run's seed, so that each use of chance has a stream of its own."""

import hashlib


def derive_seed(seed: int, *words: str | int) -> int:
    """A seed in [0, 2**63) for one use of chance, e.g. `derive_seed(0, "weights")`.

    Equal arguments give equal seeds on every machine; other words give an unrelated stream.
    """
    text = "/".join(str(part) for part in (seed, *words))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1
