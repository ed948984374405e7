import itertools

from optlab.data.seeds import derive_seed


def test_derive_seed_is_the_same_on_every_machine():
    # hashlib.blake2b(b"0\x1forder\x1f3", digest_size=8), first 63 bits
    assert derive_seed(0, "order", 3) == 554_563_163_506_081_016


def test_derived_seeds_differ_by_seed_purpose_and_epoch():
    purposes = ["order", "augmentation"]
    seeds = {derive_seed(s, w, e) for s, w, e in itertools.product(range(20), purposes, range(20))}
    assert len(seeds) == 20 * 2 * 20
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_words_do_not_run_together():
    assert derive_seed(1, "a", "b") != derive_seed(1, "ab")
    assert derive_seed(1, 12) != derive_seed(11, 2)
