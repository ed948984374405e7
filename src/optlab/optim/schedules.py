"""Schedules from the knobs of a config: who calls them gets a function from step to factor.

Every maker is called with the length of the run, `total_steps` in optimizer steps, and returns one
of the pure functions of `factors.py` with its knobs filled in. Lengths are given as a fraction of
the run or in steps, one of the two. `plateau` is the exception: it follows
the validation loss, not the step, and returns a maker of torch's scheduler.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from optlab.optim import factors

Schedule = Callable[[int], float]  # optimizer steps already taken -> factor on the peak rate


def constant(*, total_steps: int) -> Schedule:
    """The peak rate at every step."""
    return factors.constant


def step(
    *,
    total_steps: int,
    drop_every_fraction: float | None = None,
    drop_every_steps: int | None = None,
    gamma: float = 0.1,
) -> Schedule:
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
    return partial(factors.step_decay, drop_every_steps=every, gamma=gamma)


def exponential(*, total_steps: int, final_factor: float = 0.01) -> Schedule:
    """The same ratio at every step, down to `final_factor` at the end of the run.

    Raises:
        ValueError: unless final_factor is in (0, 1].
    """
    _check("final_factor", final_factor, "in (0, 1]", 0 < final_factor <= 1)
    return partial(factors.exponential, total_steps=total_steps, final_factor=final_factor)


def cosine(*, total_steps: int, final_factor: float = 0.0) -> Schedule:
    """Half a cosine over the whole run; see `factors.cosine`.

    Raises:
        ValueError: unless final_factor is in [0, 1].
    """
    _check("final_factor", final_factor, "in [0, 1]", 0 <= final_factor <= 1)
    return partial(factors.cosine, total_steps=total_steps, final_factor=final_factor)


def warmup_cosine(
    *,
    total_steps: int,
    warmup_fraction: float | None = None,
    warmup_steps: int | None = None,
    final_factor: float = 0.0,
) -> Schedule:
    """A linear rise, then half a cosine; see `factors.warmup_cosine`.

    Raises:
        ValueError: if the warm-up is as long as the run, or final_factor is not in [0, 1].
    """
    warmup = _warmup(warmup_fraction, warmup_steps, total_steps)
    _check("final_factor", final_factor, "in [0, 1]", 0 <= final_factor <= 1)
    return partial(
        factors.warmup_cosine,
        warmup_steps=warmup,
        total_steps=total_steps,
        final_factor=final_factor,
    )


def onecycle(
    *,
    total_steps: int,
    warmup_fraction: float | None = None,
    warmup_steps: int | None = None,
    initial_factor: float = 0.04,
    final_factor: float = 4.0e-6,
    anneal: str = "cosine",
) -> Schedule:
    """One rise and one fall; see `factors.onecycle`.

    Raises:
        ValueError: if the warm-up is as long as the run, a factor is not in [0, 1], or `anneal` is
            unknown.
    """
    warmup = _warmup(warmup_fraction, warmup_steps, total_steps)
    _check("initial_factor", initial_factor, "in [0, 1]", 0 <= initial_factor <= 1)
    _check("final_factor", final_factor, "in [0, 1]", 0 <= final_factor <= 1)
    if anneal not in ("cosine", "linear"):
        raise ValueError(
            f"scheduler.anneal is {anneal!r}, but it is cosine or linear.\n\n"
            f"hint: linear is the paper's, cosine spends more steps near both ends"
        )
    return partial(
        factors.onecycle,
        warmup_steps=warmup,
        total_steps=total_steps,
        initial_factor=initial_factor,
        final_factor=final_factor,
        anneal=anneal,
    )


def warm_restarts(
    *,
    total_steps: int,
    num_cycles: int = 3,
    cycle_growth: float = 2.0,
    final_factor: float = 0.0,
) -> Schedule:
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
    _check("cycle_growth", cycle_growth, "1 or more", cycle_growth >= 1)
    _check("final_factor", final_factor, "in [0, 1]", 0 <= final_factor <= 1)
    # T_0 (1 + g + g^2 + ...) = total_steps, so the last cycle ends with the run
    in_first_cycles = sum(cycle_growth**cycle for cycle in range(num_cycles))
    return partial(
        factors.warm_restarts,
        first_cycle_steps=total_steps / in_first_cycles,
        cycle_growth=cycle_growth,
        final_factor=final_factor,
    )


@dataclass(frozen=True)
class PlateauMaker:
    """Makes torch's ReduceLROnPlateau for an optimizer; to be stepped with the validation loss."""

    factor: float
    patience: int
    threshold: float
    cooldown: int
    min_lr: float

    def __call__(self, optimizer: Optimizer) -> ReduceLROnPlateau:
        return ReduceLROnPlateau(
            optimizer,
            mode="min",
            factor=self.factor,
            patience=self.patience,
            threshold=self.threshold,
            threshold_mode="rel",
            cooldown=self.cooldown,
            min_lr=self.min_lr,
        )


def plateau(
    *,
    total_steps: int,
    factor: float = 0.5,
    patience: int = 4,
    threshold: float = 1.0e-4,
    cooldown: int = 0,
    min_lr: float = 1.0e-6,
) -> PlateauMaker:
    """The rate falls by `factor` when the validation loss stops falling.

    Raises:
        ValueError: if a knob is out of its range.
    """
    _check("factor", factor, "in (0, 1)", 0 < factor < 1)
    _check("patience", patience, "0 or more epochs", patience >= 0)
    _check("threshold", threshold, "in [0, 1)", 0 <= threshold < 1)
    _check("cooldown", cooldown, "0 or more epochs", cooldown >= 0)
    _check("min_lr", min_lr, "0 or more", min_lr >= 0)
    return PlateauMaker(factor, patience, threshold, cooldown, min_lr)


def _check(knob: str, value: float, allowed: str, is_allowed: bool) -> None:
    if not is_allowed:
        raise ValueError(
            f"scheduler.{knob} is {value}, but it has to be {allowed}.\n\n"
            f"hint: conf/scheduler says what scheduler.{knob} does and which values are usual"
        )


def _length(knob: str, fraction: float | None, steps: int | None, total_steps: int) -> float:
    """A length in steps from the one of two knobs that is given."""
    if (fraction is None) == (steps is None):
        raise ValueError(
            f"scheduler.{knob}_fraction is {fraction} and scheduler.{knob}_steps is {steps}, but "
            f"one of the two is given and the other is null.\n\n"
            f"hint: scheduler.{knob}_fraction=null scheduler.{knob}_steps={total_steps // 10}"
        )
    if fraction is not None:
        _check(f"{knob}_fraction", fraction, "in [0, 1], a part of the run", 0 <= fraction <= 1)
        return fraction * total_steps
    assert steps is not None
    _check(f"{knob}_steps", steps, "0 or more optimizer steps", steps >= 0)
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
