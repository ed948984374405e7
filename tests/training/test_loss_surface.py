import runpy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parameters_to_vector

from optlab.training.loss_surface import loss_at, loss_surface, principal_plane

ROOT = Path(__file__).parent.parent.parent
main = runpy.run_path(str(ROOT / "scripts" / "loss_surface.py"))["main"]


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.BatchNorm1d(3))


@pytest.fixture
def data():
    return torch.randn(50, 1, 2, 2), torch.randint(0, 3, (50,))


def test_paths_in_a_plane_are_found_again():
    torch.manual_seed(0)
    vectors = torch.randn(6, 2, dtype=torch.float64) @ torch.randn(2, 30, dtype=torch.float64)
    center, directions, explained = principal_plane(vectors)
    torch.testing.assert_close(directions @ directions.T, torch.eye(2, dtype=torch.float64))
    found = center + ((vectors - center) @ directions.T) @ directions
    torch.testing.assert_close(found, vectors)
    assert explained == pytest.approx(1.0)


def test_loss_is_that_of_the_weights_with_statistics_of_the_images(net, data):
    images, labels = data
    vector = parameters_to_vector(net.parameters()).detach()
    expected = F.cross_entropy(net.train()(images), labels).item()
    net[2].running_mean.fill_(100)
    assert loss_at(net, images, labels)(vector) == pytest.approx(expected, rel=1e-6)
    assert net[2].running_mean.eq(100).all()


def test_height_at_a_path_in_the_plane_is_the_loss_there(net, data):
    images, labels = data
    start = parameters_to_vector(net.parameters()).detach()
    torch.manual_seed(1)
    vectors = torch.stack([start, start + torch.randn_like(start), start - torch.randn_like(start)])
    surface = loss_surface(net, {"sgd": ([0, 1, 2], vectors)}, images, labels, num_points=3)
    center, directions, _ = principal_plane(vectors)
    loss = loss_at(net, images, labels)
    for vector, point in zip(vectors, surface.paths["sgd"].points, strict=True):
        at = center + torch.as_tensor(point) @ directions
        assert loss(at) == pytest.approx(loss(vector), rel=1e-4)
    corner = torch.tensor([surface.x[0], surface.y[2]], dtype=torch.float32)
    assert surface.losses[2, 0] == pytest.approx(loss(center + corner @ directions), rel=1e-4)
    assert surface.x[0] < surface.paths["sgd"].points[:, 0].min()


@pytest.mark.slow
def test_script_draws_a_study_and_says_what_it_lacks(train, capsys):
    short = ("+trainer.limit_train_batches=4", "trainer.max_epochs=1")
    runs = [train(*short, "callbacks=snapshots", f"optimizer={name}") for name in ("sgd", "adam")]
    study = runs[0].folder.parent
    few = ["--points", "3", "--images", "50"]
    assert main([str(study), *few, "--animate"]) == 0
    assert (study / "report" / "loss_surface.png").is_file()
    assert (study / "report" / "loss_surface.gif").read_bytes().startswith(b"GIF")
    train(*short, "optimizer=adamw")
    assert main([str(study), *few]) == 2
    assert "callbacks=snapshots" in capsys.readouterr().err
