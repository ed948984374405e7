import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from optlab.runs.folder import RunFolder
from optlab.training import build
from optlab.training.diagnostics import RADIUS, Diagnostics, curvature

SHORT = ("optimizer=sgd_plain", "+trainer.limit_train_batches=4", "trainer.max_epochs=2")
LOOKING = ("callbacks=diagnostics", "callbacks.diagnostics.every_n_steps=4")


def rows_of(done):
    return pd.read_csv(RunFolder(done.folder).diagnostics)


@pytest.fixture(scope="module")
def problem():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3))
    return net, torch.randn(20, 3), torch.randint(0, 3, (20,))


def test_curvature_equals_the_full_hessian_and_leaves_the_weights(problem):
    net, images, labels = problem
    start = parameters_to_vector(net.parameters()).detach()
    eigenvalue, sharpness = curvature(net, images, labels, power_iterations=500)
    assert torch.equal(parameters_to_vector(net.parameters()), start)

    shapes = {name: each.shape for name, each in net.named_parameters()}

    def loss(vector):
        parts = vector.split([shape.numel() for shape in shapes.values()])
        weights = {
            name: part.view(shape)
            for (name, shape), part in zip(shapes.items(), parts, strict=True)
        }
        return F.cross_entropy(torch.func.functional_call(net, weights, images), labels)

    hessian = torch.autograd.functional.hessian(loss, start)
    eigenvalues = torch.linalg.eigvalsh(hessian)
    assert eigenvalue == pytest.approx(eigenvalues[eigenvalues.abs().argmax()].item(), rel=0.01)
    gradient = torch.autograd.functional.jacobian(loss, start)
    risen = loss(start + RADIUS * gradient / gradient.norm()) - loss(start)
    assert sharpness == pytest.approx(risen.item(), rel=1e-4)
    vector_to_parameters(start, net.parameters())


@pytest.mark.slow
def test_update_of_plain_sgd_is_the_rate_times_the_gradient(train, make_config):
    one_step = ("+trainer.limit_train_batches=1", "trainer.max_epochs=1", "optimizer=sgd_plain")
    rows = rows_of(train(*one_step, *LOOKING)).set_index(["quantity", "layer"])["value"]
    config = make_config(*one_step)
    net = build.build_net(config, build.build_data(config))
    for name, weight in net.named_parameters():
        if weight.ndim >= 2:
            step = config.optimizer.lr * rows["gradient_norm", f"net.{name}"]
            assert rows["update_ratio", f"net.{name}"] == pytest.approx(
                step / weight.norm().item(), rel=1e-4
            )
    assert "update_angle" not in rows.index.get_level_values("quantity")  # it takes two steps


@pytest.mark.slow
def test_numbers_of_the_run_stay_and_every_quantity_is_written_each_epoch(train):
    plain, looked = train(*SHORT), train(*SHORT, *LOOKING)
    pd.testing.assert_frame_equal(plain.steps, looked.steps, check_exact=True)
    rows = rows_of(looked)
    layers = rows[rows["quantity"] == "update_angle"]
    assert list(layers["epoch"].unique()) == [1, 2]
    assert layers["value"].between(0, 180).all()
    at_end = rows[rows["quantity"].isin(["top_eigenvalue", "sharpness"])]
    assert list(at_end["epoch"]) == [2, 2]
    assert (at_end["value"] > 0).all()
    dead = rows[rows["quantity"] == "dead_units"]["value"]
    assert len(dead) and dead.between(0, 1).all()


def test_units_that_are_zero_for_the_whole_batch_are_dead():
    look = Diagnostics(".")
    look._before = [torch.zeros(1)]
    hook = look._count_dead("relu")
    hook(nn.ReLU(), None, torch.tensor([[0.0, 1.0], [0.0, 0.0]]))  # (B, units)
    maps = torch.zeros(2, 4, 3, 3)
    maps[1, 0, 2, 2] = 1.0
    hook(nn.ReLU(), None, maps)  # (B, channels, H, W)
    assert look._values["dead_units", "relu"] == [0.5, 0.75]


def test_a_look_takes_two_steps():
    with pytest.raises(ValueError, match="every_n_steps"):
        Diagnostics(".", every_n_steps=1)
