"""Optimizers that wrap a base optimizer: sharpness-aware minimization and Lookahead.

Each shares the parameter groups and the state of its base optimizer, which makes the update.
Schedulers and checkpoints thus handle a single optimizer. The base may be any class whose step uses
the gradients of one evaluation; L-BFGS and other wrappers are rejected.

Sources: SAM, Foret et al. 2021, arXiv:2010.01412; ASAM, Kwon et al. 2021, arXiv:2102.11600;
Lookahead, Zhang et al. 2019, arXiv:1907.08610.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer

from optlab.ranges import check


class Wrapper(Optimizer):
    """Base class of optimizers that share the parameter groups and state of a base optimizer.

    If the base has the methods `train` and `eval`, as schedule-free optimizers do, because it uses
    different weights for evaluation, the wrapper has them as well.
    """

    def __init__(
        self, params: Any, base: Callable[..., Optimizer], lr: float | None = None
    ) -> None:
        """
        Args:
            params: parameters or groups, as for any optimizer.
            base: callable that takes `params`, and `lr` if given, and returns the base optimizer.
            lr: peak learning rate of the base; None keeps the default of the base.

        Raises:
            ValueError: if the base evaluates the loss several times per step.
        """
        made = base(params, **({} if lr is None else {"lr": lr}))
        if isinstance(made, LBFGS | Wrapper):
            raise ValueError(
                f"optimizer.base is {type(made).__name__}, but {type(self).__name__} needs one "
                "that evaluates the loss once per step, such as sgd"
            )
        self.base_optimizer = made
        super().__init__([each for group in made.param_groups for each in group["params"]], {})
        self.defaults = made.defaults
        self._share()

    def __getattr__(self, name: str) -> Any:
        if name in ("train", "eval"):
            return getattr(self.base_optimizer, name)
        raise AttributeError(f"{type(self).__name__} has no attribute {name}")

    def _share(self) -> None:
        self.param_groups, self.state = self.base_optimizer.param_groups, self.base_optimizer.state

    def state_dict(self) -> dict[str, Any]:
        return self.base_optimizer.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.base_optimizer.load_state_dict(state_dict)
        self._share()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        if hasattr(self, "state") and self.state is self.base_optimizer.state:
            self.base_optimizer.add_param_group(param_group)
        else:  # within torch's own __init__
            super().add_param_group(param_group)

    def _weights(self) -> list[Tensor]:
        return [each for group in self.param_groups for each in group["params"]]


class SAM(Wrapper):
    """Update the weights with the gradient at a nearby point where the loss is higher.

    The closure is evaluated at the weights w and again at w + e(w), on the same batch with the same
    random numbers, e.g. the same dropout. The base then updates w with the second gradient. `step`
    returns the loss at w.
    """

    def __init__(
        self,
        params: Any,
        base: Callable[..., Optimizer],
        lr: float | None = None,
        *,
        rho: float = 0.05,
    ) -> None:
        """
        Args:
            params, base, lr: see `Wrapper`.
            rho: length of e, in the norm that the class defines, > 0.

        Raises:
            ValueError: if rho is not above 0, or for the base, see `Wrapper`.
        """
        check("optimizer.rho", rho, "> 0")
        super().__init__(params, base, lr)
        self.rho = rho
        self._net: nn.Module | None = None

    def watch(self, net: nn.Module) -> None:
        """Set the network whose buffers the second evaluation must not change.

        Otherwise the running statistics of batch normalization would count each batch twice, once
        with weights that are never used for prediction.
        """
        self._net = net

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of all parameters that have a gradient.

        Raises:
            ValueError: without a closure.
        """
        if closure is None:
            raise ValueError(
                f"{type(self).__name__} evaluates the loss twice, so step() needs a closure.\n\n"
                "hint: with trainer.precision=16-mixed there is none; use bf16-mixed or 32-true"
            )
        weights = self._weights()
        with _restore_rng_state(weights), torch.enable_grad():
            loss = closure()
        weights = [weight for weight in weights if weight.grad is not None]
        start = [weight.clone() for weight in weights]
        for weight, move in zip(weights, self._perturbation(weights), strict=True):
            weight.add_(move)
        with _restore_buffers(self._net), torch.enable_grad():
            closure()
        for weight, value in zip(weights, start, strict=True):
            weight.copy_(value)  # exactly, which subtracting the move is not
        self.base_optimizer.step(lambda: loss)  # the gradients are made
        return loss

    def _perturbation(self, weights: list[Tensor]) -> list[Tensor]:
        """e(w) = rho g / ||g||, Foret et al. 2021, eq. 2 for p = 2."""
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        scale = self.rho / (_norm(gradients) + 1e-12)
        return [gradient * scale for gradient in gradients]


