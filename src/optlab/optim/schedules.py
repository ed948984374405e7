"""Learning-rate schedulers from the options of a config.

Each function builds a torch scheduler that is stepped after every optimizer step. It takes the
optimizer and, if the schedule depends on it, the length of the run as `total_steps`, in optimizer
steps. Lengths within the run are given either as a fraction of the run or in steps. An option out
of range raises a ValueError that names it.

A schedule is a factor on the peak learning rate, a function of the optimizer steps already taken.
The first step uses the factor at 0 and the last one the factor at `total_steps - 1`; a decay ends
at `total_steps`. A warm-up rises linearly as (step + 1) / (warmup_steps + 1), so that no step has a
learning rate of 0 (Goyal et al. 2017, arXiv:1706.02677, section 2.2). Lengths may be fractional.
"""

import inspect
import math
from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from optlab.ranges import as_typed, check, check_choice


def build_scheduler(
    make_scheduler: Callable[..., LRScheduler], optimizer: Optimizer, total_steps: int
) -> LRScheduler:
    """Call `make_scheduler(optimizer)`, with `total_steps` if it is a parameter that is not set."""
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
    """Multiply the learning rate by `gamma` at regular intervals: gamma^floor(step / interval)."""
    every = _length("drop_every", drop_every_fraction, drop_every_steps, total_steps)
    check("scheduler.gamma", gamma, "in (0, 1]")
    typed = "fraction" if drop_every_steps is None else "steps"
    value = drop_every_fraction if drop_every_steps is None else drop_every_steps
    check(f"scheduler.drop_every_{typed}", value, "> 0")

    def factor(step: int) -> float:
        return gamma ** math.floor(step / every + 1e-9)  # 0.34 * 700 is a little above 238

    return LambdaLR(optimizer, factor)


def exponential(optimizer: Optimizer, *, total_steps: int, final_factor: float = 0.01) -> LambdaLR:
    """Decay exponentially to `final_factor`: final_factor^(step / total_steps)."""
    check("scheduler.final_factor", final_factor, "in (0, 1]")
    return LambdaLR(optimizer, lambda step: final_factor ** (step / total_steps))


def cosine(optimizer: Optimizer, *, total_steps: int, final_factor: float = 0.0) -> LambdaLR:
    """Decay along half a cosine over the whole run, from 1 to `final_factor`.

    Source: Loshchilov and Hutter 2017, arXiv:1608.03983, eq. 5, without restarts.
    """
    check("scheduler.final_factor", final_factor, "in [0, 1]")
    return LambdaLR(optimizer, lambda step: _cosine(step, total_steps, final_factor))


def warmup_cosine(
    optimizer: Optimizer,
    *,
    total_steps: int,
    warmup_fraction: float | None = None,
    warmup_steps: int | None = None,
    final_factor: float = 0.0,
) -> LambdaLR:
    """Warm up, then decay along half a cosine to `final_factor`; warm-up 0 starts at the peak."""
    warmup = _warmup(warmup_fraction, warmup_steps, total_steps)
    check("scheduler.final_factor", final_factor, "in [0, 1]")

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return _cosine(step - warmup, total_steps - warmup, final_factor)

    return LambdaLR(optimizer, factor)


def polynomial(
    optimizer: Optimizer,
    *,
    total_steps: int,
    power: float = 1.0,
    warmup_fraction: float | None = None,
    warmup_steps: int | None = None,
    final_factor: float = 0.0,
) -> LambdaLR:
    """Warm up, then decay polynomially to `final_factor`; `power` 1 is linear decay.

    f + (1 - f) * (1 - t / T)^power, with f = final_factor, t and T counted from the end of the
    warm-up.

    Source: Liu et al. 2015, arXiv:1506.04579 ("poly", power 0.9); the linear decay to
    zero after a warm-up, Bergsma et al. 2025, arXiv:2502.15938.
    """
    warmup = _warmup(warmup_fraction, warmup_steps, total_steps)
    check("scheduler.power", power, "> 0")
    check("scheduler.final_factor", final_factor, "in [0, 1]")

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        remaining = (total_steps - step) / (total_steps - warmup)
        return final_factor + (1 - final_factor) * remaining**power

    return LambdaLR(optimizer, factor)


