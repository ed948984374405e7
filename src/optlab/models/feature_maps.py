"""Feature maps of a convolutional network for an image."""

import torch
from torch import Tensor, nn

from optlab.models.activations import ACTIVATIONS

_ACTIVATIONS = tuple(kind for kind in ACTIVATIONS.values() if isinstance(kind, type))


@torch.inference_mode()
def feature_maps(net: nn.Module, image: Tensor) -> list[Tensor]:
    """Return the feature maps after each activation, in the order of the forward pass.

    Args:
        net: a network with convolutions, in eval mode.
        image: (C, H, W), normalized as the network was trained.

    Returns:
        One (channels, height, width) tensor for each layer whose output is still an image.

    Raises:
        ValueError: if no layer makes maps, as in an MLP.
    """
    assert not net.training
    maps: list[Tensor] = []

    def keep(module: nn.Module, inputs: object, output: Tensor) -> None:
        if output.ndim == 4 and output.shape[-1] > 1:
            maps.append(output[0].clone())  # a later layer may work in place

    layers = [
        module
        for module in net.modules()
        if isinstance(module, _ACTIVATIONS) and not isinstance(module, nn.Identity)
    ]
    hooks = [layer.register_forward_hook(keep) for layer in layers]
    try:
        net(image.unsqueeze(0))
    finally:
        for hook in hooks:
            hook.remove()
    if not maps:
        raise ValueError(
            f"{type(net).__name__} has no feature maps: it has no convolution followed by an "
            "activation.\n\nhint: choose a run with a convolutional network, such as model=cnn"
        )
    return maps
