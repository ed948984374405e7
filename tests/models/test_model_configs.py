"""Every file of conf/model builds a network, or says what it wants."""

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from optlab.runs.record import NoRecord

CONF = Path(__file__).parents[2] / "conf" / "model"
# One is trained by NumPy, three need weights that are not here
BUILT_HERE = ["cnn", "mlp", "resnet18", "resnet9"]


def test_model_files_are_found():
    assert {path.stem for path in CONF.glob("*.yaml")} >= {
        *BUILT_HERE,
        "finetuned",
        "resnet18_pretrained",
        "efficientnet_lite0_pretrained",
    }


@pytest.mark.parametrize("name", BUILT_HERE)
def test_model_file_builds_a_network(name):
    config = OmegaConf.load(CONF / f"{name}.yaml")
    assert config.pop("name") == name
    net = instantiate(config)(in_channels=3, image_size=32, num_classes=10).eval()
    assert net(torch.rand(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize(
    "name", ["finetuned", "resnet18_pretrained", "efficientnet_lite0_pretrained"]
)
def test_transfer_file_sets_every_option(name, tmp_path):
    config = OmegaConf.load(CONF / f"{name}.yaml")
    assert config.pop("name") == name
    config.weights = str(tmp_path)
    with pytest.raises(NoRecord):
        instantiate(config)(in_channels=3, image_size=32, num_classes=10)
