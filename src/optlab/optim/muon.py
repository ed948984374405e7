"""Muon for hidden matrices, AdamW for everything else, as one optimizer.

Muon replaces the momentum of a weight matrix by the nearest (semi-)orthogonal matrix, so that all
directions of the update have the same length. torch.optim.Muon takes 2-D parameters only; here a
convolution counts as the matrix (out, in * k * k), and the parameters that Muon is not meant for go
to AdamW.

Sources: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks",
https://kellerjordan.github.io/posts/muon/ (algorithm, coefficients, which parameters); Liu et al.
2025, arXiv:2502.16982, eq. 4 (one learning rate for both parts).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.adamw import adamw

from optlab.ranges import check, check_choice

# a, b, c of the quintic a*X + b*(XX')X + c*(XX')^2 X: five iterations bring singular values from
# [1e-3, 1] to about [0.7, 1.2], fast rather than exactly (Jordan et al. 2024)
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def orthogonalize(matrix: Tensor, num_iterations: int) -> Tensor:
    """Bring the singular values of a matrix close to 1 by Newton-Schulz iteration.

    Args:
        matrix: of shape (m, n).
        num_iterations: 5 is usual; fewer leave small singular values small.

    Returns:
        A matrix of the same shape and dtype. On a GPU it is computed in bfloat16, as in the source;
        a CPU multiplies float32 faster.
    """
    a, b, c = NEWTON_SCHULZ
    x = matrix.to(torch.bfloat16) if matrix.is_cuda else matrix
    is_tall = x.shape[0] > x.shape[1]
    if is_tall:
        x = x.mT  # the smaller Gram matrix
    x = x / (x.norm() + 1e-7)  # Frobenius, so that no singular value is above 1
    for _ in range(num_iterations):
        gram = x @ x.mT  # (min(m, n), min(m, n))
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if is_tall else x).to(matrix.dtype)


class Muon(Optimizer):
    """Muon on hidden matrices and convolution kernels; AdamW on the rest.

    The rest is every parameter with fewer than two dimensions (biases, normalization), the head
    (the last matrix) and, unless `first_layer` says otherwise, the first layer: the source finds
    input and output layers better served by AdamW. First and last refer to the order in which the
    network registers its parameters, including frozen ones.

    Each incoming group is split in two; the group's key `uses` is "muon" or "adamw".
    """

    def __init__(
        self,
        params: Any,
        lr: float = 2.0e-3,
        *,
        momentum: float = 0.95,
        nesterov: bool = True,
        num_iterations: int = 5,
        lr_adjustment: str = "match_rms_adamw",
        weight_decay: float = 0.0,
        first_layer: str = "adamw",
        adamw_lr_ratio: float = 1.0,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1.0e-8,
    ) -> None:
        """
        Args:
            params: groups or (name, parameter) pairs in the order of the network.
            lr: peak learning rate of the matrices, 0 or more.
            momentum: momentum of the gradient before it is orthogonalized, in [0, 1).
            nesterov: whether to use Nesterov momentum.
            num_iterations: number of Newton-Schulz iterations, at least 1.
            lr_adjustment: `match_rms_adamw` scales an (m, n) update by 0.2 sqrt(max(m, n)), which
                gives it the size of AdamW's (Liu et al. 2025); `original` by sqrt(max(1, m / n)).
            weight_decay: decoupled weight decay for all parameters, multiplied by the learning
                rate.
            first_layer: `adamw` or `muon`.
            adamw_lr_ratio: AdamW's learning rate divided by `lr`.
            betas: AdamW's decay rates of the first and second moment, each in [0, 1).
            eps: AdamW's term added to the denominator.

        Raises:
            ValueError: if an option is out of its range, or no matrix is left to Muon.
        """
        for option, value in {
            "lr": lr,
            "weight_decay": weight_decay,
            "adamw_lr_ratio": adamw_lr_ratio,
            "eps": eps,
        }.items():
            check(f"optimizer.{option}", value, ">= 0")
        check("optimizer.momentum", momentum, "in [0, 1)")
        check("optimizer.num_iterations", num_iterations, ">= 1")
        check("optimizer.betas", betas, "in [0, 1)")
        if len(betas) != 2:
            raise ValueError(f"optimizer.betas is {list(betas)}; it must be a list of 2 numbers")
        check_choice("optimizer.lr_adjustment", lr_adjustment, ("match_rms_adamw", "original"))
        check_choice("optimizer.first_layer", first_layer, ("adamw", "muon"))
        defaults = {
            "lr": lr,
            "uses": "adamw",
            "momentum": momentum,
            "nesterov": nesterov,
            "num_iterations": num_iterations,
            "lr_adjustment": lr_adjustment,
            "weight_decay": weight_decay,
            "betas": tuple(betas),
            "eps": eps,
        }
        groups = _as_groups(params)
        matrices = [p for group in groups for p in _tensors(group) if p.ndim >= 2]
        outer = matrices[-1:] + (matrices[:1] if first_layer == "adamw" else [])
        outer_ids = {id(parameter) for parameter in outer}
        split: list[dict[str, Any]] = []
        for group in groups:
            for uses, ratio in (("muon", 1.0), ("adamw", adamw_lr_ratio)):
                chosen = [
                    entry
                    for entry in group["params"]
                    if _is_hidden_matrix(entry, outer_ids) == (uses == "muon")
                ]
                if chosen:
                    peak = group.get("lr", lr) * ratio
                    split.append({**group, "params": chosen, "uses": uses, "lr": peak})
        if all(group["uses"] == "adamw" for group in split):
            raise ValueError(
                f"Muon trains only hidden matrices, but with optimizer.first_layer={first_layer} "
                f"this network ({len(matrices)} matrices) has none: AdamW would train all weights."
                "\n\nhint: use optimizer.first_layer=muon, a deeper network, or optimizer=adamw"
            )
        super().__init__(split, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if group["uses"] == "muon":
                self._muon(group, parameters)
            elif parameters:
                self._adamw(group, parameters)
        return loss

    def _muon(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        momentum = group["momentum"]
        for parameter in parameters:
            gradient = parameter.grad
            assert gradient is not None
            state = self.state[parameter]
            if not state:
                state["momentum_buffer"] = torch.zeros_like(gradient)
            average = state["momentum_buffer"]
            average.lerp_(gradient, 1 - momentum)  # B = momentum B + (1 - momentum) G
            direction = gradient.lerp(average, momentum) if group["nesterov"] else average
            matrix = direction.flatten(1)  # (out, in * k * k)
            update = orthogonalize(matrix, group["num_iterations"])
            rate = group["lr"] * _adjustment(group["lr_adjustment"], *matrix.shape)
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.add_(update.reshape(parameter.shape), alpha=-rate)

    def _adamw(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        for parameter in parameters:
            state = self.state[parameter]
            if not state:
                state["step"] = torch.tensor(0.0)
                state["exp_avg"] = torch.zeros_like(parameter)
                state["exp_avg_sq"] = torch.zeros_like(parameter)
        states = [self.state[parameter] for parameter in parameters]
        beta1, beta2 = group["betas"]
        adamw(
            parameters,
            [parameter.grad for parameter in parameters],  # type: ignore[misc]
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],  # amsgrad's maxima
            [state["step"] for state in states],
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )


def _adjustment(name: str, num_rows: int, num_columns: int) -> float:
    if name == "match_rms_adamw":
        # an orthogonal (m, n) update has root mean square 1/sqrt(max(m, n)); AdamW's is about 0.2
        return 0.2 * max(num_rows, num_columns) ** 0.5
    return max(1.0, num_rows / num_columns) ** 0.5


def _as_groups(params: Any) -> list[dict[str, Any]]:
    params = list(params)
    if params and isinstance(params[0], dict):
        return [{**group, "params": list(group["params"])} for group in params]
    return [{"params": params}]


def _tensors(group: dict[str, Any]) -> list[Tensor]:
    return [entry[1] if isinstance(entry, tuple) else entry for entry in group["params"]]


def _is_hidden_matrix(entry: Any, outer_ids: set[int]) -> bool:
    parameter = entry[1] if isinstance(entry, tuple) else entry
    return parameter.ndim >= 2 and id(parameter) not in outer_ids
