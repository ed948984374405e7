"""Parameter groups: the parameters an optimizer gets, and which of them it decays."""

from typing import Any

from torch import nn


def param_groups(net: nn.Module, *, decay_norm_and_bias: bool = True) -> list[dict[str, Any]]:
    """The parameters of a network as groups for a torch optimizer, with their names.

    Frozen parameters are included, so that a body which is unfrozen later is already known to the
    optimizer, which skips what has no gradient. They form groups of their own, because torch's
    fused SGD fails on a group in which some parameters get their first gradient later than others.

    Args:
        net: the network.
        decay_norm_and_bias: False puts biases and normalization scales (every parameter with fewer
            than two dimensions) into groups with weight decay 0. That makes sense only for an
            optimizer that knows `weight_decay`.

    Returns:
        One group for a network without frozen parameters if everything decays, which is what LBFGS
        needs. Groups without parameters are left out; frozen groups come first. Within a group the
        order is the network's.
    """
    groups: list[dict[str, Any]] = []
    for is_trained in (False, True):
        named = [
            (name, parameter)
            for name, parameter in net.named_parameters()
            if parameter.requires_grad is is_trained
        ]
        if decay_norm_and_bias:
            groups.append({"params": named})
            continue
        kernels = [(name, parameter) for name, parameter in named if parameter.ndim >= 2]
        others = [(name, parameter) for name, parameter in named if parameter.ndim < 2]
        groups += [{"params": kernels}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
