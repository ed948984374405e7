"""Two-dimensional test functions, and the paths of optimizers on them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from optlab.numpy_net.optimizers import Optimizer


@dataclass(frozen=True)
class Surface:
    """A function of a point (x, y), with what is needed to walk on it and to draw it.

    `value` and `gradient` take x and y as numbers or as arrays of one shape.
    """

    name: str
    formula: str  # mathtext, for a picture's title
    value: Callable[[np.ndarray, np.ndarray], np.ndarray]
    gradient: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
    start: tuple[float, float]
    minimum: tuple[float, float] | None  # None: not bounded below
    window: tuple[float, float, float, float]  # x from, x to, y from, y to


@dataclass(frozen=True)
class Trajectory:
    """The path of an optimizer."""

    points: np.ndarray  # (num_steps + 1, 2); row 0 is the start
    values: np.ndarray  # (num_steps + 1,)


def follow(
    surface: Surface, make_optimizer: Callable[[Sequence[np.ndarray]], Optimizer], num_steps: int
) -> Trajectory:
    """Let an optimizer walk from the surface's start with exact gradients.

    Args:
        make_optimizer: receives a list with the one parameter, the point, of shape (2,).
        num_steps: steps to take. A path that overflows continues as inf or nan.
    """
    point = np.array(surface.start, np.float64)  # (2,), moved in place by the optimizer
    optimizer = make_optimizer([point])
    points = [point.copy()]
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        for _ in range(num_steps):
            optimizer.step([np.array(surface.gradient(point[0], point[1]))])
            points.append(point.copy())
        path = np.array(points)  # (num_steps + 1, 2)
        return Trajectory(path, surface.value(path[:, 0], path[:, 1]))


def follow_at_best_rate(
    surface: Surface,
    make_optimizer: Callable[..., Optimizer],
    rates: Sequence[float],
    num_steps: int,
) -> tuple[float, Trajectory]:
    """Return the learning rate out of `rates` whose path ends lowest, and that path.

    Each optimizer gets the best of the same learning rates. A path is scored by the highest value
    in the last tenth of its steps, so one that happens to pass the minimum at the very end does not
    win.

    Args:
        make_optimizer: receives a list with the point, and `lr`.

    Raises:
        ValueError: if the paths of all rates overflow.
    """
    paths = {lr: follow(surface, partial(make_optimizer, lr=lr), num_steps) for lr in rates}
    ends = {lr: path.values[-max(1, num_steps // 10) :].max() for lr, path in paths.items()}
    ends = {lr: end for lr, end in ends.items() if np.isfinite(end)}  # the rest diverged
    if not ends:
        raise ValueError(
            f"every path on {surface.name} diverged: rates is {list(rates)}.\n\n"
            "hint: add smaller learning rates"
        )
    best = min(ends, key=lambda lr: ends[lr])
    return best, paths[best]


def _rosenbrock(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


def _rosenbrock_gradient(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return -2 * (1 - x) - 400 * x * (y - x**2), 200 * (y - x**2)


def _beale(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


def _beale_gradient(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first, second, third = 1.5 - x + x * y, 2.25 - x + x * y**2, 2.625 - x + x * y**3
    along_x = 2 * first * (y - 1) + 2 * second * (y**2 - 1) + 2 * third * (y**3 - 1)
    along_y = 2 * first * x + 4 * second * x * y + 6 * third * x * y**2
    return along_x, along_y


def _quadratic(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x**2 + 50 * y**2) / 2


def _quadratic_gradient(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return x, 50 * y


# The same bowl with its axes at 45 degrees: u = (x + y) / sqrt(2), w = (y - x) / sqrt(2).
def _rotated_quadratic(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return ((x + y) ** 2 + 50 * (y - x) ** 2) / 4


def _rotated_quadratic_gradient(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (51 * x - 49 * y) / 2, (51 * y - 49 * x) / 2


def _saddle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x**2 - y**2) / 2


def _saddle_gradient(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return x, -y


# A curved valley: easy to enter, slow to follow. Rosenbrock, The Computer Journal 3 (1960), 175.
ROSENBROCK = Surface(
    name="Rosenbrock",
    formula=r"$(1 - x)^2 + 100\,(y - x^2)^2$",
    value=_rosenbrock,
    gradient=_rosenbrock_gradient,
    start=(-1.2, 1.0),  # Rosenbrock's own
    minimum=(1.0, 1.0),
    window=(-1.8, 1.6, -0.8, 2.2),
)

# A plateau with walls: gradients differ by orders of magnitude. Beale 1958.
BEALE = Surface(
    name="Beale",
    formula=r"$(1.5 - x + xy)^2 + (2.25 - x + xy^2)^2 + (2.625 - x + xy^3)^2$",
    value=_beale,
    gradient=_beale_gradient,
    start=(1.0, 1.5),
    minimum=(3.0, 0.5),
    window=(-0.5, 4.5, -1.5, 2.0),
)

# Condition number 50, its axes along the coordinates.
QUADRATIC = Surface(
    name="Ill-conditioned quadratic",
    formula=r"$\frac{1}{2}\,(x^2 + 50\,y^2)$",
    value=_quadratic,
    gradient=_quadratic_gradient,
    start=(-4.0, 1.5),
    minimum=(0.0, 0.0),
    window=(-4.8, 2.2, -2.0, 2.0),
)

# The same bowl and the same start, turned by 45 degrees: no coordinate is steep or flat any more.
ROTATED_QUADRATIC = Surface(
    name="The same quadratic, turned by 45°",
    formula=r"$\frac{1}{4}\,((x + y)^2 + 50\,(y - x)^2)$",
    value=_rotated_quadratic,
    gradient=_rotated_quadratic_gradient,
    start=(-5.5 / 2**0.5, -2.5 / 2**0.5),  # QUADRATIC's start, turned
    minimum=(0.0, 0.0),
    window=(-5.2, 2.4, -4.4, 2.4),
)

# Falls along y, rises along x. The start is almost on the line that leads into the saddle point.
SADDLE = Surface(
    name="Saddle",
    formula=r"$\frac{1}{2}\,(x^2 - y^2)$",
    value=_saddle,
    gradient=_saddle_gradient,
    start=(-2.0, 1e-3),
    minimum=None,
    window=(-2.6, 2.2, -1.2, 2.4),
)
