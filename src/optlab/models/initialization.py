"""Initial weights by the name that a config uses.

Sources: Xavier, Glorot and Bengio 2010 (AISTATS, PMLR 9); He, He et al. 2015, arXiv:1502.01852;
orthogonal, Saxe et al. 2014, arXiv:1312.6120.
"""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from optlab.ranges import check_choice

INITIALIZATIONS: dict[str, Callable[[Tensor], Tensor] | None] = {
    "default": None,  # what torch does: weights and biases uniform in +-1/sqrt(fan_in)
    "he_normal": partial(nn.init.kaiming_normal_, nonlinearity="relu"),  # variance 2/fan_in
    "he_uniform": partial(nn.init.kaiming_uniform_, nonlinearity="relu"),  # variance 2/fan_in
    "xavier_normal": nn.init.xavier_normal_,  # variance 2/(fan_in + fan_out)
    "xavier_uniform": nn.init.xavier_uniform_,  # variance 2/(fan_in + fan_out)
    "orthogonal": nn.init.orthogonal_,  # gain 1; a convolution is flattened to (out, in*k*k)
}


def initialize(net: nn.Module, name: str) -> None:
    """Initialize the weights of all linear and convolutional layers, and set their biases to zero.

    This includes the head. `default` keeps torch's initialization, including the biases.

    Raises:
        ValueError: if the name is not in `INITIALIZATIONS`.
    """
    check_choice("model.init", name, INITIALIZATIONS)
    draw = INITIALIZATIONS[name]
    if draw is None:
        return
    for module in net.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            draw(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
