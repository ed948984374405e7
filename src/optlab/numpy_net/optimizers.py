"""SGD, Adam, AdamW, RMSprop and Adagrad, written as their papers write them.

Symbols are those of the papers: theta is a parameter array, g its gradient, and v a velocity (in
Adam, the mean square).
Hyperparameters have the names and defaults of `torch.optim`, so one configuration serves both. A
comment marks every place where torch departs from the paper. The code then follows torch, because
the two are compared step by step (tests/numpy_net/test_optimizers.py).

Every rule works element by element: nothing here knows what a layer is.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from optlab.ranges import check


class Optimizer:
    """Base class of the optimizers, with parameters, learning rate, weight decay and step count.

    Args:
        parameters: float arrays; `step` updates them in place.
        lr: learning rate, at least 0. A schedule may set the attribute between steps.
        weight_decay: at least 0; one number for all parameters, or one for each (0 for the biases
            if only weight matrices are to decay).
    """

    state_names: ClassVar[tuple[str, ...]] = ()  # attributes that hold an array per parameter

    def __init__(
        self, parameters: Sequence[np.ndarray], lr: float, weight_decay: float | Sequence[float]
    ) -> None:
        self.parameters = list(parameters)
        self.lr = lr
        self.weight_decays = (
            [float(weight_decay)] * len(self.parameters)
            if isinstance(weight_decay, int | float)
            else [float(decay) for decay in weight_decay]
        )
        self.num_steps = 0
        check("lr", lr, ">= 0")
        check("weight_decay", self.weight_decays, ">= 0")
        if len(self.weight_decays) != len(self.parameters):
            raise ValueError(
                f"weight_decay lists {len(self.weight_decays)} numbers for {len(self.parameters)} "
                "parameters.\n\nhint: give one for each, or one number for all"
            )

    def step(self, gradients: Sequence[np.ndarray]) -> None:
        """Update every parameter once; `gradients` are laid out as the parameters."""
        # A gradient of another shape could broadcast and would go unnoticed.
        assert [g.shape for g in gradients] == [theta.shape for theta in self.parameters]
        self.num_steps += 1
        for index, (theta, g) in enumerate(zip(self.parameters, gradients, strict=True)):
            self._update(index, theta, g)

    def _update(self, index: int, theta: np.ndarray, g: np.ndarray) -> None:
        raise NotImplementedError

    def _zeros(self) -> list[np.ndarray]:
        return [np.zeros_like(theta) for theta in self.parameters]

    def _decayed(self, index: int, theta: np.ndarray, g: np.ndarray) -> np.ndarray:
        """Return g plus the gradient of weight_decay / 2 * |theta|^2 (coupled weight decay)."""
        return g + self.weight_decays[index] * theta

    def state_dict(self) -> dict[str, int | list[np.ndarray]]:
        """Return the state to continue from: the step count and copies of the buffers."""
        arrays = {name: [a.copy() for a in getattr(self, name)] for name in self.state_names}
        return {"num_steps": self.num_steps, **arrays}

    def load_state_dict(self, state: dict[str, int | list[np.ndarray]]) -> None:
        """Resume from a `state_dict` of the same optimizer, for parameters of the same shapes."""
        assert set(state) == {"num_steps", *self.state_names}
        for name, value in state.items():
            setattr(self, name, [a.copy() for a in value] if isinstance(value, list) else value)


class SGD(Optimizer):
    """Stochastic gradient descent: plain, with momentum, or with Nesterov's momentum.

    Plain: theta <- theta - lr g (Robbins and Monro 1951).
    Momentum: v <- momentum v + g, theta <- theta - lr v (Polyak 1964; Sutskever et al.,
    "On the importance of initialization and momentum in deep learning", 2013, eq. 1 and 2).
    Nesterov: as momentum, with the gradient taken where the velocity is about to lead (Nesterov
    1983; Sutskever et al. 2013, eq. 3 and 4).
    """

    state_names = ("velocity",)

    def __init__(
        self,
        parameters: Sequence[np.ndarray],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float | Sequence[float] = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        check("momentum", momentum, ">= 0")
        if nesterov and (momentum == 0 or dampening != 0):
            raise ValueError("nesterov needs momentum above 0 and a dampening of 0")
        self.momentum, self.dampening, self.nesterov = momentum, dampening, nesterov
        self.velocity = self._zeros()

    def _update(self, index: int, theta: np.ndarray, g: np.ndarray) -> None:
        g = self._decayed(index, theta, g)
        if self.momentum == 0:
            theta -= self.lr * g
            return
        # Departure: in the paper, the velocity contains lr: v <- momentum v - lr g. The two agree
        # while lr is constant. Here, a change of lr acts on the whole velocity at once.
        # Departure: only torch has dampening, and it skips it in the first step.
        share = 1.0 if self.num_steps == 1 else 1 - self.dampening
        self.velocity[index] = v = self.momentum * self.velocity[index] + share * g
        if self.nesterov:
            # Departure: the paper takes the gradient at theta + momentum v. Here theta already is
            # that point, ahead of the paper's by one momentum step, so the gradient at hand is the
            # right one (Bengio, Boulanger-Lewandowski and Pascanu 2012, arXiv:1212.0901).
            theta -= self.lr * (g + self.momentum * v)
        else:
            theta -= self.lr * v


class Adam(Optimizer):
    """Adaptive moments: mean gradient over the root of the mean squared gradient.

    Source: Kingma and Ba 2015, arXiv:1412.6980, algorithm 1. With amsgrad: Reddi, Kale and Kumar
    2018, arXiv:1904.09237, algorithm 2.
    """

    state_names = ("m", "v", "v_max")

    def __init__(
        self,
        parameters: Sequence[np.ndarray],
        lr: float = 1e-3,
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float | Sequence[float] = 0.0,
        amsgrad: bool = False,
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        check("betas", betas, "in [0, 1)")
        check("eps", eps, ">= 0")
        if len(betas) != 2:
            raise ValueError(f"betas is {list(betas)}; it must be a list of 2 numbers")
        self.betas, self.eps, self.amsgrad = (betas[0], betas[1]), eps, amsgrad
        self.m = self._zeros()  # mean gradient
        self.v = self._zeros()  # mean squared gradient
        self.v_max = self._zeros() if amsgrad else []  # largest v so far

    def _update(self, index: int, theta: np.ndarray, g: np.ndarray) -> None:
        # Departure: the paper has no weight decay.
        theta -= self.lr * self._direction(index, self._decayed(index, theta, g))

    def _direction(self, index: int, g: np.ndarray) -> np.ndarray:
        """Return m_hat / (sqrt(v_hat) + eps)."""
        beta1, beta2 = self.betas
        t = self.num_steps
        self.m[index] = m = beta1 * self.m[index] + (1 - beta1) * g
        self.v[index] = v = beta2 * self.v[index] + (1 - beta2) * g**2
        if self.amsgrad:
            # Departure: the paper corrects no bias, torch does.
            self.v_max[index] = v = np.maximum(self.v_max[index], v)
        # Both means start at 0 and are too small at first: by the factor 1 - beta^t.
        m_hat = m / (1 - beta1**t)
        v_hat = v / (1 - beta2**t)
        return m_hat / (np.sqrt(v_hat) + self.eps)


class AdamW(Adam):
    """Adam with decoupled weight decay: the decay bypasses both means.

    Source: Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2, line 12.
    """

    def __init__(
        self,
        parameters: Sequence[np.ndarray],
        lr: float = 1e-3,
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float | Sequence[float] = 1e-2,
        amsgrad: bool = False,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay, amsgrad)

    def _update(self, index: int, theta: np.ndarray, g: np.ndarray) -> None:
        # Departure: in the paper the decay does not depend on the learning rate alpha, only on the
        # schedule eta_t. Torch has one lr = eta_t alpha before both, so a smaller lr decays less.
        decay = self.weight_decays[index]
        theta -= self.lr * (self._direction(index, g) + decay * theta)


class RMSprop(Optimizer):
    """Gradient over the root of its mean square.

    Source: Tieleman and Hinton 2012, "Neural networks for machine learning", lecture 6e, slide 29
    (no paper; the slide has only the mean square). Momentum and centering: Graves 2013,
    arXiv:1308.0850, eq. 38 to 41.
    """

    state_names = ("mean_square", "mean", "velocity")

    def __init__(
        self,
        parameters: Sequence[np.ndarray],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float | Sequence[float] = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        check("alpha", alpha, "in [0, 1)")
        check("eps", eps, ">= 0")
        check("momentum", momentum, ">= 0")
        # Departure: the slide's averaging factor is 0.9, torch's default 0.99.
        self.alpha, self.eps, self.momentum, self.centered = alpha, eps, momentum, centered
        self.mean_square = self._zeros()
        self.mean = self._zeros() if centered else []
        self.velocity = self._zeros()

    def _update(self, index: int, theta: np.ndarray, g: np.ndarray) -> None:
        g = self._decayed(index, theta, g)
        mean_square = self.alpha * self.mean_square[index] + (1 - self.alpha) * g**2
        self.mean_square[index] = mean_square
        if self.centered:
            self.mean[index] = self.alpha * self.mean[index] + (1 - self.alpha) * g
            # A variance; rounding may take it below zero where gradients hardly change, and torch
            # then gives nan as well.
            mean_square = mean_square - self.mean[index] ** 2
        # Departure: Graves adds eps inside the root, torch outside.
        scaled = g / (np.sqrt(mean_square) + self.eps)
        # Departure: with Graves, the velocity contains lr (see SGD).
        self.velocity[index] = v = self.momentum * self.velocity[index] + scaled
        theta -= self.lr * v


class Adagrad(Optimizer):
    """Gradient over the root of the sum of all its squares so far.

    Source: Duchi, Hazan and Singer, JMLR 12 (2011), figure 1 with diagonal matrices and no
    regularizer: theta <- theta - lr g / (delta + sqrt(sum of g^2)). `eps` is the paper's delta.
    """

    state_names = ("sum_of_squares",)

    def __init__(
        self,
        parameters: Sequence[np.ndarray],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float | Sequence[float] = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        check("lr_decay", lr_decay, ">= 0")
        check("initial_accumulator_value", initial_accumulator_value, ">= 0")
        check("eps", eps, ">= 0")
        self.lr_decay, self.eps = lr_decay, eps
        self.sum_of_squares = [
            np.full_like(theta, initial_accumulator_value) for theta in self.parameters
        ]

    def _update(self, index: int, theta: np.ndarray, g: np.ndarray) -> None:
        g = self._decayed(index, theta, g)
        self.sum_of_squares[index] += g**2
        # Departure: the paper has no lr_decay and no initial accumulator; both are off by default.
        lr = self.lr / (1 + (self.num_steps - 1) * self.lr_decay)
        theta -= lr * g / (np.sqrt(self.sum_of_squares[index]) + self.eps)


OPTIMIZERS: dict[str, type[Optimizer]] = {
    # the class of the same name in torch.optim takes the same options
    "SGD": SGD,
    "Adam": Adam,
    "AdamW": AdamW,
    "RMSprop": RMSprop,
    "Adagrad": Adagrad,
}
