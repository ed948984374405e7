"""Answers to typos: what was typed, the nearest name that exists, what can be chosen."""

from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from optlab.training import suggestions
from optlab.training.option_names import SET_ELSEWHERE, to_hydra_override, trainer_flags
from optlab.training.suggestions import explain_overrides

CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture(autouse=True)
def clean_hydra():
    yield
    GlobalHydra.instance().clear()


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("optimizer=adamm", ["unknown choice optimizer=adamm",
                            "did you mean optimizer=adam", "allowed: adabelief, adadelta"]),
        ("modle=cnn", ["unknown option modle", "model"]),
        ("optimizer.learning_rate=1", ["unknown option optimizer.learning_rate",
                                       "allowed:", "optimizer.lr"]),
        ("trainer.max_epoch=3", ["unknown option trainer.max_epoch",
                                 "did you mean trainer.max_epochs"]),
        ("sede=3", ["unknown option sede", "did you mean seed?"]),
        ("label_smoothing=0.3", ["label_smoothing", "module.label_smoothing"]),
        ("lable_smoothing=0.3", ["unknown option lable_smoothing", "module.label_smoothing"]),
        ("lr=0.1", ["unknown option lr\nhint: did you mean optimizer.lr?"]),
        ("trainer.num_threads=1", ["did you mean num_threads?"]),
        ("trainer.limit_train_batches=10", ["hint: ", "+trainer.limit_train_batches=10"]),
        ("trainer.fast_dev_run=true", ["+trainer.fast_dev_run=true"]),
        ("trainer.limit_trian_batches=10", ["did you mean +trainer.limit_train_batches"]),
        ("trainer.callbacks=x", ["set by OptLab", "the group callbacks"]),
        ("trainer.enable_checkpointing=false", ["callbacks.best=null"]),
        ("debug=fast", ["unknown choice debug=fast", "fast_dev_run"]),
        ("data.augment.rotation=3", ["did you mean data.augment.rotation_degrees"]),
        ("seed.x=3", ["unknown option seed.x"]),
        ("hydra/launcher=locla", ["unknown choice hydra/launcher=locla",
                                  "did you mean hydra/launcher=local?"]),
        ("optimizer=sgd,adamm", ["unknown choice optimizer=adamm",
                                "did you mean optimizer=adam"]),
        ("optimizer=zzz", ["unknown choice optimizer=zzz", "allowed: adabelief"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_typo_is_explained(argument, expected):
    message = explain_overrides(["-m", argument], CONF)
    assert message is not None
    for part in expected:
        assert part in message


@pytest.mark.parametrize(
    ("arguments", "having", "lacking"),
    [
        (["optimizer=adam,sgd", "optimizer.momentum=0.8"], "optimizer=sgd", "optimizer=adam"),
        (["optimizer=adam,sgd", "+optimizer.momentum=0.8"], "optimizer=sgd", "optimizer=adam"),
        (["optimizer=glob(adam*)", "~optimizer.amsgrad", "model=mlp,cnn"],
         "optimizer=adam, optimizer=adamw", "optimizer=adamax"),
        (["experiment=mnist_optimizers", "optimizer.alpha=0.9"],
         "optimizer=rmsprop", "optimizer=sgd, optimizer=adam, optimizer=adagrad, optimizer=adamw"),
        (["experiment=cifar10_callbacks", "callbacks.early_stopping.patience=3"],
         "row early_stopping, row plateau_and_stopping", "row none, row plateau, row cosine"),
    ],
    ids=str,
)  # fmt: skip
def test_option_that_only_some_choices_of_a_sweep_have_names_those_that_lack_it(
    arguments, having, lacking
):
    message = explain_overrides(["-m", *arguments], CONF)
    assert f" is an option of {having}, but not of {lacking}\nhint: " in message
    assert "+" not in message


@pytest.mark.parametrize(
    "arguments",
    [
        ["optimizer=sgd,nesterov", "optimizer.momentum=0.8"],
        ["optimizer=glob(sgd*)", "+optimizer.mine=0.8"],
        ["logger=[csv],[tensorboard,csv]", "logger.csv.name=mine"],
    ],
    ids=str,
)
def test_option_that_all_choices_of_a_sweep_have_has_nothing_to_explain(arguments):
    assert explain_overrides(["-m", *arguments], CONF) is None


def test_option_of_a_plugin_that_is_missing_names_its_extra(monkeypatch):
    monkeypatch.setitem(suggestions.EXTRAS, "hydra/launcher=elsewhere", "far")
    said = explain_overrides(["hydra/launcher=elsewhere"], CONF)
    assert 'hint: install it with pip install -e ".[far]"' in said


def test_every_typo_is_told():
    message = explain_overrides(["optimizer=adamm", "model=cmn"], CONF)
    assert "did you mean optimizer=adam" in message
    assert "model=cnn?" in message
    message = explain_overrides(["sede=1", "trainer.max_epoch=1"], CONF)
    assert "seed?" in message
    assert "trainer.max_epochs?" in message


def test_far_off_word_gets_no_hint():
    message = explain_overrides(["optimizer=qqqqqqq"], CONF)
    assert "did you mean" not in message


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["-m", "optimizer=sgd,adam", "seed=range(0,3)"],
        ["model=cnn", "model.filters=[4,8]", "data.augment.crop_padding=2"],
        ["+callbacks.mine._target_=a.B", "~callbacks.figures"],
        ["hydra.launcher.num_processes=1", "hydra/launcher=local"],
        ["optimizer=sgd", "optimizer.momentum=0.5"],
        ["scheduler=step", "scheduler.gamma=choice(0.1,0.2)"],
        ["+trainer.limit_train_batches=10", "logger=[csv,tensorboard]", "~scheduler"],
    ],
    ids=str,
)
def test_sound_command_line_has_nothing_to_explain(arguments):
    assert explain_overrides(arguments, CONF) is None


def test_what_hydra_cannot_parse_is_left_to_hydra():
    assert explain_overrides(["optimizer.betas=[0.9"], CONF) is None


def test_flags_of_the_trainer_are_read_from_its_source():
    import inspect

    import lightning

    assert set(trainer_flags()) == set(inspect.signature(lightning.Trainer).parameters)
    assert set(trainer_flags()) >= SET_ELSEWHERE.keys()


@pytest.mark.parametrize(
    ("typed", "given"),
    [
        ("scheduler=null", "scheduler=constant"),
        ("logger=null", "logger=none"),
        ("callbacks=null", "~callbacks"),
        ("optimizer=null", "~optimizer"),
        ("callbacks.best=null", "callbacks.best=null"),
        ("ckpt_path=null", "ckpt_path=null"),
        ("scheduler=cosine", "scheduler=cosine"),
        ("optimizer.base=sgd,adam", "optimizer@optimizer.base=sgd,adam"),
        ("optimizer.base.lr=0.1", "optimizer.base.lr=0.1"),
        ("-m", "-m"),
    ],
)
def test_null_for_a_group_is_given_to_hydra_as_it_takes_it(typed, given):
    assert to_hydra_override(typed) == given
