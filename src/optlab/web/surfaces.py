"""Races of the reference's optimizers across surfaces of two numbers; no model is needed."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial

import numpy as np

from optlab.numpy_net.optimizers import SGD, Adagrad, Adam, Optimizer, RMSprop
from optlab.numpy_net.surfaces import (
    QUADRATIC,
    ROSENBROCK,
    SADDLE,
    Surface,
    follow,
    follow_at_best_rate,
)
from optlab.web import schemas
from optlab.web.selection import NotFound, short
from optlab.web.summary import style

SURFACES = {"valley": ROSENBROCK, "saddle": SADDLE, "ravine": QUADRATIC}
FORMULAS = {
    "valley": "(1 - x)² + 100 (y - x²)²",
    "saddle": "(x² - y²) / 2",
    "ravine": "(x² + 50 y²) / 2",
}
# AdamW is left out: its decay pulls towards the origin, which means something for weights only.
RACERS: dict[str, Callable[[float], Callable[..., Optimizer]]] = {  # from the momentum
    "sgd_plain": lambda momentum: SGD,
    "sgd": lambda momentum: partial(SGD, momentum=momentum),
    "nesterov": lambda momentum: partial(SGD, momentum=momentum, nesterov=momentum > 0),
    "adam": lambda momentum: partial(Adam, betas=(momentum, 0.999)),
    "rmsprop": lambda momentum: partial(RMSprop, alpha=0.9),
    "adagrad": lambda momentum: Adagrad,
}
RATES = np.geomspace(1e-3, 1, 13).tolist()  # four per decade
SADDLE_RATE = 0.05  # of all: where there is no minimum, no rate is the best
DEFAULT_MOMENTUM = 0.9
SEARCH_STEPS = 200
GRID = (97, 73)  # heights along x and y
NEAR = 0.1  # so near to the minimum counts as there
FAR = 100.0  # a coordinate beyond it counts as diverged


@cache
def describe_surfaces() -> schemas.Surfaces:
    """Return the surfaces with their heights on a grid."""
    return schemas.Surfaces(
        surfaces=[_describe(name, surface) for name, surface in SURFACES.items()],
        styles={name: style(name) for name in RACERS},
    )


def _describe(name: str, surface: Surface) -> schemas.SurfaceEntry:
    left, right, bottom, top = surface.window
    x, y = np.meshgrid(np.linspace(left, right, GRID[0]), np.linspace(bottom, top, GRID[1]))
    values = surface.value(x, y)  # (GRID[1], GRID[0])
    if surface.minimum is not None:
        values = np.sqrt(values)  # else the slopes would take all the contour lines
    heights = (values - values.min()) / (values.max() - values.min())
    return schemas.SurfaceEntry(
        name=name,
        formula=FORMULAS[name],
        window=surface.window,
        start=surface.start,
        minimum=surface.minimum,
        heights=heights.round(4).tolist(),
    )


@cache
def best_rates(name: str) -> dict[str, float]:
    """Return each optimizer's best learning rate of RATES from the surface's own start."""
    surface = SURFACES[name]
    if surface.minimum is None:
        return dict.fromkeys(RACERS, SADDLE_RATE)
    return {
        optimizer: follow_at_best_rate(surface, make(DEFAULT_MOMENTUM), RATES, SEARCH_STEPS)[0]
        for optimizer, make in RACERS.items()
    }


def race(name: str, question: schemas.RaceQuestion) -> schemas.Race:
    """Let every optimizer walk from one point, each at its own learning rate.

    Raises:
        NotFound: there is no surface of that name.
    """
    if name not in SURFACES:
        raise NotFound(f"There is no surface called {short(name)}.")
    start = (question.x, question.y)
    surface = replace(SURFACES[name], start=start)
    walks = [
        _walk(surface, optimizer, float(rate * question.lr_multiplier), question)
        for optimizer, rate in best_rates(name).items()
    ]
    return schemas.Race(surface=name, start=start, walks=walks)


def _walk(
    surface: Surface, optimizer: str, lr: float, question: schemas.RaceQuestion
) -> schemas.Walk:
    make = RACERS[optimizer](question.momentum)
    points = follow(surface, partial(make, lr=lr), question.num_steps).points
    is_far = ~(np.abs(points) <= FAR).all(axis=1)  # nan and inf are far
    end = int(is_far.argmax()) if is_far.any() else len(points)
    points = points[:end]
    arrived, diverged = None, end if end <= question.num_steps else None
    if surface.minimum is None:
        left, right, bottom, top = surface.window
        outside = (points < [left, bottom]) | (points > [right, top])  # (num_points, 2)
        if outside.any():
            step = int(outside.any(axis=1).argmax())
            if not outside[step, 0]:  # it went down, and not up the walls
                arrived, diverged = step, None
    elif diverged is None:
        away = np.linalg.norm(points - surface.minimum, axis=1) > NEAR
        arrived = int(away.nonzero()[0].max(initial=-1)) + 1
        arrived = arrived if arrived < len(points) else None
    return schemas.Walk(
        optimizer=optimizer,
        lr=lr,
        points=points.round(5).tolist(),
        arrived_at=arrived,
        diverged_at=diverged,
    )
