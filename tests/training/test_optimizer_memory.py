"""What the first step of an optimizer needs, against arithmetic and what a real step allocates."""

from functools import partial

import pytest
import torch
from omegaconf import OmegaConf
from pytorch_optimizer import SOAP, Adan, Kron
from torch import nn

from optlab.training import optimizer_memory
from optlab.training.optimizer_memory import check_memory, step_bytes

FLOAT = 4  # bytes


@pytest.fixture
def layer():
    return nn.Linear(20, 30, bias=False)


@pytest.mark.parametrize(
    ("make", "num_values"),
    [
        (torch.optim.Adam, 2 * 600 + 1),  # two moments and the step
        (Adan, 4 * 600),
        # Two moments; statistics and eigenbasis of both sides
        (SOAP, 2 * 600 + 2 * (20**2 + 30**2)),
    ],
    ids=["Adam", "Adan", "SOAP"],
)
def test_state_is_counted_without_memory_for_it(make, num_values, layer):
    assert step_bytes(make, layer) == num_values * FLOAT


def test_intermediate_results_are_counted():
    # Without opt_einsum torch multiplies both factors out first, (400 x 300)^2 numbers
    assert step_bytes(Kron, nn.Linear(300, 400)) >= 400**2 * 300**2 * FLOAT


def test_class_that_reads_values_is_counted_as_far_as_it_comes(layer):
    class Reads(torch.optim.SGD):
        def step(self, closure):
            for weight in self.param_groups[0]["params"]:
                self.state[weight]["average"] = torch.zeros_like(weight)
                weight.grad.sum().item()

    assert step_bytes(partial(Reads, lr=0.1), layer) == 600 * FLOAT


def test_weights_and_gradients_stay_as_they_are(layer):
    before = layer.weight.detach().clone()
    step_bytes(SOAP, layer)
    assert torch.equal(layer.weight, before)
    assert layer.weight.grad is None


def test_optimizer_that_does_not_fit_is_refused(monkeypatch):
    node = OmegaConf.create({"_target_": "pytorch_optimizer.Kron", "_partial_": True})
    net = nn.Linear(784, 256)
    # 784^2 256^2 numbers of 4 bytes are 150.06 GiB
    with pytest.raises(ValueError, match=r"pytorch_optimizer\.Kron .*\b150\.1 GiB\b.*\b4\.0 GiB\b"):
        monkeypatch.setattr(optimizer_memory.psutil, "virtual_memory", FullMemory)
        check_memory(node, net, torch.device("cpu"))
    node["_target_"] = "pytorch_optimizer.Adan"
    check_memory(node, net, torch.device("cpu"))


class FullMemory:
    available = 4 * 2**30
