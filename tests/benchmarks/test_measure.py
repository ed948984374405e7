import pytest

from benchmarks.measure import Spread, alternate, paired_ratios


def test_spread_quotes_median_and_extremes() -> None:
    assert Spread.of([3.0, 1.0, 2.0, 10.0]) == Spread(2.5, 1.0, 10.0, 4)


def test_spread_refuses_no_repeat() -> None:
    with pytest.raises(ValueError, match="repeat"):
        Spread.of([])


def test_contenders_take_turns_and_the_warm_up_does_not_count() -> None:
    calls: list[tuple[str, int]] = []

    def contender(name: str):
        def measure(repeat: int) -> int:
            calls.append((name, repeat))
            return repeat

        return measure

    measured = alternate({"a": contender("a"), "b": contender("b")}, 2)
    assert measured == {"a": [0, 1], "b": [0, 1]}
    assert calls == [("a", -1), ("b", -1), ("a", 0), ("b", 0), ("a", 1), ("b", 1)]


def test_ratios_are_taken_pair_by_pair() -> None:
    # The ratio of the medians would be 2 / 2 = 1; no pair has it
    assert paired_ratios([1.0, 2.0, 6.0], [2.0, 4.0, 2.0]) == [0.5, 0.5, 3.0]
    with pytest.raises(ValueError, match="shorter"):
        paired_ratios([1.0, 2.0], [1.0])
