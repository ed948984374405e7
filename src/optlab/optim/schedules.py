"""Learning-rate schedulers from the options of a config.

Each function builds a scheduler of torch that is stepped after every optimizer step. It is called
with the optimizer and, where the schedule depends on it, with the length of the run, `total_steps`
in optimizer steps. Lengths within the run are given as a fraction of it or in steps, one of the
two. The factors themselves are the pure functions of `factors.py`.
"""

import inspect
import math
from collections.abc import Callable
from functools import partial

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from optlab.optim import factors


def build_scheduler(
    make_scheduler: Callable[..., LRScheduler], optimizer: Optimizer, total_steps: int
) -> LRScheduler:
    """Call `make_scheduler(optimizer)`, with `total_steps` where it takes that and has none yet."""
    takes_length = "total_steps" in inspect.signature(make_scheduler).parameters
    given = getattr(make_scheduler, "keywords", {}).get("total_steps")
    if takes_length and given is None:
        return make_scheduler(optimizer, total_steps=total_steps)
    return make_scheduler(optimizer)


def step(
    optimizer: Optimizer,
    *,
    total_steps: int,
    drop_every_fraction: float | None = None,
    drop_every_steps: int | None = None,
    gamma: float = 0.1,
) -> LambdaLR:
    """A drop by `gamma` at regular distances; see `factors.step_decay`.

    Raises:
        ValueError: unless gamma is in (0, 1] and the distance is above 0.
    """
    every = _length("drop_every", drop_every_fraction, drop_every_steps, total_steps)
    _check("gamma", gamma, "in (0, 1]", 0 < gamma <= 1)
    if not every > 0:
        raise ValueError(
            f"scheduler.drop_every_{'steps' if drop_every_steps is not None else 'fraction'} is "
            f"{drop_every_steps if drop_every_steps is not None else drop_every_fraction}, but the "
            f"distance of two drops is above 0.\n\nhint: scheduler=constant never drops"
        )
    return LambdaLR(optimizer, partial(factors.step_decay, drop_every_steps=every, gamma=gamma))


def exponential(optimizer: Optimizer, *, total_steps: int, final_factor: float = 0.01) -> LambdaLR:
    """The same ratio at every step, down to `final_factor` at the end of the run.

    Raises:
        ValueError: unless final_factor is in (0, 1].
    """
    _check("final_factor", final_factor, "in (0, 1]", 0 < final_factor <= 1)
    return LambdaLR(
        optimizer, partial(factors.exponential, total_steps=total_steps, final_factor=final_factor)
    )


def cosine(optimizer: Optimizer, *, total_steps: int, final_factor: float = 0.0) -> LambdaLR:
    """Half a cosine over the whole run; see `factors.cosine`.

    Raises:
        ValueError: unless final_factor is in [0, 1].
    """
    _check("final_factor", final_factor, "in [0, 1]", 0 <= final_factor <= 1)
    return LambdaLR(
        optimizer, partial(factors.cosine, total_steps=total_steps, final_factor=final_factor)
    )


def warmup_cosine(
    optimizer: Optimizer,
    *,
    total_steps: int,
    warmup_fraction: float | None = None,
    warmup_steps: int | None = None,
    final_factor: float = 0.0,
) -> LambdaLR:
    """A linear rise, then half a cosine; see `factors.warmup_cosine`.

    Raises:
        ValueError: if the warm-up is as long as the run, or final_factor is not in [0, 1].
    """
    warmup = _warmup(warmup_fraction, warmup_steps, total_steps)
    _check("final_factor", final_factor, "in [0, 1]", 0 <= final_factor <= 1)
    return LambdaLR(
        optimizer,
        partial(
            factors.warmup_cosine,
            warmup_steps=warmup,
            total_steps=total_steps,
            final_factor=final_factor,
        ),
    )


