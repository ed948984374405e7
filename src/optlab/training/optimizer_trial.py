"""Take a few steps with a user's optimizer on a small network, before a run begins.

A run passes `step` a closure that computes the gradients. A class that expects something else may
train another algorithm without an error. To find out what it expects, take the same steps in
several ways and compare the weights.
"""

import inspect
import logging
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from hydra.utils import get_object
from lightning.pytorch.utilities.model_helpers import is_overridden
from lightning.pytorch.utilities.seed import isolate_rng
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.optim import Optimizer

from optlab.optim import param_groups
from optlab.training.callbacks import seed_generators
from optlab.training.checkpoints import undo_casts, unsupported_part
from optlab.training.instantiate import instantiate_partial, optimizer_nodes
from optlab.training.option_names import nearest

log = logging.getLogger(__name__)

NUM_STEPS = 12  # some classes treat every tenth step differently
TESTED = ("torch", "optlab", "schedulefree")  # packages whose optimizers the tests train with


def is_from_tested_package(node: DictConfig | None) -> bool:
    """Return whether OptLab's tests train with the package of this optimizer, and of its base."""
    targets = [str(each.get("_target_")) for each in optimizer_nodes(node)] or [""]
    return all(target.partition(".")[0] in TESTED for target in targets)


def check_optimizer(node: DictConfig | None, module: L.LightningModule) -> bool:
    """Reject an optimizer whose class expects to be called differently from how a run calls it.

    A wrapper's base optimizer is checked first.

    Returns:
        Whether the class differentiates the gradients, so that the run has to call
        `loss.backward(create_graph=True)`, and the module does not do so by itself.

    Raises:
        ValueError: naming what the class expects.
    """
    if node is None or node.get("_target_") is None or is_from_tested_package(node):
        return False
    base = node.get("base")
    base_uses_graph = isinstance(base, DictConfig) and check_optimizer(base, module)
    for option, near in ignored_options(node).items():
        meant = f"did you mean {near}?" if near else "see the class for the names of its options"
        raise ValueError(
            f"{node._target_} accepts any option but does not read {option}, so "
            f"optimizer.{option} would have no effect.\n\nhint: {meant}"
        )
    if not module.automatic_optimization or is_overridden("optimizer_step", module):
        return False  # the module calls the optimizer in its own way
    make_optimizer = instantiate_partial(node)
    usual = take_steps(make_optimizer)
    ready = take_steps(make_optimizer, gradients_before_step=True)
    with_graph = take_steps(make_optimizer, create_graph=True)
    uses_ready = ready.error is None and not ready.equals(usual)
    uses_graph = with_graph.error is None and not with_graph.equals(usual)
    differs = usual.error is None and (uses_ready or uses_graph)
    if differs and not take_steps(make_optimizer).equals(usual):
        uses_ready = uses_graph = False  # not reproducible with a seed, so not comparable
    if uses_ready:
        raise ValueError(
            f"{node._target_} uses gradients before it calls its closure, which computes them. It "
            "would use the gradients of the previous batch and train incorrectly.\n\n"
            "hint: call closure() first in step(self, closure), as optimizer=sam and "
            "optimizer=asam do with any base; docs/extending.md shows how to subclass them"
        )
    if base_uses_graph and with_graph.error is not None:
        raise ValueError(
            f"{node.base._target_} differentiates the gradients, but {node._target_} changes the "
            "weights in between, so it cannot be its base.\n\nhint: optimizer.base=sgd"
        )
    if refused := unsupported_part((with_graph if uses_graph else usual).state, "state_dict()"):
        raise ValueError(
            f"{node._target_}: {refused}, which a checkpoint cannot contain, so an interrupted run "
            "could not resume.\n\nhint: use only tensors, numbers, strings, lists and dicts in "
            "self.state and param_groups; convert NumPy scalars with float(x)"
        )
    return uses_graph and not is_overridden("backward", module)


def check_resumes(node: DictConfig | None, checkpoint: Path | None) -> None:
    """Reject an optimizer that takes different steps after its state is saved and loaded.

    Args:
        node: config node of the optimizer.
        checkpoint: the checkpoint to resume from. If None, only warn that the run cannot resume.

    Raises:
        ValueError: if there is a checkpoint.
    """
    if node is None or node.get("_target_") is None or is_from_tested_package(node):
        return
    make_optimizer = instantiate_partial(node)
    usual, graph = take_steps(make_optimizer), False
    if usual.error is not None:  # a class that differentiates the gradients
        usual, graph = take_steps(make_optimizer, create_graph=True), True
    if usual.error is not None or usual.equals(
        take_steps(make_optimizer, create_graph=graph, resumes=True)
    ):
        return
    problem = f"state_dict() of {node._target_} does not contain all of its state"
    if checkpoint is not None:
        raise ValueError(
            f"{problem}, so the run cannot resume from {checkpoint} with the same numbers.\n\n"
            "hint: rerun=true starts this run again from the beginning"
        )
    log.warning("%s: if this run is interrupted, it cannot resume", problem)


