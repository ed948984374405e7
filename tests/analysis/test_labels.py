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


def test_classes_that_share_a_name_are_told_apart_by_their_paths():
    adam = {"optimizer.name": "adam"}
    swa, mine = ({"callbacks.average._target_": f"{package}.SWA"} for package in ("optlab", "mine"))
    assert label_configurations([adam, adam | swa, adam | mine]) == [
        "average=off",
        "average=optlab.SWA",
        "average=mine.SWA",
    ]


def test_class_named_like_its_node_is_on_only_where_it_is_the_only_class():
    adam = {"optimizer.name": "adam"}
    trainer, mine = ({"trainer._target_": path} for path in ("lightning.Trainer", "mine.MyTrainer"))
    assert label_configurations([adam | trainer, adam | mine]) == [
        "trainer=Trainer",
        "trainer=MyTrainer",
    ]
    stopping = {"callbacks.early_stopping._target_": "lightning.EarlyStopping"}
    off = {"callbacks.early_stopping": None}
    assert label_configurations([adam | off, adam | stopping]) == [
        "early_stopping=off",
        "early_stopping=on",
    ]


def test_options_of_a_nested_class_are_compared_with_those_of_the_same_classes():
    def config(outer: str, inner: str, rate: int) -> dict[str, object]:
        node = {"_target_": outer, "inner._target_": inner, "inner.rate": rate}
        return {"optimizer.name": "adam"} | {f"callbacks.x.{key}": node[key] for key in node}

    configs = [config("a.A", "a.B", 1), config("a.A", "a.B", 2), config("a.A", "a.C", 3)]
    assert label_configurations([*configs, config("a.D", "a.B", 4)]) == [
        "rate=1",
        "rate=2",
        "inner=C",
        "x=D",
    ]


def test_name_of_a_callback_is_an_argument():
    adam = {"optimizer.name": "adam", "callbacks.x": None}
    mine = {"optimizer.name": "adam", "callbacks.x._target_": "a.B", "callbacks.x.name": "c"}
    assert label_configurations([adam, mine]) == ["x=off", "x=B"]


def test_options_of_a_base_are_compared_within_that_base():
    def config(base: str, lr: float) -> dict[str, object]:
        options = {"name": "sam", "base.name": base, "base._target_": f"torch.{base}", "lr": lr}
        return {f"optimizer.{key}": value for key, value in options.items()}

    assert label_configurations([config("sgd", 0.1), config("adam", 0.01)]) == [
        "base=sgd",
        "base=adam",
    ]
    assert label_configurations(
        [config("sgd", 0.1), config("sgd", 0.2), config("adam", 0.01)],
    ) == ["base=sgd · lr=0.1", "base=sgd · lr=0.2", "base=adam"]
