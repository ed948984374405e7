"""Optimizers that users bring: trained as their class expects, or refused with the reason.

Classes of this file are named in configs as a user names his own. What is right comes from a bare
loop that uses the class as its documentation says.
"""

import random

import lightning as L
import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from torch import nn
from torch.optim import SGD, Adam, Optimizer

from optlab.training import build, optimizer_trial
from optlab.training.checkpoints import undo_casts
from optlab.training.classifier import ImageClassifier
from optlab.training.instantiate import instantiate_partial
from optlab.training.optimizer_trial import check_optimizer, check_resumes
from optlab.training.run import run
from optlab.training.run_id import run_dir

MANY_CLOSURES = "ignore:Using backward. . with create_graph=True:UserWarning"


class Closure:
    """Steps that begin with the closure, as most do."""

    def evaluate(self, closure):
        with torch.enable_grad():
            return closure()


class OldMomentum(Closure, SGD):
    """Adds the gradients that it finds to its state, before the closure makes those of the batch.

    No weight moves until then.
    """

    @torch.no_grad()
    def step(self, closure):
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    average = self.state[weight].setdefault("average", torch.zeros_like(weight))
                    average.lerp_(weight.grad, 0.1)
        loss = self.evaluate(closure)
        for weight, state in self.state.items():
            weight.sub_(state["average"], alpha=self.param_groups[0]["lr"])
        return loss


class SAM(Closure, SGD):
    """Sharpness-aware minimization, which wants gradients when `step` is called.

    Foret et al. 2021, arXiv:2010.01412, algorithm 1.
    """

    @torch.no_grad()
    def step(self, closure):
        gradients = self.gradients()
        norm = torch.stack([gradient.norm() for gradient in gradients.values()]).norm()
        for weight, gradient in gradients.items():
            weight.add_(gradient, alpha=0.05 / norm.item())
        moves = {weight: 0.05 / norm.item() * gradient for weight, gradient in gradients.items()}
        loss = self.evaluate(closure)
        for weight, move in moves.items():
            weight.sub_(move)
        SGD.step(self)
        return loss

    def gradients(self):
        weights = [weight for group in self.param_groups for weight in group["params"]]
        return {weight: weight.grad for weight in weights if weight.grad is not None}


class LenientSAM(SAM):
    """Moves nothing at the first step, where there are no gradients."""

    def step(self, closure):
        return super().step(closure) if self.gradients() else SGD.step(self, closure)


class ClosureFirstSAM(SAM):
    @torch.no_grad()
    def step(self, closure):
        loss = self.evaluate(closure)
        super().step(closure)
        return loss


class Looks(SGD):
    """Asks old gradients for their shape and clears them, which uses none of their numbers."""

    def step(self, closure):
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self.state[weight]["sum"] = torch.zeros_like(weight.grad)
        self.zero_grad(set_to_none=False)
        return super().step(closure)


class Noisy(SGD):
    """Draws numbers that torch's seed does not repeat."""

    def step(self, closure):
        self.param_groups[0]["lr"] = float(np.random.default_rng().uniform(0.1, 0.2))
        return super().step(closure)


class Draws(SGD):
    """Draws from the global generators of NumPy and Python."""

    def step(self, closure):
        self.param_groups[0]["lr"] = 0.1 + 0.1 * np.random.rand() * random.random()
        return super().step(closure)


class Curvature(Closure, Optimizer):
    """The gradient divided by |H z| with z = 1, for which it differentiates the gradient."""

    def __init__(self, params, lr=0.05):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure):
        loss = self.evaluate(closure)
        weights = [weight for group in self.param_groups for weight in group["params"]]
        with torch.enable_grad():
            total = sum(weight.grad.sum() for weight in weights)
        for weight, curvature in zip(weights, torch.autograd.grad(total, weights), strict=True):
            weight.sub_(weight.grad / (1 + curvature.abs()), alpha=self.param_groups[0]["lr"])
        return loss


