"""Which parameters an optimizer gets, and which of them it decays."""

from typing import Any

from torch import nn


def param_groups(net: nn.Module, weight_decay_on: str = "all") -> list[dict[str, Any]]:
    """The parameters of a network as groups for a torch optimizer, with their names.

    Frozen parameters are included, so that a body which is unfrozen later is already in the
    optimizer's hands: it skips what has no gradient. They form groups of their own, because torch's
    fused SGD fails on a group in which some parameters get their first gradient later than others.

    Args:
        net: the network.
        weight_decay_on: `all` decays every parameter; `kernels` puts biases and normalisation
            scales (every parameter with fewer than two dimensions) into groups with weight decay 0.
            That makes sense only for an optimizer that knows `weight_decay`.

    Returns:
        One group for a network without frozen parameters under `all`, which is what LBFGS needs.
        Groups without parameters are left out; frozen groups come first. Within a group the order
        is the network's.

    Raises:
        ValueError: if `weight_decay_on` is unknown.
    """
    if weight_decay_on not in ("all", "kernels"):
        raise ValueError(
            f"weight_decay_on is {weight_decay_on!r}, but it is all or kernels.\n\n"
            f"hint: kernels spares biases and normalisation layers"
        )
    groups: list[dict[str, Any]] = []
    for is_trained in (False, True):
        named = [
            (name, parameter)
            for name, parameter in net.named_parameters()
            if parameter.requires_grad is is_trained
        ]
        if weight_decay_on == "all":
            groups.append({"params": named})
            continue
        kernels = [(name, parameter) for name, parameter in named if parameter.ndim >= 2]
        others = [(name, parameter) for name, parameter in named if parameter.ndim < 2]
        groups += [{"params": kernels}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
