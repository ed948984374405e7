"""Which weights of a run are judged, from its config."""

import pytest

from optlab.judged_weights import judged_weights

STOPPING = {"_target_": "lightning.pytorch.callbacks.EarlyStopping", "patience": 5}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, "last"),
        ({"callbacks": None}, "last"),
        ({"callbacks": {"early_stopping": None}}, "last"),
        (
            {"callbacks": {"best": {"_target_": "optlab.training.checkpoints.BestCheckpoint"}}},
            "last",
        ),
        ({"callbacks": {"early_stopping": STOPPING}}, "best"),
        ({"callbacks": {"early_stopping": None, "mine": STOPPING}}, "best"),
        ({"callbacks": {"mine": {"_target_": "my_code.MyEarlyStopping"}}}, "best"),
    ],
)
def test_best_epoch_is_judged_only_with_early_stopping(config, expected):
    assert judged_weights(config) == expected