class SilentCurvature(Curvature):
    """Takes the gradient as it is where it cannot be differentiated, and says nothing."""

    def step(self, closure):
        seen = {}

        def noted():
            seen["loss"] = closure()
            return seen["loss"]

        try:
            return super().step(noted)
        except RuntimeError:
            for weight in self.param_groups[0]["params"]:
                weight.data.sub_(weight.grad, alpha=self.param_groups[0]["lr"])
        return seen["loss"]


def node(kind, **options):
    target = kind if isinstance(kind, str) else f"{__name__}.{kind.__name__}"
    return OmegaConf.create(
        {"name": "own", "_target_": target, "_partial_": True, "_convert_": "all", **options}
    )


@pytest.fixture
def config_of(make_config):
    """Composes the config of a run of six steps with a class of this file."""

    def compose(kind, *others, **options):
        config = make_config("trainer.max_steps=6", "model.hidden_sizes=[32,16]", *others)
        config.optimizer = node(kind, **options)
        return config

    return compose


def steps_of(config):
    """Train a run; return its steps.csv."""
    run(config)
    return pd.read_csv(run_dir(config) / "steps.csv")


def bare(config, take_step):
    """Losses and learning rates of a bare loop over the first six batches of a run.

    `take_step` is called with the optimizer and with a function that makes gradients.
    """
    datamodule = build.build_data(config)
    net = build.build_net(config, datamodule)
    optimizer = instantiate_partial(
        config.optimizer, lr=config.optimizer.lr * config.lr_multiplier
    )(net.parameters())
    losses, rates = [], []
    for (images, labels), _ in zip(datamodule.train_dataloader(), range(6), strict=False):

        def make_gradients(images=images, labels=labels, **arguments):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(images), labels)
            loss.backward(**arguments)
            return loss

        losses.append(take_step(optimizer, make_gradients).item())
        rates.append(optimizer.param_groups[0]["lr"])
    return losses, rates


# --- gradients and closures ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", [OldMomentum, SAM, LenientSAM])
def test_class_that_uses_gradients_before_its_closure_is_refused(kind):
    with pytest.raises(ValueError, match=rf"{kind.__name__} .*closure") as refused:
        check_optimizer(node(kind, lr=0.1), L.LightningModule())
    assert "step(self, closure)" in str(refused.value)


@pytest.mark.parametrize(
    "right",
    [
        node("torch.optim.Adam"),
        node("torch.optim.LBFGS", max_iter=2),
        node(ClosureFirstSAM, lr=0.1),
        node(Looks, lr=0.1),
        node(Noisy, lr=0.1),
    ],
    ids=lambda chosen: chosen._target_.rpartition(".")[2],
)
def test_class_that_calls_its_closure_first_passes(right, monkeypatch):
    monkeypatch.setattr(optimizer_trial, "TESTED", ())  # try those of torch as well
    check_optimizer(right, L.LightningModule())


def test_trial_leaves_torchs_random_numbers_alone():
    before = torch.get_rng_state()
    check_optimizer(node(ClosureFirstSAM, lr=0.1), L.LightningModule())
    assert torch.equal(torch.get_rng_state(), before)


