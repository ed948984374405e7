"""Answers to typos: what was typed, the nearest name that exists, what can be chosen."""

import re
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
        ("optimizer=adamm",
         r"optimizer=adamm\b.*\nhint: [^=]*optimizer=adam\b.*\nallowed: adabelief, adadelta"),
        ("modle=cnn", r"modle\b.*\nhint: .*\bmodel\b"),
        ("optimizer.learning_rate=1", r"optimizer\.learning_rate\n.*\boptimizer\.lr\b"),
        ("trainer.max_epoch=3", r"trainer\.max_epoch\b.*\nhint: .*trainer\.max_epochs\b"),
        ("sede=3", r"sede\b.*\nhint: (?!.* or ).*\bseed\b"),
        ("label_smoothing=0.3", r" label_smoothing\b.*\nhint: .*module\.label_smoothing\b"),
        ("lable_smoothing=0.3", r"lable_smoothing\b.*\nhint: .*module\.label_smoothing\b"),
        ("lr=0.1", r" lr\b.*\nhint: (?!.* or ).*optimizer\.lr\b"),
        ("trainer.num_threads=1", r"trainer\.num_threads\b.*\nhint: (?!.* or ).* num_threads\b"),
        ("trainer.limit_train_batches=10", r"\nhint: .*\+trainer\.limit_train_batches=10"),
        ("trainer.fast_dev_run=true", r"\nhint: .*\+trainer\.fast_dev_run=true"),
        ("trainer.limit_trian_batches=10", r"\nhint: [^+]*\+trainer\.limit_train_batches\b"),
        ("trainer.callbacks=x", r"trainer\.callbacks\b.*\nhint: .*\+callbacks\.NAME\b"),
        ("trainer.enable_checkpointing=false", r"\nhint: .*callbacks\.best=null"),
        ("debug=fast", r"debug=fast\b.*\nhint: .*debug=fast_dev_run"),
        ("data.augment.rotation=3", r"\nhint: [^.]*data\.augment\.rotation_degrees"),
        ("seed.x=3", r"seed\.x\b.*\nallowed: "),
        ("hydra/launcher=locla", r"launcher=locla\b.*\nhint: (?!.* or ).*launcher=local\b"),
        ("optimizer=sgd,adamm", r"optimizer=adamm\b.*\nhint: [^=]*optimizer=adam\b"),
        ("optimizer.batchsize=32", r"optimizer\.batchsize\b.*\nhint: .*data\.batch_size\b"),
        ("optimizer=zzz", r"optimizer=zzz\b.*\nallowed: adabelief"),
    ],
    ids=lambda value: value if "\\" not in value else "",
)  # fmt: skip
def test_typo_is_explained(argument, expected):
    message = explain_overrides(["-m", argument], CONF)
    assert message is not None
    assert re.search(expected, message)


@pytest.mark.parametrize("choice", ["null", "zzz"])
def test_unknown_base_of_an_optimizer_is_named_as_it_is_typed(choice):
    typed = [to_hydra_override(each) for each in ("optimizer=sam", f"optimizer.base={choice}")]
    message = explain_overrides(typed, CONF)
    assert message is not None
    assert re.search(rf"optimizer\.base={choice}\b.*\nallowed: adabelief", message)


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
    assert re.search(rf"{having}\b.* {lacking}\b.*\nhint: .* {lacking}\b", message)
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
    message = explain_overrides(["hydra/launcher=elsewhere"], CONF)
    assert re.search(r"hint: .*\bpip install .*\[far\]", message)


def test_every_typo_is_told():
    message = explain_overrides(["optimizer=adamm", "model=cmn"], CONF)
    assert re.search(r"hint: [^=]*optimizer=adam\b", message)
    assert re.search(r"hint: .*model=cnn\b", message)
    message = explain_overrides(["sede=1", "trainer.max_epoch=1"], CONF)
    assert re.search(r"hint: .*\bseed\b", message)
    assert re.search(r"hint: .*trainer\.max_epochs\b", message)


def test_far_off_word_gets_no_hint():
    message = explain_overrides(["optimizer=qqqqqqq"], CONF)
    assert "hint: " not in message


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