def polynomial(
    optimizer: Optimizer,
    *,
    total_steps: int,
    power: float = 1.0,
    warmup_fraction: float | None = None,
    warmup_steps: int | None = None,
    final_factor: float = 0.0,
) -> LambdaLR:
    """A linear rise, then a fall by a power of the remaining share; see `factors.polynomial`.

    Raises:
        ValueError: if the warm-up is as long as the run, power is not above 0, or final_factor is
            not in [0, 1].
    """
    warmup = _warmup(warmup_fraction, warmup_steps, total_steps)
    _check("power", power, "above 0", power > 0)
    _check("final_factor", final_factor, "in [0, 1]", 0 <= final_factor <= 1)
    return LambdaLR(
        optimizer,
        partial(
            factors.polynomial,
            warmup_steps=warmup,
            total_steps=total_steps,
            power=power,
            final_factor=final_factor,
        ),
    )


def inverse_sqrt(
    optimizer: Optimizer,
    *,
    total_steps: int,
    warmup_fraction: float | None = None,
    warmup_steps: int | None = None,
) -> LambdaLR:
    """A linear rise, then a fall with the square root of the step; see `factors.inverse_sqrt`.

    Raises:
        ValueError: if the warm-up is as long as the run.
    """
    warmup = _warmup(warmup_fraction, warmup_steps, total_steps)
    return LambdaLR(optimizer, partial(factors.inverse_sqrt, warmup_steps=warmup))


def warmup_stable_decay(
    optimizer: Optimizer,
    *,
    total_steps: int,
    warmup_fraction: float | None = None,
    warmup_steps: int | None = None,
    decay_fraction: float | None = None,
    decay_steps: int | None = None,
    final_factor: float = 0.0,
    anneal: str = "linear",
) -> LambdaLR:
    """A linear rise, the peak, a fall at the end; see `factors.warmup_stable_decay`.

    Raises:
        ValueError: if rise and fall together are longer than the run, final_factor is not in
            [0, 1], or `anneal` is unknown.
    """
    warmup = _warmup(warmup_fraction, warmup_steps, total_steps)
    decay = _length("decay", decay_fraction, decay_steps, total_steps)
    if warmup + decay > total_steps:
        raise ValueError(
            f"the warm-up has {warmup:g} optimizer steps and the decay {decay:g}, but the run has "
            f"{total_steps}.\n\nhint: lower scheduler.decay_fraction or scheduler.decay_steps"
        )
    _check("final_factor", final_factor, "in [0, 1]", 0 <= final_factor <= 1)
    _check_choice("anneal", anneal, ("linear", "sqrt"))
    return LambdaLR(
        optimizer,
        partial(
            factors.warmup_stable_decay,
            warmup_steps=warmup,
            decay_steps=decay,
            total_steps=total_steps,
            final_factor=final_factor,
            anneal=anneal,
        ),
    )


def onecycle(
    optimizer: Optimizer,
    *,
    total_steps: int,
    warmup_fraction: float | None = None,
    warmup_steps: int | None = None,
    initial_factor: float = 0.04,
    final_factor: float = 4.0e-6,
    anneal: str = "cosine",
) -> LambdaLR:
    """One rise and one fall; see `factors.onecycle`.

    Raises:
        ValueError: if the warm-up is as long as the run, a factor is not in [0, 1], or `anneal` is
            unknown.
    """
    warmup = _warmup(warmup_fraction, warmup_steps, total_steps)
    _check("initial_factor", initial_factor, "in [0, 1]", 0 <= initial_factor <= 1)
    _check("final_factor", final_factor, "in [0, 1]", 0 <= final_factor <= 1)
    _check_choice("anneal", anneal, ("cosine", "linear"))
    return LambdaLR(
        optimizer,
        partial(
            factors.onecycle,
            warmup_steps=warmup,
            total_steps=total_steps,
            initial_factor=initial_factor,
            final_factor=final_factor,
            anneal=anneal,
        ),
    )


