"""Every optimizer has a search space, written in one format, over options that it has."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

CONF = Path(__file__).parents[2] / "conf"
NAMES = sorted(path.stem for path in (CONF / "search_space").glob("*.yaml"))


def load(group: str, name: str) -> dict:
    config = OmegaConf.load(CONF / group / f"{name}.yaml")
    for choice in config.pop("defaults", []):
        if choice != "_self_":
            config.base = load(group, choice["/optimizer@base"])
    return OmegaConf.to_container(config, resolve=True)


def option(optimizer: dict, path: str) -> object:
    """The value at a path such as `betas.0`; KeyError or IndexError where there is none."""
    value = optimizer
    for key in path.split("."):
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value


def test_every_optimizer_has_a_search_space():
    optimizers = sorted(path.stem for path in (CONF / "optimizer").glob("*.yaml"))
    assert optimizers == NAMES
    assert len(NAMES) == 35


@pytest.mark.parametrize("name", NAMES)
def test_every_key_is_an_option_of_the_optimizer(name):
    optimizer = load("optimizer", name)
    for path in load("search_space", name):
        assert isinstance(option(optimizer, path), int | float), path


@pytest.mark.parametrize("name", NAMES)
def test_learning_rate_comes_first_over_three_decades_around_the_default(name):
    path, space = next(iter(load("search_space", name).items()))
    assert path == "lr"
    low, high = space["log"]
    assert high / low == pytest.approx(1000)  # the same width for all, so that grids are as fine
    assert low < load("optimizer", name)["lr"] < high


@pytest.mark.parametrize("name", NAMES)
def test_every_space_is_written_in_the_format(name):
    for path, space in load("search_space", name).items():
        ((kind, values),) = space.items()
        if kind == "choice":
            assert len(values) > 1, path
            continue
        low, high = values
        assert isinstance(low, float), path
        assert isinstance(high, float), path
        assert low < high, path
        if kind == "log":
            assert low > 0, path
        elif kind == "one_minus_log":
            assert 0 < low < high < 1, path
        else:
            assert kind == "linear", path
