"""Every file of conf/optimizer: builds, learns, saves, and equals the algorithm it names."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from torch import Tensor
from torch.optim import Optimizer

from optlab.models import MLP
from optlab.optim import param_groups
from optlab.training.checkpoints import undo_casts
from optlab.training.instantiate import instantiate_partial

pytestmark = pytest.mark.filterwarnings("ignore:Using backward.. with create_graph=True")
CONF = Path(__file__).parents[2] / "conf" / "optimizer"
NAMES = sorted(path.stem for path in CONF.glob("*.yaml"))
OF_LIBRARY = [name for name in NAMES if "pytorch_optimizer" in (CONF / f"{name}.yaml").read_text()]
WRAPPERS = ["asam", "lookahead", "sam"]
USE_GRAPH = ("AdaHessian", "SophiaH")  # differentiate the gradients


def load(name: str) -> Any:
    """The node of an optimizer, with its base where it wraps one."""
    config = OmegaConf.load(CONF / f"{name}.yaml")
    for choice in config.pop("defaults", []):
        if choice != "_self_":
            config.base = load(choice["/optimizer@base"])
    return config


def make_optimizer(name: str, net: torch.nn.Module) -> Optimizer:
    config = load(name)
    assert config.name == name
    optimizer = instantiate_partial(config)(param_groups(net))
    assert isinstance(optimizer, Optimizer)
    return optimizer


def set_mode(optimizer: Optimizer, mode: str) -> None:
    """Schedule-free optimizers swap iterate and average; others have no mode."""
    if hasattr(optimizer, mode):
        getattr(optimizer, mode)()


def problem(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(32, 1, 4, 4, generator=generator)
    return images, images.flatten(1)[:, :3].argmax(dim=1)  # which of the first three is largest


def take_step(net: torch.nn.Module, optimizer: Optimizer, images: Tensor, labels: Tensor) -> float:
    """One optimizer step; the loss before it."""

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(images), labels)
        loss.backward(create_graph=type(optimizer).__name__ in USE_GRAPH)
        return loss

    return optimizer.step(closure).item()


def small_net() -> MLP:
    torch.manual_seed(0)
    return MLP(1, 4, 3, hidden_sizes=[12, 8])


def test_every_optimizer_of_the_design_has_a_file():
    assert set(NAMES) == {
        *("sgd", "sgd_plain", "nesterov", "adam", "adamw", "rmsprop", "adagrad", "nadam", "radam"),
        *("adamax", "adadelta", "adafactor", "asgd", "rprop", "lbfgs", "muon", "schedule_free"),
        *("adabelief", "adahessian", "adan", "ademamix", "adopt", "came", "grams", "lamb", "lars"),
        *("lion", "mars", "prodigy", "shampoo", "soap", "sophia", "sam", "asam", "lookahead"),
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_state_goes_on_where_it_was_saved(name, dtype, tmp_path):
    def batch(seed: int) -> tuple[Tensor, Tensor]:
        images, labels = problem(seed)
        return images.to(dtype), labels

    net = small_net().to(dtype)
    optimizer = make_optimizer(name, net)
    set_mode(optimizer, "train")
    for seed in range(3):
        take_step(net, optimizer, *batch(seed))
    torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "s.ckpt")

    saved = torch.load(tmp_path / "s.ckpt", weights_only=True)
    resumed = small_net().to(dtype)
    resumed.load_state_dict(saved["net"])
    resumed_optimizer = make_optimizer(name, resumed)
    resumed_optimizer.load_state_dict(saved["optimizer"])
    undo_casts(resumed_optimizer, saved["optimizer"])
    for seed in range(3, 6):
        for trained, its_optimizer in ((net, optimizer), (resumed, resumed_optimizer)):
            torch.manual_seed(seed)  # some draw random vectors
            take_step(trained, its_optimizer, *batch(seed))
    for expected, parameter in zip(net.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(parameter, expected)


# torch's LBFGS takes one group alone, so it has no parameters that are frozen at first
@pytest.mark.parametrize("name", sorted(set(NAMES) - {"lbfgs"}))
def test_frozen_parameters_stay_and_learn_once_unfrozen(name):
    net = small_net()
    net.body.requires_grad_(False)
    before = net.body[0].weight.detach().clone()
    optimizer = make_optimizer(name, net)
    set_mode(optimizer, "train")
    take_step(net, optimizer, *problem(0))
    assert torch.equal(net.body[0].weight, before)
    net.body.requires_grad_(True)
    for seed in range(1, 10):  # Shampoo computes its first preconditioner at the tenth step
        take_step(net, optimizer, *problem(seed))
    assert not torch.equal(net.body[0].weight, before)


# --- the algorithms written out, as a reference; g is the gradient, s the state, t counts from 1


def sgd(w: Tensor, g: Tensor, s: dict, t: int) -> Tensor:
    s["v"] = 0.9 * s.get("v", 0) + g
    return w - 0.01 * s["v"]


def sgd_plain(w: Tensor, g: Tensor, s: dict, t: int) -> Tensor:
    return w - 0.1 * g


def nesterov(w: Tensor, g: Tensor, s: dict, t: int) -> Tensor:
    s["v"] = 0.9 * s.get("v", 0) + g
    return w - 0.01 * (g + 0.9 * s["v"])


def adam(w: Tensor, g: Tensor, s: dict, t: int) -> Tensor:
    s["m"] = 0.9 * s.get("m", 0) + 0.1 * g
    s["v"] = 0.999 * s.get("v", 0) + 0.001 * g**2
    return w - 1e-3 * (s["m"] / (1 - 0.9**t)) / ((s["v"] / (1 - 0.999**t)).sqrt() + 1e-8)


def adamw(w: Tensor, g: Tensor, s: dict, t: int) -> Tensor:
    return adam(w * (1 - 1e-3 * 0.01), g, s, t)


def rmsprop(w: Tensor, g: Tensor, s: dict, t: int) -> Tensor:
    s["v"] = 0.99 * s.get("v", 0) + 0.01 * g**2
    return w - 1e-3 * g / (s["v"].sqrt() + 1e-8)


def adagrad(w: Tensor, g: Tensor, s: dict, t: int) -> Tensor:
    s["sum"] = s.get("sum", 0) + g**2
    return w - 0.01 * g / (s["sum"].sqrt() + 1e-10)


def adamax(w: Tensor, g: Tensor, s: dict, t: int) -> Tensor:
    s["m"] = 0.9 * s.get("m", 0) + 0.1 * g
    s["u"] = torch.maximum(0.999 * s.get("u", torch.zeros_like(g)), g.abs() + 1e-8)
    return w - 2e-3 / (1 - 0.9**t) * s["m"] / s["u"]


def adadelta(w: Tensor, g: Tensor, s: dict, t: int) -> Tensor:
    s["v"] = 0.9 * s.get("v", 0) + 0.1 * g**2
    change = ((s.get("d", torch.zeros_like(g)) + 1e-6) / (s["v"] + 1e-6)).sqrt() * g
    s["d"] = 0.9 * s.get("d", 0) + 0.1 * change**2
    return w - change


BY_HAND = [sgd, sgd_plain, nesterov, adam, adamw, rmsprop, adagrad, adamax, adadelta]


@pytest.mark.parametrize("by_hand", BY_HAND, ids=lambda function: function.__name__)
def test_five_steps_equal_the_algorithm_by_hand(by_hand: Callable[..., Tensor]):
    net = small_net().double()
    optimizer = make_optimizer(by_hand.__name__, net)
    expected = [parameter.detach().clone() for parameter in net.parameters()]
    states: list[dict] = [{} for _ in expected]
    for step in range(1, 6):
        images, labels = problem(step)
        take_step(net, optimizer, images.double(), labels)
        # both saw the same weights, so the gradients left behind are those of the reference too
        gradients = [parameter.grad for parameter in net.parameters()]
        expected = [
            by_hand(weight, gradient, state, step)
            for weight, gradient, state in zip(expected, gradients, states, strict=True)
        ]
        for parameter, weight in zip(net.parameters(), expected, strict=True):
            torch.testing.assert_close(parameter, weight, rtol=1e-10, atol=1e-12)


# the library's own class with the arguments written here, one kernel for each operation
WITH_TORCH = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, foreach=False),
    "adam": lambda p: torch.optim.Adam(p, lr=1e-3, foreach=False),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=1e-3, alpha=0.99, foreach=False),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.01, foreach=False),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=0.01, foreach=False),
}


@pytest.mark.parametrize("name", sorted(WITH_TORCH))
def test_five_steps_equal_torch_optim_used_by_hand(name):
    net, reference = small_net(), small_net()
    optimizer, expected = make_optimizer(name, net), WITH_TORCH[name](reference.parameters())
    for seed in range(5):
        loss = take_step(net, optimizer, *problem(seed))
        assert loss == pytest.approx(take_step(reference, expected, *problem(seed)), rel=1e-5)
    for parameter, weight in zip(net.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(parameter, weight, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["sgd", "sgd_plain", "nesterov", "adam", "adamw", "adagrad"])
def test_optimizers_with_a_fused_kernel_use_it(name):
    assert make_optimizer(name, small_net()).defaults["fused"] is True


@pytest.mark.parametrize("name", NAMES)
def test_header_says_source_and_command(name):
    text = (CONF / f"{name}.yaml").read_text()
    assert f"# Try: python train.py optimizer={name}" in text
    quiet = ("#", "name", "_t", "defaults", "  - _self_")
    options = [line for line in text.splitlines() if line and not line.startswith(quiet)]
    assert all("#" in line for line in options), "every option has a comment"
