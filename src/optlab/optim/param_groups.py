"""Build parameter groups: the parameters of an optimizer, and which of them have weight decay."""

from typing import Any

from torch import nn


def param_groups(net: nn.Module, *, decay_norm_and_bias: bool = True) -> list[dict[str, Any]]:
    """Return the named parameters of a network as groups for a torch optimizer.

    Frozen parameters are included, so that the optimizer can train a body that is unfrozen later;
    it skips parameters without a gradient. They are in separate groups, because torch's fused SGD
    fails if some parameters of a group get their first gradient later than others.

    Args:
        net: the network.
        decay_norm_and_bias: False puts biases and normalization scales (every parameter with fewer
            than two dimensions) into groups with weight decay 0. That makes sense only for an
            optimizer with `weight_decay`.

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
