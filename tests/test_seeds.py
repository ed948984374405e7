"""Derived seeds: equal on every machine, unrelated between uses."""

import itertools

from optlab.seeds import derive_seed, epoch_seed, weights_seed


def test_seeds_are_the_same_on_every_machine():
    # the first 63 bits of hashlib.blake2b(text, digest_size=8), text b"0\x1forder\x1f3" and so on
    assert derive_seed(0, "order", 3) == 554_563_163_506_081_016
    assert weights_seed(0) == 4_283_426_181_684_004_966  # b"0/weights"
    assert epoch_seed(3, 7) == 4_498_089_232_083_272_856  # b"3/epoch/7"


def test_seeds_differ_by_run_seed_use_and_epoch():
    uses = ["order", "augmentation"]
    seeds = {derive_seed(s, w, e) for s, w, e in itertools.product(range(20), uses, range(20))}
    seeds |= {weights_seed(seed) for seed in range(20)}
    seeds |= {epoch_seed(seed, epoch) for seed in range(20) for epoch in range(20)}
    assert len(seeds) == 20 * 2 * 20 + 20 + 20 * 20
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_words_do_not_run_together():
    assert derive_seed(1, "a", "b") != derive_seed(1, "ab")
    assert derive_seed(1, 12) != derive_seed(11, 2)
    assert epoch_seed(1, 23) != epoch_seed(12, 3)
