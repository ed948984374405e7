import re
from pathlib import Path

import pytest
from torch import nn

from benchmarks.optlab_run import compose_run
from benchmarks.problems import PROBLEMS, find_images
from optlab.training import build


def test_random_pixels_stand_in_for_a_missing_set_and_are_named_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPTLAB_DATA", str(tmp_path))
    images = find_images("mnist")
    assert images.synthetic
    assert "MNIST" in images.title
    assert "random" in images.title


def test_cifar_root_is_an_image_folder_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPTLAB_DATA", str(tmp_path))
    images = find_images("cifar10", cifar_root=tmp_path / "some jpegs")
    assert not images.synthetic
    config = compose_run(images.overrides, tmp_path)
    assert config.data.root == str(tmp_path / "some jpegs")
    assert re.fullmatch("CIFAR-10 .*some jpegs", images.title)


@pytest.mark.parametrize(
    ("name", "num_parameters"),
    [
        ("mnist-mlp", 235_146),
        ("mnist-cnn", 206_922),
        # Published with batch-norm statistics: 830,282, less 2 * (256 + 128 + 64) of them
        ("cifar10-mlp", 829_386),
        ("cifar10-resnet18", 11_173_962),
    ],
)
def test_every_problem_builds_its_network(name: str, num_parameters: int, tmp_path: Path) -> None:
    problem = PROBLEMS[name]
    images = find_images(problem.images, quick=True)
    config = compose_run([*images.overrides, *problem.overrides], tmp_path)
    net: nn.Module = build.build_net(config, build.build_data(config))
    assert sum(p.numel() for p in net.parameters()) == num_parameters