def test_module_that_calls_the_optimizer_itself_may_give_it_gradients_first():
    class Manual(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False

    class OwnStep(L.LightningModule):
        def optimizer_step(self, epoch, batch_idx, optimizer, closure):
            closure()
            optimizer.step(closure)

    for module in (Manual(), OwnStep()):
        check_optimizer(node(SAM, lr=0.1), module)


@pytest.mark.parametrize("loop", ["lean_loop=true", "lean_loop=false"])
def test_two_pass_class_trains_as_in_a_bare_loop(loop, config_of):
    chosen = config_of(ClosureFirstSAM, loop, lr=0.1)
    # Two passes in a bare loop: the gradients first, then a step that asks for them once more
    expected, _ = bare(chosen, lambda optimizer, make: optimizer.step(make))
    assert list(steps_of(chosen)["train/loss"]) == expected


@pytest.mark.parametrize("loop", ["lean_loop=true", "lean_loop=false"])
def test_two_passes_over_accumulated_batches_are_refused(loop, config_of):
    """The second pass has the last batch only, and would add to the gradients of the others."""
    chosen = config_of(ClosureFirstSAM, loop, "trainer.accumulate_grad_batches=2", lr=0.1)
    with pytest.raises(ValueError, match=r"ClosureFirstSAM .*accumulate_grad_batches=2"):
        run(chosen)


class NeverCalls(SGD):
    def step(self, closure=None):
        return None


@pytest.mark.parametrize(
    ("loop", "message"),
    [
        ("lean_loop=true", r"NeverCalls\.step (?s:.*)hint: .*closure\(\)"),
        ("lean_loop=false", "closure hasn't been executed"),  # Lightning's
    ],
)
def test_class_that_does_not_call_its_closure_is_refused(loop, message, config_of):
    with pytest.raises(ValueError, match=message):
        run(config_of(NeverCalls, loop, lr=0.1))


@pytest.mark.filterwarnings(MANY_CLOSURES)
@pytest.mark.parametrize("kind", [Curvature, SilentCurvature])
@pytest.mark.parametrize("loop", ["lean_loop=true", "lean_loop=false"])
def test_class_that_differentiates_gradients_trains_as_in_a_bare_loop(loop, kind, config_of):
    chosen = config_of(kind, loop, lr=0.05)
    expected, _ = bare(
        chosen, lambda optimizer, make: optimizer.step(lambda: make(create_graph=True))
    )
    assert list(steps_of(chosen)["train/loss"]) == expected


def test_graph_is_made_for_no_other_class():
    assert check_optimizer(node(Curvature), L.LightningModule())
    assert not check_optimizer(node(ClosureFirstSAM, lr=0.1), L.LightningModule())


@pytest.mark.parametrize(
    ("other", "option"), [("num_replicas=2", "num_replicas"), ("trainer=ddp", r"trainer\.strategy")]
)
def test_class_that_differentiates_gradients_is_refused_with(other, option, config_of):
    with pytest.raises(ValueError, match=rf"Curvature .*{option}=(?s:.*)hint: .*{option}\b"):
        run(config_of(Curvature, other, "trainer.accelerator=cpu"))


def wrapped(base, kind="SAM", **options):
    return node(f"optlab.optim.{kind}", base=node(base, **options), lr=0.1)


def test_base_of_sam_cannot_differentiate_gradients():
    with pytest.raises(
        ValueError, match=r"Curvature .*\bSAM\b(?s:.*)hint: .*optimizer\.base=sgd\b"
    ):
        check_optimizer(wrapped(Curvature), L.LightningModule())
    assert check_optimizer(wrapped(Curvature, kind="Lookahead"), L.LightningModule())


def test_base_is_looked_at_by_itself():
    with pytest.raises(
        ValueError, match=r"LenientSAM .*closure(?s:.*)hint: .*step\(self, closure\)"
    ):
        check_optimizer(wrapped(LenientSAM, lr=0.1), L.LightningModule())
    with pytest.raises(ValueError, match=r"Swallows .*optimizer\.sahre\b(?s:.*)hint: .*\bshare\b"):
        check_optimizer(wrapped(Swallows, sahre=0.9), L.LightningModule())


class WithGraph(ImageClassifier):
    def backward(self, loss):
        loss.backward(create_graph=True)


@pytest.mark.filterwarnings(MANY_CLOSURES)
@pytest.mark.parametrize("loop", ["lean_loop=true", "lean_loop=false"])
def test_module_that_creates_the_graph_trains_it_as_in_a_bare_loop(loop, config_of):
    chosen = config_of(Curvature, loop, f"module._target_={__name__}.WithGraph", lr=0.05)
    expected, _ = bare(
        chosen, lambda optimizer, make: optimizer.step(lambda: make(create_graph=True))
    )
    assert list(steps_of(chosen)["train/loss"]) == expected


# --- learning rates ------------------------------------------------------------------------------


class Hypergradient(Closure, Optimizer):
    """SGD whose learning rate follows its own gradient. Baydin et al. 2018, arXiv:1703.04782."""

    def __init__(self, params, lr=0.01, rate_of_lr=0.01):
        super().__init__(params, {"lr": lr, "rate_of_lr": rate_of_lr})

    @torch.no_grad()
    def step(self, closure=None):
        loss = None if closure is None else self.evaluate(closure)
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            for weight in weights:
                last = self.state[weight].setdefault("last", torch.zeros_like(weight))
                group["lr"] += group["rate_of_lr"] * (weight.grad * last).sum().item()
                last.copy_(weight.grad)
            for weight in weights:
                weight.sub_(weight.grad, alpha=group["lr"])
        return loss


@pytest.mark.parametrize(
    "others",
    [
        ("scheduler=constant",),
        ("~scheduler",),
        ("lr_multiplier=3.0",),
        ("scheduler=plateau",),
        ("lean_loop=false",),
    ],
    ids=str,
)
def test_class_that_changes_its_own_learning_rate_keeps_it(others, config_of):
    chosen = config_of(Hypergradient, *others, lr=0.01)
    expected, rates = bare(chosen, lambda optimizer, make: optimizer.step(make))
    steps = steps_of(chosen)
    assert list(steps["train/loss"]) == expected
    assert list(steps["lr"]) == rates  # those that moved the weights
    assert rates == sorted(set(rates)) and rates[-1] > 1.5 * rates[0]


class RateOfItsOwn(SGD):
    """Keeps its learning rate under another name."""

    def __init__(self, params, step_size=0.1):
        super().__init__(params, lr=step_size)
        for group in self.param_groups:
            group["step_size"] = group.pop("lr")

    @torch.no_grad()
    def step(self, closure):
        with torch.enable_grad():
            loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                weight.sub_(weight.grad, alpha=group["step_size"])
        return loss


def test_class_without_lr_trains_at_a_constant_rate(config_of):
    assert steps_of(config_of(RateOfItsOwn))["lr"].isna().all()


@pytest.mark.parametrize("other", ["scheduler=cosine", "lr_multiplier=2.0"])
def test_what_would_change_the_lr_of_a_class_without_one_is_refused(other, config_of):
    with pytest.raises(
        ValueError, match=rf"{other.partition('=')[0]}\b.*(=own|RateOfItsOwn) .*\blr\b"
    ):
        run(config_of(RateOfItsOwn, other))


# --- options -------------------------------------------------------------------------------------


class Swallows(SGD):
    """Takes any option, reads one of them."""

    def __init__(self, params, lr=0.1, **kwargs):
        super().__init__(params, lr=lr, momentum=kwargs.get("share", 0.0))


class HandsOn(SGD):
    def __init__(self, params, **kwargs):
        super().__init__(params, **kwargs)


class Wraps(SGD):
    """Gives its options to another class, as SAM does to its base."""

    def __init__(self, params, **kwargs):
        params = list(params)
        super().__init__(params, lr=0.1)
        self.base = Adam(params, **kwargs)


def adam_of(params, **kwargs):
    return Adam(params, **kwargs)


def test_option_that_a_class_swallows_is_refused():
    with pytest.raises(ValueError, match=r"Swallows .*optimizer\.sahre\b(?s:.*)hint: .*\bshare\b"):
        check_optimizer(node(Swallows, lr=0.2, sahre=0.9), L.LightningModule())


@pytest.mark.parametrize(
    "right",
    [
        node(Swallows, lr=0.2, share=0.9),
        node(HandsOn, lr=0.2, momentum=0.9),
        node(Wraps, betas=[0.8, 0.9]),
        node(adam_of, amsgrad=True),
    ],
    ids=lambda chosen: chosen._target_.rpartition(".")[2],
)
def test_option_that_a_class_reads_or_hands_on_passes(right):
    check_optimizer(right, L.LightningModule())


@pytest.mark.parametrize("kind", [HandsOn, Wraps, adam_of])
def test_wrong_option_that_is_handed_on_is_refused_by_who_gets_it(kind, config_of):
    with pytest.raises(ValueError, match=rf"\.{kind.__name__} .*'momentom'"):
        run(config_of(kind, momentom=0.9))


# --- state and checkpoints -----------------------------------------------------------------------


class NumPyState(SGD):
    def step(self, closure):
        loss = super().step(closure)
        for weight in self.param_groups[0]["params"]:
            self.state[weight]["largest"] = np.float64(1.5)
        return loss


def test_state_that_no_checkpoint_can_hold_is_refused_by_its_key():
    with pytest.raises(ValueError, match=r"NumPyState\b.*\['largest'\] .*\bnumpy\.float64\b"):
        check_optimizer(node(NumPyState, lr=0.1), L.LightningModule())


class Typed(SGD):
    """Keeps what torch's load_state_dict casts to the type of the weights, or garbles."""

    def step(self, closure=None):
        loss = super().step(closure)
        for group in self.param_groups:
            for weight in group["params"]:
                state = self.state[weight]
                state["exact"] = state.get("exact", torch.ones((), dtype=torch.float64)) / 3
                state["mask"] = weight.detach() > 0
                state["count"] = torch.tensor(2**30 + 1)
                state["mode"] = "fast"
                state["nested"] = [torch.tensor(7), {"flag": torch.tensor(True)}]
        return loss


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_state_that_is_loaded_has_the_types_that_it_was_saved_with(dtype, tmp_path):
    net = nn.Linear(2, 3).to(dtype)
    saved = Typed(net.parameters(), lr=0.1)
    net(torch.ones(1, 2, dtype=dtype)).sum().backward()
    saved.step()
    torch.save(saved.state_dict(), tmp_path / "state.ckpt")
    state = torch.load(tmp_path / "state.ckpt", weights_only=True)
    loaded = Typed(net.parameters(), lr=0.1)
    loaded.load_state_dict(state)
    undo_casts(loaded, state)
    for weight in net.parameters():
        for key, value in saved.state[weight].items():
            found = loaded.state[weight][key]
            if isinstance(value, torch.Tensor):
                assert found.dtype == value.dtype
            assert str(found) == str(value)


class Counts(SGD):
    """Keeps its count in an attribute, which no state_dict holds."""

    count = 0

    def step(self, closure):
        self.count += 1
        self.param_groups[0]["lr"] = 0.1 / self.count
        return super().step(closure)


def test_class_whose_state_dict_is_incomplete_is_named_and_does_not_resume(caplog, tmp_path):
    check_resumes(node(Counts, lr=0.1), None)
    (warning,) = caplog.messages
    assert ".Counts " in warning
    with pytest.raises(ValueError, match=r"Counts .*last\.ckpt(?s:.*)rerun=true"):
        check_resumes(node(Counts, lr=0.1), tmp_path / "last.ckpt")


def test_class_whose_state_dict_is_complete_resumes(caplog, tmp_path):
    for kind in (ClosureFirstSAM, Hypergradient, Typed):
        check_resumes(node(kind, lr=0.1), tmp_path / "last.ckpt")
    assert not caplog.text


def test_class_that_draws_random_numbers_draws_the_same_in_each_epoch_of_a_seed(
    config_of, tmp_path
):
    check_resumes(node(Draws), tmp_path / "last.ckpt")
    first, again = (steps_of(config_of(Draws, "rerun=true")) for _ in range(2))
    pd.testing.assert_frame_equal(first, again, check_exact=True)
    assert first.lr.nunique() == 6


@pytest.mark.parametrize(
    "chosen",
    [
        ("optimizer=nadam", "trainer.precision=64-true"),  # keeps a product in float32
        ("optimizer=nadam", "trainer.precision=bf16-true"),
        ("optimizer=lbfgs", "trainer.precision=64-true", "data.batch_size=512"),
        (
            "optimizer=sgd",
            "trainer.precision=64-true",
            "+callbacks.ema._target_=lightning.pytorch.callbacks.EMAWeightAveraging",
            "model.batch_norm=true",
        ),
    ],
    ids=lambda chosen: "-".join(each.partition("=")[2].rpartition(".")[2] for each in chosen),
)
def test_run_of_another_precision_resumes_to_the_same_numbers(chosen, train, interrupted, tmp_path):
    chosen = (*chosen, "trainer.max_epochs=2")
    batches = 4 if "data.batch_size=512" in chosen else 29  # in the second epoch
    interrupted(batches, *chosen, f"outputs={tmp_path}/cut")
    train(*chosen, f"outputs={tmp_path}/cut").assert_equals(train(*chosen))