def inverse_sqrt(
    optimizer: Optimizer,
    *,
    total_steps: int,
    warmup_fraction: float | None = None,
    warmup_steps: int | None = None,
) -> LambdaLR:
    """Warm up, then decay with the inverse square root of the step, independent of the run length.

    min(s / w, sqrt(w / s)) with s = step + 1, w = warmup_steps + 1.

    Source: Vaswani et al. 2017, arXiv:1706.03762, eq. 3, as a share of its peak.
    """
    peak = _warmup(warmup_fraction, warmup_steps, total_steps) + 1
    return LambdaLR(optimizer, lambda step: min((step + 1) / peak, math.sqrt(peak / (step + 1))))


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
    """Warm up, stay at the peak, then decay in the last `decay_steps`.

    The decay is linear or 1 - sqrt(elapsed fraction of the decay), both down to `final_factor`.

    Source: Hu et al. 2024, arXiv:2404.06395, section 4 (the phases); Hägele et al. 2024,
    arXiv:2405.18392 (the two shapes).
    """
    warmup = _warmup(warmup_fraction, warmup_steps, total_steps)
    decay = _length("decay", decay_fraction, decay_steps, total_steps)
    if warmup + decay > total_steps:
        raise ValueError(
            f"the warm-up has {warmup:g} optimizer steps and the decay {decay:g}, but the run has "
            f"{total_steps}.\n\nhint: lower scheduler.decay_fraction or scheduler.decay_steps"
        )
    check("scheduler.final_factor", final_factor, "in [0, 1]")
    check_choice("scheduler.anneal", anneal, ("linear", "sqrt"))
    start = total_steps - decay

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if step <= start:
            return 1.0
        progress = (step - start) / decay
        if anneal == "sqrt":
            progress = math.sqrt(progress)
        return final_factor + (1 - final_factor) * (1 - progress)

    return LambdaLR(optimizer, factor)


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
    """Increase from `initial_factor` to 1 in the warm-up, then decrease to `final_factor`.

    Both phases are half cosines or linear. Unlike in the paper, momentum is not cycled inversely to
    the learning rate, as not every optimizer has momentum.

    Source: Smith and Topin 2018, arXiv:1708.07120.
    """
    warmup = _warmup(warmup_fraction, warmup_steps, total_steps)
    check("scheduler.initial_factor", initial_factor, "in [0, 1]")
    check("scheduler.final_factor", final_factor, "in [0, 1]")
    check_choice("scheduler.anneal", anneal, ("cosine", "linear"))

    def factor(step: int) -> float:
        if step < warmup:
            start, end, progress = initial_factor, 1.0, step / warmup
        else:
            start, end = 1.0, final_factor
            progress = (step - warmup) / (total_steps - warmup)
        if anneal == "cosine":
            progress = (1 - math.cos(math.pi * progress)) / 2
        return start + (end - start) * progress

    return LambdaLR(optimizer, factor)


def warm_restarts(
    optimizer: Optimizer,
    *,
    total_steps: int,
    num_cycles: int = 3,
    cycle_growth: float = 2.0,
    final_factor: float = 0.0,
) -> LambdaLR:
    """`num_cycles` half cosines that together fill the run, each `cycle_growth` times as long.

    Source: SGDR, Loshchilov and Hutter 2017, arXiv:1608.03983, eq. 5; T_mult is `cycle_growth`.
    At the end of a cycle the next one starts, and the factor is 1.
    """
    check("scheduler.num_cycles", num_cycles, f"in [1, {total_steps}]")  # a step each
    check("scheduler.cycle_growth", cycle_growth, ">= 1")
    if num_cycles * math.log10(cycle_growth) >= 300:
        raise ValueError(
            f"scheduler.cycle_growth is {cycle_growth}, which is too large for {num_cycles} cycles."
            "\n\nhint: 2.0 doubles the length of each cycle"
        )
    check("scheduler.final_factor", final_factor, "in [0, 1]")
    # T_0 (1 + g + g^2 + ...) = total_steps, so the last cycle ends with the run
    first_cycle = total_steps / sum(cycle_growth**cycle for cycle in range(num_cycles))

    def factor(step: int) -> float:
        start, length = 0.0, first_cycle
        # the tolerance keeps a restart that falls on a whole step there in spite of rounding
        while step >= start + length - 1e-6:
            start, length = start + length, length * cycle_growth
        return _cosine(max(step - start, 0.0), length, final_factor)

    return LambdaLR(optimizer, factor)


def plateau(
    optimizer: Optimizer,
    *,
    factor: float = 0.5,
    patience: int = 4,
    threshold: float = 1.0e-4,
    cooldown: int = 0,
    min_lr: float = 1.0e-6,
) -> ReduceLROnPlateau:
    """Multiply the learning rate by `factor` when the validation loss stops decreasing."""
    check("scheduler.factor", factor, "in (0, 1)")
    check("scheduler.patience", patience, ">= 0")
    check("scheduler.threshold", threshold, "in [0, 1)")
    check("scheduler.cooldown", cooldown, ">= 0")
    check("scheduler.min_lr", min_lr, ">= 0")
    return ReduceLROnPlateau(
        optimizer,
        factor=factor,
        patience=patience,
        threshold=threshold,
        cooldown=cooldown,
        min_lr=min_lr,
    )


def _cosine(step: float, total_steps: float, final_factor: float) -> float:
    """Half a cosine from 1 at step 0 to `final_factor` at `total_steps`."""
    return final_factor + (1 - final_factor) / 2 * (1 + math.cos(math.pi * step / total_steps))


def _length(option: str, fraction: float | None, steps: int | None, total_steps: int) -> float:
    """A length in steps from the one of two options that is given."""
    if (fraction is None) == (steps is None):
        raise ValueError(
            f"scheduler.{option}_fraction is {as_typed(fraction)} and scheduler.{option}_steps is "
            f"{as_typed(steps)}, but exactly one of them must be set and the other null.\n\n"
            f"hint: scheduler.{option}_fraction=null scheduler.{option}_steps={total_steps // 10}"
        )
    if fraction is not None:
        check(f"scheduler.{option}_fraction", fraction, "in [0, 1]")
        return fraction * total_steps
    assert steps is not None
    check(f"scheduler.{option}_steps", steps, ">= 0")
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
