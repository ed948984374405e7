"""Every optimizer of conf/optimizer, as its YAML stands, learns the embedded digits and resumes."""

from pathlib import Path

import pytest

OPTIMIZERS = sorted(
    path.stem for path in (Path(__file__).parents[2] / "conf" / "optimizer").rglob("*.yaml")
)
MIN_TEST_ACCURACY = 0.90
EPOCHS = 10
# What the header of the YAML says of the batch: full-batch methods, and rates that start low
FULL_BATCH = "data.batch_size=4096"
SETTINGS = {
    "lbfgs": [FULL_BATCH, "trainer.max_epochs=20"],
    "rprop": [FULL_BATCH, "trainer.max_epochs=40"],
}


def test_optimizers_were_found():
    assert len(OPTIMIZERS) >= 35
    assert {"sgd", "adam", "rmsprop", "adagrad", "adamw", "lbfgs", "muon", "soap", "sam"} <= set(
        OPTIMIZERS
    )


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizer_learns_the_digits(optimizer, train):
    settings = SETTINGS.get(optimizer, [f"trainer.max_epochs={EPOCHS}"])
    record = train(f"optimizer={optimizer}", *settings).record
    assert record["status"] == "finished"
    assert record["test"]["best"]["accuracy"] >= MIN_TEST_ACCURACY


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_interrupted_run_resumes_to_the_same_numbers(optimizer, train, interrupted, tmp_path):
    chosen = (f"optimizer={optimizer}", "trainer.max_epochs=2", "model.dropout=0.3")
    interrupted(29, *chosen, f"outputs={tmp_path}/cut")  # in the second epoch
    train(*chosen, f"outputs={tmp_path}/cut").assert_equals(train(*chosen))
