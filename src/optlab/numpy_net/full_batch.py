"""Full-batch training with `scipy.optimize.minimize`.

SciPy sees a function of one vector and asks for its value and gradient. It chooses every step
length by a line search, so there is no learning rate.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import OptimizeResult, minimize

from optlab.numpy_net.network import MLP
from optlab.ranges import check_choice


@dataclass(frozen=True)
class FullBatchHistory:
    """The result of `minimize_full_batch`."""

    costs: np.ndarray  # (num_iterations + 1,) float64; entry 0 is the cost at the start
    evaluations: np.ndarray  # (num_iterations + 1,) int64; passes over all images until then
    converged: bool  # False where max_iterations or the line search ended it
    message: str  # SciPy's words for why it ended


def minimize_full_batch(
    network: MLP,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    method: Literal["L-BFGS-B", "CG"] = "L-BFGS-B",
    max_iterations: int = 100,
) -> FullBatchHistory:
    """Minimize the mean cross-entropy over all images; the network ends with SciPy's best weights.

    SciPy calculates in float64. With a float32 network its line search can end early, because
    differences of the cost drown in rounding: prefer float64.

    Args:
        images: of shape (N, D).
        labels: classes, of shape (N,).
        method: L-BFGS-B (Byrd, Lu, Nocedal and Zhu 1995; quasi-Newton, here without bounds) or CG
            (nonlinear conjugate gradients, Polak and Ribiere 1969).
        max_iterations: an iteration is one search direction; it may take several evaluations.

    Raises:
        ValueError: for another method.
    """
    check_choice("method", method, ("L-BFGS-B", "CG"))
    num_evaluations = 0

    def cost_and_gradient(vector: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal num_evaluations
        num_evaluations += 1
        network.load(network.unflatten(vector))
        cost, gradients = network.loss_and_gradients(images, labels)
        return cost, network.flatten(gradients)  # (num_parameters,)

    costs, evaluations = [network.loss(images, labels)], [0]

    def record(intermediate_result: OptimizeResult) -> None:  # SciPy looks for this argument name
        costs.append(float(intermediate_result.fun))
        evaluations.append(num_evaluations)

    result = minimize(
        cost_and_gradient,
        network.flatten(),
        method=method,
        jac=True,  # cost_and_gradient returns both
        callback=record,
        # L-BFGS-B counts evaluations against a limit of its own, which would end long runs first.
        options={"maxiter": max_iterations}
        | ({"maxfun": 20 * max_iterations} if method == "L-BFGS-B" else {}),
    )
    network.load(network.unflatten(result.x))  # the last vector tried need not be the best
    return FullBatchHistory(
        np.array(costs, np.float64),
        np.array(evaluations, np.int64),
        bool(result.success),
        str(result.message),
    )
