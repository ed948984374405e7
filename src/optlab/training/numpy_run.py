"""`model=mlp_numpy`: a run with forward pass, backward pass and optimizer in NumPy.

Data, batches, initial weights, schedule, clock, record and checkpoints are the same as in every
other run. The arrays of the NumPy network are views of the torch network's parameters. They share
memory, so validation, checkpoints, figures and the web page use the weights that NumPy has
computed, without a copy.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from optlab import numpy_net
from optlab.numpy_net.activations import ACTIVATIONS
from optlab.numpy_net.cost import cross_entropy, cross_entropy_gradient
from optlab.ranges import as_typed
from optlab.training.classifier import ImageClassifier

TARGET = "optlab.models.MLP"  # the network that holds its weights
KERNEL_OPTIONS = ("fused", "foreach")  # which kernels torch uses; they change no number


class NumpyClassifier(ImageClassifier):
    """ImageClassifier with forward and backward pass in NumPy, for an MLP of linear layers."""

    def __init__(self, net: nn.Module, *, activation: str, **options: Any) -> None:
        super().__init__(net, **options)
        self.activation = activation

    def configure_optimizers(self) -> Any:
        # NumPy's matrix products use a separate thread pool; limit it to the run's num_threads
        threadpool_limits(torch.get_num_threads(), user_api="blas")
        self.numpy_net = numpy_mlp(self.net, self.activation)
        return super().configure_optimizers()

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        images, labels = batch[0].flatten(1).numpy(), batch[1].numpy()  # (B, D), (B,)
        # Overflow makes the loss non-finite and ends the run, so NumPy's warnings are silenced.
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            forward_pass = self.numpy_net.forward(images)
            logits = forward_pass.logits  # (B, K)
            loss = cross_entropy(logits, labels)
            gradient = cross_entropy_gradient(logits, labels)
            self.gradients = self.numpy_net.backward(forward_pass, gradient)
        return {"loss": torch.tensor(loss, dtype=torch.float32), "logits": torch.from_numpy(logits)}

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Set the gradients that training_step has computed."""
        for parameter, gradient in zip(self.net.parameters(), self.gradients, strict=True):
            parameter.grad = torch.from_numpy(gradient)


class NumpyOptimizer(torch.optim.Optimizer):
    """Torch optimizer that applies an update rule of numpy_net, with param_groups and state_dict.

    Args:
        groups: parameter groups of named torch parameters, float32 on the CPU; `weight_decay` may
            differ between groups.
        make_rule: a class of `numpy_net.OPTIMIZERS`.
        options: keyword arguments of that class.
    """

    def __init__(
        self,
        groups: Sequence[dict[str, Any]],
        *,
        make_rule: Callable[..., numpy_net.Optimizer],
        **options: Any,
    ) -> None:
        super().__init__(groups, {"lr": options["lr"], "weight_decay": options["weight_decay"]})
        self._parameters = [p for group in self.param_groups for p in group["params"]]
        decays = [g["weight_decay"] for g in self.param_groups for _ in g["params"]]
        arrays = [parameter.detach().numpy() for parameter in self._parameters]  # views
        self.rule = make_rule(arrays, **{**options, "weight_decay": decays})

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter by its gradient, which `closure`, if given, computes first."""
        loss = None if closure is None else closure()
        self.rule.lr = self.param_groups[0]["lr"]  # as the scheduler has set it
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            self.rule.step([parameter.grad.numpy() for parameter in self._parameters])
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Return torch's state and the rule's, as tensors: `weights_only` loads no NumPy arrays."""
        state = {
            name: [torch.from_numpy(array) for array in value] if isinstance(value, list) else value
            for name, value in self.rule.state_dict().items()
        }
        return {**super().state_dict(), "rule": state}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        torchs = {name: value for name, value in state_dict.items() if name != "rule"}
        super().load_state_dict(torchs)
        self.rule.load_state_dict(
            {
                name: [tensor.numpy() for tensor in value] if isinstance(value, list) else value
                for name, value in state_dict["rule"].items()
            }
        )


