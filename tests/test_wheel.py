"""The command `optlab` of a wheel, typed in the folder of another project."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COMMAND = "import sys; from optlab.training.cli import main; sys.argv[0] = 'optlab'; main()"
NETWORK = """
from torch import nn

class Tiny(nn.Sequential):
    def __init__(self, in_channels, image_size, num_classes, *, width):
        inputs = in_channels * image_size**2
        super().__init__(nn.Flatten(), nn.Linear(inputs, width), nn.Linear(width, num_classes))
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with the contents of the wheel."""
    if shutil.which("uv") is None:
        pytest.skip("uv builds the wheel")
    folder = tmp_path_factory.mktemp("wheel")
    build = ["uv", "build", "--quiet", "--offline", "--wheel", "--out-dir", folder, ROOT]
    subprocess.run(build, check=True)
    (wheel,) = folder.glob("*.whl")
    shutil.unpack_archive(wheel, folder / "site", "zip")
    return folder / "site"


@pytest.fixture
def optlab_python(site, tmp_path):
    """Run Python in a project's folder, with the wheel installed."""
    environment = {**os.environ, "PYTHONPATH": str(site)}
    return lambda *arguments: subprocess.run(
        [sys.executable, *arguments], cwd=tmp_path, env=environment, check=True
    )


@pytest.fixture
def optlab(optlab_python, tmp_path):
    """Type `optlab` in a project with a network of its own; return the records of its runs."""
    (tmp_path / "my_networks.py").write_text(NETWORK)
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "tiny.yaml").write_text(
        "_target_: my_networks.Tiny\n_partial_: true\nname: tiny\nwidth: 8\n"
    )

    def run(*arguments):
        optlab_python("-c", COMMAND, "--config-dir", "conf", *arguments)
        records = sorted((tmp_path / "outputs").glob("*/*/record.json"))
        return [json.loads(path.read_text()) for path in records]

    return run


def test_study_of_an_installed_optlab_trains_a_network_of_the_project(
    optlab, optlab_python, tmp_path
):
    options = ("model=tiny", "data=digits", "trainer=cpu", "trainer.max_epochs=1")
    records = optlab("-m", "optimizer=sgd,adam", *options)
    assert [record["status"] for record in records] == ["finished"] * 2
    assert {record["model"]["target"] for record in records} == {"my_networks.Tiny"}
    for record in records:
        assert record["command"].startswith(f"cd {tmp_path} && optlab --config-dir {tmp_path}")
    page = tmp_path / "outputs" / "digits-tiny" / "report" / "index.html"
    page.unlink()
    optlab_python("-m", "optlab.scripts.report", "outputs/digits-tiny")
    assert page.is_file()


def test_processes_that_ddp_starts_find_the_modules_of_the_project(optlab):
    devices = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")
    (record,) = optlab("model=tiny", "data=digits", "trainer.max_epochs=1", *devices)
    assert record["status"] == "finished"
    assert record["device"]["num_devices"] == 2
