"""The script that counts errors of the verdict, with few studies."""

import runpy
from pathlib import Path

import pytest

SCRIPT = runpy.run_path(str(Path(__file__).parent.parent / "scripts" / "calibrate.py"))


def test_rank_does_not_favor_the_noisier_of_two_equals():
    by_last, by_best = SCRIPT["noisier_first"](3.0, num_seeds=3, num_studies=400)
    assert by_last == pytest.approx(0.5, abs=3 * (0.25 / 400) ** 0.5)  # three standard errors
    assert by_best > 0.9  # why the best epoch does not rank


@pytest.mark.parametrize(("correlation", "noisiest"), [(0.3, 1.0), (0.0, 3.0)])
def test_equals_are_rarely_called_different(correlation, noisiest):
    (line,) = [
        line
        for line in SCRIPT["LINES"]
        if (line.noise, line.step) == (SCRIPT["normal"], None)
        and (line.correlation, max(line.scales)) == (correlation, noisiest)
    ]
    errors = SCRIPT["judge"](line, num_seeds=5, num_studies=200)
    assert 0 < errors.false_claims < 0.06 + 3 * (0.06 * 0.94 / 200) ** 0.5
    assert errors.coverage > 0.85


def test_interval_over_seeds_and_images_is_right_where_that_over_seeds_is_not():
    over_seeds, over_both = SCRIPT["coverage_over_images"](num_seeds=10, num_studies=400)
    assert over_seeds < 0.9
    assert over_both == pytest.approx(0.95, abs=0.02 + 3 * (0.05 * 0.95 / 400) ** 0.5)


def test_tuning_for_each_seed_rarely_calls_equals_different():
    share = SCRIPT["claims_after_tuning"](5, 200, "each_seed")
    assert 0 < share < 0.1 + 3 * (0.1 * 0.9 / 200) ** 0.5


def test_tuning_once_calls_equals_different_more_often_with_more_seeds():
    few, many = (SCRIPT["claims_after_tuning"](seeds, 100, "once") for seeds in (5, 40))
    assert many > few + 0.1


def test_equals_are_rarely_separated_by_steps_to_the_target():
    false, found = SCRIPT["claims_on_steps"](num_seeds=10, num_studies=50, last_step=float("inf"))
    assert false < 0.05 + 3 * (0.05 * 0.95 / 50) ** 0.5
    assert found > 0.8


def test_seeds_in_rounds_take_fewer_runs_and_find_most_of_what_all_seeds_find():
    (line,) = [
        each
        for each in SCRIPT["IN_ROUNDS"]
        if (each.shifts, each.correlation) == (SCRIPT["LAST_WEIGHTS"], 0.3)
    ]
    found = SCRIPT["in_rounds"](line, (5, 10, 20), num_studies=40)
    fixed = SCRIPT["in_rounds"](line, (20,), num_studies=40)
    assert found.runs < 0.75
    assert fixed.runs == 1
    assert found.power > fixed.power - 0.15
    assert found.false_claims < 0.1


@pytest.mark.slow
def test_counting_looks_makes_fewer_false_claims():
    counted, not_counted = (
        SCRIPT["looks_by_hand"](num_studies=150, counted=each) for each in (True, False)
    )
    assert counted < not_counted < 0.25