def warm_restarts(
    optimizer: Optimizer,
    *,
    total_steps: int,
    num_cycles: int = 3,
    cycle_growth: float = 2.0,
    final_factor: float = 0.0,
) -> LambdaLR:
    """`num_cycles` half cosines that together fill the run; see `factors.warm_restarts`.

    Raises:
        ValueError: unless num_cycles is in [1, total_steps], cycle_growth is 1 or more and
            final_factor is in [0, 1].
    """
    _check(
        "num_cycles",
        num_cycles,
        f"in [1, {total_steps}], the run's steps",
        1 <= num_cycles <= total_steps,
    )
    can_grow = cycle_growth >= 1 and num_cycles * math.log10(cycle_growth) < 300
    _check("cycle_growth", cycle_growth, "1 or more, and cycle_growth^num_cycles < 1e300", can_grow)
    _check("final_factor", final_factor, "in [0, 1]", 0 <= final_factor <= 1)
    # T_0 (1 + g + g^2 + ...) = total_steps, so the last cycle ends with the run
    in_first_cycles = sum(cycle_growth**cycle for cycle in range(num_cycles))
    return LambdaLR(
        optimizer,
        partial(
            factors.warm_restarts,
            first_cycle_steps=total_steps / in_first_cycles,
            cycle_growth=cycle_growth,
            final_factor=final_factor,
        ),
    )


def plateau(
    optimizer: Optimizer,
    *,
    factor: float = 0.5,
    patience: int = 4,
    threshold: float = 1.0e-4,
    cooldown: int = 0,
    min_lr: float = 1.0e-6,
) -> ReduceLROnPlateau:
    """The learning rate falls by `factor` when the validation loss stops falling.

    Raises:
        ValueError: if an option is out of its range.
    """
    _check("factor", factor, "in (0, 1)", 0 < factor < 1)
    _check("patience", patience, "0 or more epochs", patience >= 0)
    _check("threshold", threshold, "in [0, 1)", 0 <= threshold < 1)
    _check("cooldown", cooldown, "0 or more epochs", cooldown >= 0)
    _check("min_lr", min_lr, "0 or more", min_lr >= 0)
    return ReduceLROnPlateau(
        optimizer,
        mode="min",
        factor=factor,
        patience=patience,
        threshold=threshold,
        threshold_mode="rel",
        cooldown=cooldown,
        min_lr=min_lr,
    )


def _check(option: str, value: float, allowed: str, is_allowed: bool) -> None:
    if not is_allowed:
        raise ValueError(
            f"scheduler.{option} is {value}, but it has to be {allowed}.\n\n"
            f"hint: conf/scheduler says what scheduler.{option} does and which values are usual"
        )


def _check_choice(option: str, value: str, allowed: tuple[str, str]) -> None:
    if value not in allowed:
        raise ValueError(
            f"scheduler.{option} is {value!r}, but it is {' or '.join(allowed)}.\n\n"
            f"hint: conf/scheduler says what scheduler.{option} does"
        )


def _length(option: str, fraction: float | None, steps: int | None, total_steps: int) -> float:
    """A length in steps from the one of two options that is given."""
    if (fraction is None) == (steps is None):
        raise ValueError(
            f"scheduler.{option}_fraction is {fraction} and scheduler.{option}_steps is {steps}, "
            "but one of the two is given and the other is null.\n\n"
            f"hint: scheduler.{option}_fraction=null scheduler.{option}_steps={total_steps // 10}"
        )
    if fraction is not None:
        _check(f"{option}_fraction", fraction, "in [0, 1], a part of the run", 0 <= fraction <= 1)
        return fraction * total_steps
    assert steps is not None
    _check(f"{option}_steps", steps, "0 or more optimizer steps", steps >= 0)
    return steps


def _warmup(fraction: float | None, steps: int | None, total_steps: int) -> float:
    warmup = _length("warmup", fraction, steps, total_steps)
    if warmup >= total_steps:
        typed = "warmup_fraction" if steps is None else "warmup_steps"
        value, most = (fraction, 1.0) if steps is None else (steps, total_steps)
        raise ValueError(
            f"scheduler.{typed} is {value}, but the run has {total_steps} optimizer steps and some "
            f"must follow the warm-up.\n\n"
            f"hint: lower scheduler.{typed} below {most}, or raise trainer.max_epochs"
        )
    return warmup
