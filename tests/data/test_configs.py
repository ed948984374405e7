import inspect
from dataclasses import fields
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

from optlab.data import DATASET_NAMES, ImageDataModule
from optlab.data.augment import Augmentation

CONF = Path(__file__).parents[2] / "conf"
AUTO = {"auto", "auto_european"}  # which set, availability says
OPTIONS = sorted(path.stem for path in (CONF / "data").glob("*.yaml"))


def compose_data(option, *overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(overrides=[f"+data={option}", "+seed=7", *overrides]).data


def test_every_data_set_has_its_option():
    assert set(OPTIONS) == {*DATASET_NAMES, *AUTO}


def test_shared_options_are_those_of_the_data_module_with_its_defaults():
    options = OmegaConf.load(CONF / "data" / "shared" / "common.yaml")
    parameters = inspect.signature(ImageDataModule).parameters
    of_image_folders = {"title", "image_size", "preparation"}
    assert set(options) - {"_target_", "_convert_"} == set(parameters) - of_image_folders
    for name in set(parameters) & set(options) - {"name", "root", "augment", "seed"}:
        assert options[name] == parameters[name].default, name
    assert dict(options.augment) == {field.name: field.default for field in fields(Augmentation)}


@pytest.mark.parametrize("option", sorted({*OPTIONS} - {*AUTO, "image_folder"}))
def test_option_builds_the_set_that_it_names(option):
    module = instantiate(compose_data(option, "data.batch_size=32"))
    assert isinstance(module, ImageDataModule)
    assert (module.name, module.batch_size) == (option, 32)
    assert module.augmentation is None
    assert list(module.seeds) == [7]  # the run's


def test_image_folder_takes_root_title_and_size(tmp_path):
    config = compose_data(
        "image_folder", f"data.root={tmp_path}", "data.title='CIFAR-10 (JPEG copy)'"
    )
    assert instantiate(config)._title == "CIFAR-10 (JPEG copy)"


@pytest.mark.parametrize(
    ("typed", "normalize"),
    [("half", "half"), ("{mean:[0.5],std:[0.25]}", {"mean": [0.5], "std": [0.25]})],
)
def test_normalization_is_a_name_or_numbers(typed, normalize):
    config = compose_data("digits", f"data.normalize={typed}")
    assert instantiate(config)._normalize == normalize


def test_root_follows_the_environment(monkeypatch):
    monkeypatch.setenv("OPTLAB_DATA", "/somewhere")
    assert compose_data("mnist").root == "/somewhere"
    monkeypatch.delenv("OPTLAB_DATA")
    assert compose_data("mnist").root == "data"


def test_augmentation_is_switched_on_from_the_command_line():
    config = compose_data(
        "digits", "data.augment.crop_padding=2", "data.augment.rotation_degrees=10"
    )
    assert instantiate(config).augmentation == Augmentation(crop_padding=2, rotation_degrees=10)
