import math
import re

import numpy as np
import pytest

from optlab.analysis.ensemble import Ensemble

# Three images of class 0, 1, 1. The first member is wrong on the last, the second on the first;
# each is less sure where it is wrong, so their mean is right on all three.
LABELS = np.array([0, 1, 1])
PROBABILITIES = np.array(
    [
        [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]],
        [[0.4, 0.6], [0.3, 0.7], [0.1, 0.9]],
    ]
)


def ensemble(validation=(0.7, 0.8)):
    return Ensemble(["a", "b"], np.array(validation), PROBABILITIES, LABELS)


def test_mean_repairs_what_single_members_get_wrong():
    assert [row.test_accuracy for row in ensemble().rows] == pytest.approx([2 / 3, 2 / 3, 1.0])
    assert ensemble().gain == pytest.approx(1 / 3)
    assert ensemble().repaired_and_broken == (1, 0)


def test_single_best_is_chosen_by_validation_only():
    assert [ensemble(validation).best for validation in ((0.9, 0.8), (0.7, 0.8))] == [0, 1]
    assert ["best" in row.role for row in ensemble().rows] == [False, True, False]


def test_loss_is_the_mean_cross_entropy():
    expected = -(math.log(0.9) + math.log(0.8) + math.log(0.4)) / 3
    assert ensemble().rows[0].test_loss == pytest.approx(expected)


def test_a_certain_mistake_has_a_finite_loss():
    sure = np.array([[[1.0, 0.0]], [[1.0, 0.0]]])
    rows = Ensemble(["a", "b"], np.array([0.5, 0.5]), sure, np.array([1])).rows
    assert math.isfinite(rows[0].test_loss)


def test_table_has_a_row_for_each_member_and_the_ensemble():
    table = ensemble().table()
    assert table.name[:2].tolist() == ["a", "b"]
    assert re.fullmatch(r"ensemble .*\b2", table.name[2])
    assert table.val_accuracy.isna().tolist() == [False, False, True]


def test_one_member_is_refused():
    with pytest.raises(ValueError, match=r"ensemble .*\b1\.\n\nhint: .*seed=0,1,"):
        Ensemble(["a"], np.array([0.5]), PROBABILITIES[:1], LABELS)
