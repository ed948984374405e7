from optlab.analysis.labels import display_name, label_configurations


def test_display_name_keeps_what_follows_the_optimizer():
    assert display_name("adamw · lr_multiplier=10") == "AdamW · lr_multiplier=10"
    assert display_name("mine") == "mine"


def test_callback_is_named_by_its_class_next_to_runs_without_it():
    adam = {"optimizer.name": "adam", "seed": 0}
    ema = {
        "callbacks.average._target_": "lightning.pytorch.callbacks.EMAWeightAveraging",
        "callbacks.average.decay": 0.999,
    }
    slower = {**ema, "callbacks.average.decay": 0.99}
    swa = {"callbacks.average._target_": "optlab.training.weight_averages.SWA"}
    assert label_configurations([adam, adam | ema]) == ["average=off", "average=EMAWeightAveraging"]
    assert label_configurations([adam | swa, adam | ema]) == [
        "average=SWA",
        "average=EMAWeightAveraging",
    ]
    assert label_configurations([adam | slower, adam | ema]) == ["decay=0.99", "decay=0.999"]
    assert label_configurations([adam, adam | ema, adam | slower]) == [
        "average=off",
        "average=EMAWeightAveraging · decay=0.999",
        "average=EMAWeightAveraging · decay=0.99",
    ]
