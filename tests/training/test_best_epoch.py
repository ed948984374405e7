"""Which epoch is the best: the checkpoint and the record agree, also where epochs tie."""

import math

import pandas as pd
import pytest
import torch

from optlab.models import load_network
from optlab.training import build
from optlab.training.best_epoch import ranking_key
from optlab.training.run import run
from optlab.training.run_id import replicas, run_dir

# 18 images to choose by, so that most epochs tie with another
FEW = ("data.val_fraction=0.0125", "trainer.max_epochs=12", "optimizer=adam")


@pytest.mark.parametrize(
    ("earlier", "later", "expected"),
    [
        ((0.90, 0.3), (0.91, 0.4), "later"),  # accuracy first
        ((0.91, 0.3), (0.91, 0.4), "earlier"),  # the lower loss
        ((0.91, 0.3), (0.91, 0.3), "later"),
        ((0.91, 0.3), (math.nan, 0.2), "earlier"),
        ((0.91, 0.3), (0.91, math.nan), "earlier"),
        ((math.nan, math.nan), (0.1, 3.0), "later"),
    ],
)
def test_equal_accuracy_is_settled_by_loss_and_then_by_time(earlier, later, expected):
    is_later = ranking_key(later[0], "max", later[1]) >= ranking_key(earlier[0], "max", earlier[1])
    assert is_later == (expected == "later")


def test_lower_loss_is_better_where_loss_chooses():
    assert ranking_key(0.3, "min", 0.3) > ranking_key(0.4, "min", 0.4)
    assert ranking_key(0.3, "min", 0.3) >= ranking_key(0.3, "min", 0.3)


def validation_of(net, config):
    (batch,) = build.build_data(config).val_dataloader()
    images, labels = batch
    with torch.no_grad():
        logits = net(images)
    return {
        "loss": torch.nn.functional.cross_entropy(logits, labels).item(),
        "accuracy": (logits.argmax(dim=1) == labels).double().mean().item(),
    }


@pytest.mark.parametrize("number", [1, 2], ids=["alone", "replicas"])
def test_best_checkpoint_is_the_epoch_of_the_record_where_epochs_tie(number, make_config):
    config = make_config(f"num_replicas={number}", *FEW)
    for each, record in zip(replicas(config), run(config), strict=True):
        epochs = pd.read_csv(run_dir(each) / "epochs.csv")
        tied = epochs[epochs["val/accuracy"] == epochs["val/accuracy"].max()]
        best = record.validation.best
        assert best.epoch == tied.epoch[tied["val/loss"].idxmin()]
        assert best.epoch != tied.epoch.iloc[0]  # the one that Lightning would keep
        found = validation_of(load_network(run_dir(each), "best"), each)
        assert found["accuracy"] == pytest.approx(best.accuracy)
        assert found["loss"] == pytest.approx(best.loss, rel=1e-5)


def test_epoch_without_validation_is_not_taken_for_the_best(train):
    trained = train("trainer.max_epochs=4", "+trainer.check_val_every_n_epoch=2")
    best = trained.record["validation"]["best"]["epoch"]
    assert best in (2, 4)  # epoch 3 had the metrics of epoch 2, and would tie
    saved = torch.load(trained.folder / "checkpoints" / "best.ckpt", weights_only=True)
    assert saved["epoch"] + 1 == best


def test_last_weights_are_validated_where_their_epoch_was_not(train):
    trained = train("trainer.max_epochs=3", "+trainer.check_val_every_n_epoch=2")
    last = trained.record["validation"]["last"]
    assert (last["epoch"], last["step"]) == (3, trained.record["num_steps"])
    whole = train("trainer.max_epochs=3")
    assert last == whole.record["validation"]["last"]


def test_resumed_run_knows_the_loss_of_its_best_epoch(train, interrupted, tmp_path):
    nine = (*FEW, "trainer.max_epochs=9")
    whole = train(*nine)
    best = whole.record["validation"]["best"]
    later = whole.epochs[whole.epochs.epoch > best["epoch"]]
    assert (later["val/accuracy"] == best["accuracy"]).any()  # which would replace it
    cut = f"outputs='{tmp_path / 'cut'}'"
    interrupted(best["step"] + 3, *nine, cut)
    train(*nine, cut).assert_equals(whole)