def numpy_mlp(net: nn.Module, activation: str) -> numpy_net.MLP:
    """Return a NumPy MLP that shares the memory of its parameters with a torch MLP."""
    linears = [module for module in net.modules() if isinstance(module, nn.Linear)]
    assert all(one.out_features == next_.in_features for one, next_ in pairwise(linears))
    arrays = [parameter.detach().numpy() for parameter in net.parameters()]
    sizes = [linears[0].in_features, *(linear.out_features for linear in linears)]
    network = numpy_net.MLP(sizes, activation, weights=arrays, dtype=np.float32)
    network.parameters = arrays  # instead of the copies that the constructor makes
    return network


def make_optimizer(config: DictConfig) -> Callable[[Sequence[dict[str, Any]]], NumpyOptimizer]:
    """Return a callable that takes parameter groups and builds the optimizer of a config."""
    options = _options(config)
    options["lr"] = config.optimizer.lr * config.lr_multiplier
    make_rule = numpy_net.OPTIMIZERS[config.optimizer._target_.rpartition(".")[2]]
    return partial(NumpyOptimizer, make_rule=make_rule, **options)


def config_problems(config: DictConfig) -> Iterator[str]:
    """Yield a message for each option that model=mlp_numpy does not support."""
    model, trainer = config.model, config.trainer
    yield from _optimizer_problems(config)
    if model._target_ != TARGET:
        yield f"model._target_ is {model._target_}; model=mlp_numpy supports only {TARGET}"
    if model.get("batch_norm"):
        yield "model.batch_norm is true, which model=mlp_numpy does not support; use false"
    dropout = model.get("dropout", 0.0)
    if any(dropout) if OmegaConf.is_list(dropout) else dropout:
        yield f"model.dropout is {dropout}, which model=mlp_numpy does not support; use 0"
    if model.get("activation", "relu") not in ACTIVATIONS:
        chosen = as_typed(model.activation)
        yield f"model.activation is {chosen}; allowed: {', '.join(ACTIVATIONS)}"
    for option, value, plain in (
        ("trainer.precision", trainer.precision, "32-true"),
        ("trainer.strategy", trainer.strategy, "auto"),
        ("trainer.devices", trainer.devices, 1),
        ("compile", config.compile, False),
        ("trainer.accumulate_grad_batches", trainer.accumulate_grad_batches, 1),
        ("trainer.gradient_clip_val", trainer.gradient_clip_val, None),
        ("module.label_smoothing", config.module.get("label_smoothing", 0.0), 0.0),
        ("num_replicas", config.num_replicas, 1),
    ):
        if value != plain:
            yield f"{option} is {as_typed(value)}; allowed: {as_typed(plain)}"
    others = torch.cuda.is_available() or torch.backends.mps.is_available()
    if trainer.accelerator not in ("cpu", "auto") or (trainer.accelerator == "auto" and others):
        yield f"trainer.accelerator is {trainer.accelerator}; NumPy runs on the CPU: trainer=cpu"


def _optimizer_problems(config: DictConfig) -> Iterator[str]:
    package, _, rule = config.optimizer._target_.rpartition(".")
    if package != "torch.optim" or rule not in numpy_net.OPTIMIZERS:
        rules = ", ".join(numpy_net.OPTIMIZERS)
        yield (
            f"optimizer={config.optimizer.name} is {config.optimizer._target_}; model=mlp_numpy "
            f"supports {rules} of torch.optim"
        )
        return
    known = inspect.signature(numpy_net.OPTIMIZERS[rule]).parameters
    for option in _options(config):
        if option not in known:
            yield f"optimizer.{option} is not supported by {rule} in NumPy; use model=mlp"


def _options(config: DictConfig) -> dict[str, Any]:
    """Return the optimizer's options, except those that only select torch's kernels."""
    node = OmegaConf.to_container(config.optimizer, resolve=True)
    assert isinstance(node, dict)
    return {
        str(option): value
        for option, value in node.items()
        if option != "name" and str(option)[0] != "_" and option not in KERNEL_OPTIONS
    }
