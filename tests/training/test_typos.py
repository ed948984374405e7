"""Typos on the command line: what was typed, the nearest that exists, what can be chosen."""

from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from optlab.training import typos
from optlab.training.typos import explain_overrides

CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture(autouse=True)
def clean_hydra():
    yield
    GlobalHydra.instance().clear()


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("optimizer=adan", ["optimizer=adan: there is no such option.",
                            "did you mean optimizer=adam", "allowed: adadelta, adafactor"]),
        ("modle=cnn", ["modle: there is no such knob.", "did you mean model?"]),
        ("optimizer.learning_rate=1", ["optimizer.learning_rate: there is no such knob.",
                                       "allowed:", "optimizer.lr"]),
        ("trainer.max_epoch=3", ["trainer.max_epoch: there is no such knob.",
                                 "did you mean trainer.max_epochs"]),
        ("sede=3", ["sede: there is no such knob.", "did you mean seed?"]),
        ("data.augment.rotation=3", ["did you mean data.augment.rotation_degrees"]),
        ("seed.x=3", ["seed.x: there is no such knob."]),
        ("hydra/launcher=locla", ["hydra/launcher=locla: there is no such option.",
                                  "did you mean hydra/launcher=local?"]),
        ("optimizer=sgd,adan", ["optimizer=adan: there is no such option.",
                                "did you mean optimizer=adam"]),
        ("optimizer=zzz", ["optimizer=zzz: there is no such option.", "allowed: adadelta"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_typo_is_explained(argument, expected):
    message = explain_overrides(["-m", argument], CONF)
    assert message is not None
    for part in expected:
        assert part in message


def test_option_of_a_plugin_that_is_missing_names_its_extra(monkeypatch):
    monkeypatch.setitem(typos.EXTRAS, "hydra/launcher=elsewhere", "far")
    said = explain_overrides(["hydra/launcher=elsewhere"], CONF)
    assert 'hint: it comes with pip install -e ".[far]"' in said


def test_every_typo_is_told():
    message = explain_overrides(["optimizer=adan", "model=cmn"], CONF)
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
    ],
    ids=str,
)
def test_sound_command_line_has_nothing_to_explain(arguments):
    assert explain_overrides(arguments, CONF) is None


def test_what_hydra_cannot_parse_is_left_to_hydra():
    assert explain_overrides(["optimizer.betas=[0.9"], CONF) is None