def ignored_options(node: DictConfig) -> dict[str, str | None]:
    """Find the options that a class with `**kwargs` accepts and never reads.

    An option is read if a signature of the class or of one it inherits from has it, or if their
    source has its name in quotes, as in `kwargs["name"]` or `group.get("name")`.

    Returns:
        Their names, each with the nearest one that is read.
    """
    made = get_object(node._target_)
    is_class = inspect.isclass(made)
    classes = (
        [each for each in made.__mro__ if each not in (Optimizer, object)] if is_class else [made]
    )
    known = {"name"}
    for each in classes:
        known |= inspect.signature(vars(each).get("__init__", each)).parameters.keys()
    options = [key for key in map(str, node) if key not in known and key[0] != "_"]
    try:
        source = "".join(map(inspect.getsource, classes if options else ()))
    except OSError:  # a compiled class has no source to read
        return {}
    unread = [key for key in options if not re.search(rf"""['"]{re.escape(key)}['"]""", source)]
    if not unread:
        return {}
    try:
        instantiate_partial(node, option_of_no_class=0)(param_groups(_net()))
    except Exception:  # the class passes unknown options on to one that rejects them
        return {}
    known |= {*re.findall(r"""\.(?:get|pop)\(['"](\w+)['"]""", source)}
    return {name: nearest(name, known - {"name", "self", "params", "kwargs"}) for name in unread}


@dataclass
class Outcome:
    """The weights and state after some steps."""

    weights: Tensor | None = None  # all of them; None after an error
    state: dict[str, Any] | None = None  # of the optimizer
    error: Exception | None = None

    def equals(self, other: "Outcome") -> bool:
        if self.weights is None or other.weights is None:
            return False
        return torch.equal(self.weights.nan_to_num(), other.weights.nan_to_num())


def take_steps(
    make_optimizer: Callable[..., Optimizer],
    *,
    gradients_before_step: bool = False,
    create_graph: bool = False,
    resumes: bool = False,
) -> Outcome:
    """Train on random batches, as a run does.

    Args:
        make_optimizer: callable that takes parameter groups and returns the optimizer.
        gradients_before_step: whether to compute the gradients of a batch before calling `step`.
            Otherwise, as in a run, `step` starts with the gradients of the previous batch.
        create_graph: whether to call `loss.backward(create_graph=True)`.
        resumes: whether to load the state into a new optimizer after half of the steps.
    """
    outcome = Outcome()
    with isolate_rng(include_cuda=False), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seed_generators(0)
        net = _net()
        optimizer = make_optimizer(param_groups(net))

        def closure(inputs: Tensor, labels: Tensor) -> Tensor:
            with torch.enable_grad():
                loss = F.cross_entropy(net(inputs), labels)
                optimizer.zero_grad()
                loss.backward(create_graph=create_graph)
            return loss.detach()

        try:
            for index in range(NUM_STEPS):
                batch = torch.randn(8, 16), torch.randint(3, (8,))
                if index == NUM_STEPS // 2:  # as at the end of an epoch
                    _switch(optimizer, "eval")
                    if resumes:
                        saved = optimizer.state_dict()
                        optimizer = make_optimizer(param_groups(net))
                        optimizer.load_state_dict(saved)
                        undo_casts(optimizer, saved)
                        net.zero_grad()
                    seed_generators(1)
                _switch(optimizer, "train")
                if gradients_before_step:
                    closure(*batch)
                optimizer.step(closure=partial(closure, *batch))  # type: ignore[arg-type]
            outcome.state = optimizer.state_dict()
        except Exception as error:  # whatever a class may raise
            outcome.error = error
            return outcome
    outcome.weights = torch.cat([each.detach().flatten() for each in net.parameters()])
    return outcome


def _net() -> nn.Module:
    """A network with hidden matrices."""
    sizes = ((16, 12), (12, 8), (8, 3))
    return nn.Sequential(*(part for size in sizes for part in (nn.Linear(*size), nn.Tanh())))


def _switch(optimizer: Optimizer, mode: str) -> None:
    if callable(switch := getattr(optimizer, mode, None)):
        switch()
