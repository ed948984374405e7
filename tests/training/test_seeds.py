"""Derived seeds: equal everywhere, unrelated between uses."""

from optlab.training.seeds import derive_seed


def test_seed_is_a_function_of_its_words_alone():
    assert derive_seed(0, "weights") == derive_seed(0, "weights")
    assert 0 <= derive_seed(0, "weights") < 2**63


def test_uses_and_seeds_do_not_share_a_stream():
    words = [(seed, use, epoch) for seed in range(5) for use in ("a", "b") for epoch in range(5)]
    assert len({derive_seed(*each) for each in words}) == len(words)
    assert derive_seed(1, 23) != derive_seed(12, 3)