class ASAM(SAM):
    """SAM in units of each weight, so that rescaling a layer does not change its sharpness.

    T = |w| + eta for every weight; e(w) = rho T^2 g / ||T g||. Kwon et al. 2021, eq. 12 with the
    element-wise operator. The authors' code leaves biases unscaled, here they are scaled too.
    """

    def __init__(
        self,
        params: Any,
        base: Callable[..., Optimizer],
        lr: float | None = None,
        *,
        rho: float = 0.5,
        eta: float = 0.01,
    ) -> None:
        """
        Args:
            params, base, lr, rho: see `SAM`.
            eta: added to |w|, >= 0, so that weights near zero move as well.

        Raises:
            ValueError: if rho or eta is out of its range, or for the base.
        """
        check("optimizer.eta", eta, ">= 0")
        super().__init__(params, base, lr, rho=rho)
        self.eta = eta

    def _perturbation(self, weights: list[Tensor]) -> list[Tensor]:
        scales = [weight.abs() + self.eta for weight in weights]
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        scaled = [s * gradient for s, gradient in zip(scales, gradients, strict=True)]
        factor = self.rho / (_norm(scaled) + 1e-12)
        return [s * gradient * factor for s, gradient in zip(scales, scaled, strict=True)]


class Lookahead(Wrapper):
    """Interpolate every `k` steps between the current weights and those of k steps ago.

    The base updates the fast weights. Every k steps the slow weights move by `alpha` towards them,
    and the fast weights are reset to the slow ones. Evaluation uses the slow weights: `eval`
    switches to them, and `train` to the fast ones.
    """

    def __init__(
        self,
        params: Any,
        base: Callable[..., Optimizer],
        lr: float | None = None,
        *,
        k: int = 5,
        alpha: float = 0.5,
    ) -> None:
        """
        Args:
            params, base, lr: see `Wrapper`.
            k: steps of the base between two updates of the slow weights, >= 1.
            alpha: step size towards the fast weights, in (0, 1]; 1 is the base without Lookahead.

        Raises:
            ValueError: if an option is out of its range, or for the base.
        """
        check("optimizer.k", k, ">= 1")
        check("optimizer.alpha", alpha, "in (0, 1]")
        super().__init__(params, base, lr)
        self.k, self.alpha = k, alpha

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step of the base, and every k steps update the slow weights."""
        before = {
            weight: weight.clone()
            for weight in self._weights()
            if weight.requires_grad and "slow_weight" not in self.state.get(weight, {})
        }
        loss = self.base_optimizer.step(closure)
        for weight, value in before.items():
            if weight.grad is not None:
                # Only now: many classes set up a weight's state where it has none
                self.state[weight]["slow_weight"] = value
        for group in self.param_groups:
            group["num_fast_steps"] = (group.get("num_fast_steps", 0) + 1) % self.k
            if group["num_fast_steps"] == 0:
                for weight in group["params"]:
                    if "slow_weight" in self.state.get(weight, {}):
                        slow = self.state[weight]["slow_weight"]
                        weight.copy_(slow.lerp_(weight, self.alpha))
        return loss

    @torch.no_grad()
    def eval(self) -> None:
        getattr(self.base_optimizer, "eval", _do_nothing)()
        for weight, state in self.state.items():
            if "slow_weight" in state and "fast_weight" not in state:
                state["fast_weight"] = weight.clone()
                weight.copy_(state["slow_weight"])

    @torch.no_grad()
    def train(self) -> None:
        for weight, state in self.state.items():
            if "fast_weight" in state:
                weight.copy_(state.pop("fast_weight"))
        getattr(self.base_optimizer, "train", _do_nothing)()


def _do_nothing() -> None:
    """Stand for a method that the base does not have."""


def _norm(tensors: list[Tensor]) -> Tensor:
    return torch.nn.utils.get_total_norm(tensors)


@contextmanager
def _restore_rng_state(weights: list[Tensor]) -> Iterator[None]:
    """Restore the random generators that a training step may use at the end of the block."""
    devices = {weight.device for weight in weights if weight.is_cuda}
    of_numpy, of_python = np.random.get_state(), random.getstate()
    with torch.random.fork_rng(devices, device_type="cuda"):
        yield
    np.random.set_state(of_numpy)
    random.setstate(of_python)


@contextmanager
def _restore_buffers(net: nn.Module | None) -> Iterator[None]:
    """Restore the buffers of a network at the end of the block."""
    buffers = [] if net is None else list(net.buffers())
    before = [buffer.clone() for buffer in buffers]
    yield
    for buffer, value in zip(buffers, before, strict=True):
        buffer.copy_(value)
