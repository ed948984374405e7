"""Colors that stay apart, for readers with and without full color vision."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from made_studies import workload_of
from omegaconf import OmegaConf

from optlab.plots.palette import STYLES, line_style, on_dark, styles_by_label, styles_for

OF_PACKAGES = ("torch.", "optlab.", "pytorch_optimizer.", "schedulefree.")
FIVE = ("sgd", "adam", "rmsprop", "adagrad", "adamw")

# Machado, Oliveira and Fernandes 2009, severity 1.0, on linear RGB.
VISION = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def lab(color, vision):
    """CIELAB of a color as seen with a color vision."""
    channels = np.array([int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.asarray(VISION[vision]) @ linear, 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = to_xyz @ linear / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("vision", VISION)
def test_the_five_main_colors_stay_apart(vision):
    for one, other in itertools.combinations(FIVE, 2):
        apart = np.linalg.norm(lab(STYLES[one].color, vision) - lab(STYLES[other].color, vision))
        assert apart > 16, (one, other)  # 2.3 is just noticeable


@pytest.mark.parametrize("vision", VISION)
def test_adam_and_adamw_are_far_apart(vision):
    apart = np.linalg.norm(lab(STYLES["adam"].color, vision) - lab(STYLES["adamw"].color, vision))
    assert apart > 70


def test_the_five_differ_without_color():
    assert len({STYLES[name].dashes for name in FIVE}) == 5
    assert len({STYLES[name].marker for name in FIVE}) == 5


def test_no_two_optimizers_look_the_same():
    looks = [(style.color, style.dashes, style.marker) for style in STYLES.values()]
    assert len(set(looks)) == len(looks)
    assert len({style.color for style in STYLES.values()}) == len(looks)


def test_every_optimizer_config_has_a_style_of_its_own():
    configs = Path(__file__).parents[2] / "conf" / "optimizer"
    targets = {path.stem: OmegaConf.load(path)._target_ for path in configs.glob("*.yaml")}
    ours = {name for name, target in targets.items() if target.startswith(OF_PACKAGES)}
    assert len(ours) > 10  # the others are a user's own
    assert ours <= set(STYLES)


def test_unknown_optimizer_has_one_style_always():
    assert line_style("mine") == line_style("mine")
    assert line_style("mine").color not in {style.color for style in STYLES.values()}


def test_configurations_of_one_optimizer_share_its_color_and_differ():
    *adam, sgd = styles_for(["adam"] * 7 + ["sgd"])
    assert {style.color for style in adam} == {STYLES["adam"].color}
    assert len({style.dashes for style in adam}) == len({style.marker for style in adam}) == 7
    assert sgd == STYLES["sgd"]
    assert len(set(styles_for(["adam"] * 20))) == 20


@pytest.mark.parametrize(
    ("option", "num_colors"), [("lr_multiplier", 1), ("optimizer.beta", 1), ("data.batch_size", 2)]
)
def test_where_no_optimizer_varies_colors_stand_for_what_does(option, num_colors, new_study):
    writer = new_study()
    for value in (1, 10):
        writer.run("adam", config={option: value})
    styles = styles_by_label(workload_of(writer).configurations)
    assert len({style.color for style in styles.values()}) == num_colors


def test_dark_mode_makes_dark_colors_lighter_and_keeps_light_ones():
    assert on_dark("#E69F00") == "#E69F00"
    red, green, blue = (int(on_dark("#332288")[at : at + 2], 16) for at in (1, 3, 5))
    assert blue > red > 0x33
    assert red > green > 0x22  # the same hue, toward white


def test_style_of_an_optimizer_does_not_depend_on_the_others(new_study, five_optimizers):
    alone = new_study("alone")
    alone.run("adamw")
    (one,), five = (workload_of(writer).configurations for writer in (alone, five_optimizers))
    assert styles_by_label([one])["adamw"] == styles_by_label(five)["adamw"] == STYLES["adamw"]
