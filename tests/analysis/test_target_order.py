"""Claims about who reaches the target in fewer steps."""

import math

import numpy as np
import pytest
from made_studies import summary_of
from scipy import stats

from optlab.analysis.target_order import MIN_SIGNS

TARGET_HEAD = "epoch,step,val/loss,val/accuracy,train_time_s\n"


@pytest.fixture
def claims_of(new_study):
    """The claims of a study: optimizer to steps of its seeds, infinite for a miss of 240 steps."""

    def make(steps, **options):
        writer = new_study(**options)
        for optimizer, each in steps.items():
            for seed, step in enumerate(each):
                status = "diverged" if step is None else "finished"
                folder = writer.run(optimizer, seed, accuracy=0.98, status=status)
                hit = step is not None and math.isfinite(step)
                row = f"1,{step},0.1,0.98,1.0" if hit else "4,240,0.1,0.96,1.0"
                (folder / "validation.csv").write_text(f"{TARGET_HEAD}{row}\n")
        return summary_of(writer).steps_claims

    return make


def test_hits_are_compared_by_the_paired_t_test_on_log_steps(claims_of):
    adam, sgd = [40, 50, 45, 70, 52], [60, 65, 75, 90, 70]
    (claim,) = claims_of({"adam": adam, "sgd": sgd})
    # Of two configurations no variance is moderated
    assert claim.p_value == pytest.approx(stats.ttest_rel(np.log(adam), np.log(sgd)).pvalue)
    assert (claim.earlier, claim.later, claim.test) == ("adam", "sgd", "t")
    assert claim.is_significant


def test_misses_are_compared_by_the_sign_test(claims_of):
    sgd = [60, 60, math.inf, 60, None, 60, 60]  # None: it diverged
    adam = [40, 70, 40, 40, 40, 60, math.inf]
    (claim,) = claims_of({"adam": adam, "sgd": sgd})
    # Adam is earlier in seeds 0, 2, 3 and 4, later in 1 and 6; seed 5 is a tie
    assert (claim.num_seeds, claim.test, claim.earlier) == (6, "sign", "adam")
    assert claim.p_value == pytest.approx(stats.binomtest(2, 6).pvalue)


@pytest.mark.parametrize(
    "steps",
    [
        {"adam": [40] * 4, "sgd": [60] * 4},
        {"adam": [40] * 5, "sgd": [math.inf] * 5},
        {"adam": [math.inf] * 8, "sgd": [math.inf] * 8},
    ],
    ids=["four seeds", "five seeds with misses", "nobody reached it"],
)
def test_few_decided_seeds_make_no_claim(steps, claims_of):
    assert claims_of(steps) == []


def test_run_that_ended_earlier_is_not_taken_to_be_later(claims_of):
    """At 240 steps SGD has ended; Adam reached the target after that."""
    assert claims_of({"adam": [300] * MIN_SIGNS, "sgd": [math.inf] * MIN_SIGNS}) == []
    (claim,) = claims_of(
        {"adam": [200] * MIN_SIGNS, "sgd": [math.inf] * MIN_SIGNS}, name="of equal length"
    )
    assert claim.p_value == pytest.approx(2 / 2**MIN_SIGNS)


def test_p_values_are_adjusted_for_all_pairs(claims_of):
    two = {"adam": [40, 50, 45, 70, 52], "sgd": [60, 65, 75, 90, 70]}
    (only_two,) = claims_of(two)
    misses = {"rmsprop": [math.inf] * 5}  # makes no test of its own: too few for signs
    (still,) = claims_of(two | misses, name="with misses")
    assert still == only_two
    three = claims_of(two | {"rmsprop": [41, 48, 47, 66, 55]}, name="three")
    assert len(three) == 3
    assert max(claim.p_value for claim in three) <= 1
