"""Estimate the memory of an optimizer before a run by taking a step on meta tensors.

Most optimizers keep one to three numbers per weight. Preconditioners keep square matrices of a
layer's dimensions, and some compute much larger intermediate products, which use up a machine's
memory at the first step.
"""

from collections.abc import Callable
from typing import Any

import psutil
import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from optlab.optim import param_groups
from optlab.training.instantiate import instantiate_partial
from optlab.training.optimizer_trial import is_from_tested_package

GIB = 2**30


class LargestResult(TorchDispatchMode):
    """Record the size in bytes of the largest tensor that an operation returns."""

    def __init__(self) -> None:
        super().__init__()
        self.num_bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        made = [each.untyped_storage().nbytes() for each in tree_leaves(result) if _is_tensor(each)]
        self.num_bytes = max([self.num_bytes, *made])
        return result


def step_bytes(make_optimizer: Callable[..., Optimizer], net: nn.Module) -> int:
    """Return a lower bound on the memory of an optimizer's first step, in bytes.

    It is the size of the state after the step or of the largest intermediate result, whichever is
    larger. If a class reads values, which meta tensors do not have, the step stops there and the
    bound covers only the part before.

    Args:
        make_optimizer: callable that takes parameter groups and returns the optimizer.
        net: the network; its weights are neither read nor copied.
    """
    groups = param_groups(net)
    for group in groups:
        group["params"] = [(name, _without_data(weight)) for name, weight in group["params"]]
    largest = LargestResult()
    state: Any = {}
    try:
        optimizer = make_optimizer(groups)
        state = optimizer.state
        with largest:
            optimizer.step(lambda: torch.zeros((), device="meta"))  # type: ignore[arg-type,return-value]
    except Exception:  # whatever a class may do with a tensor that has no values
        pass
    kept = [each.nbytes for each in tree_leaves(dict(state)) if _is_tensor(each)]
    return max(sum(kept), largest.num_bytes)


def check_memory(node: DictConfig | None, net: nn.Module, device: torch.device) -> None:
    """Refuse an optimizer whose first step needs more memory than a device has free.

    Args:
        node: config node of the optimizer.
        net: the network to train.
        device: the device to train on.

    Raises:
        ValueError: if memory is insufficient; the message has the required and the free memory.
    """
    if node is None or node.get("_target_") is None or is_from_tested_package(node):
        return  # torch's own keep a few numbers for each weight
    needed = step_bytes(instantiate_partial(node), net)
    free = (
        torch.cuda.mem_get_info(device)[0]
        if device.type == "cuda"
        else psutil.virtual_memory().available
    )
    if needed > free:
        raise ValueError(
            f"{node._target_} needs at least {needed / GIB:.1f} GiB for its first step on this "
            f"network, but only {free / GIB:.1f} GiB are free on {device}.\n\n"
            "hint: use a smaller network, or options of the class for smaller preconditioners"
        )


def _without_data(weight: Tensor) -> nn.Parameter:
    shadow = nn.Parameter(
        torch.empty_like(weight, device="meta"), requires_grad=weight.requires_grad
    )
    if weight.requires_grad:
        shadow.grad = torch.empty_like(weight, device="meta")
    return shadow


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)
