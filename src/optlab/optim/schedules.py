"""Learning-rate schedulers from the options of a config.

Each function builds a scheduler of torch that is stepped after every optimizer step. It is called
with the optimizer and, where the schedule depends on it, with the length of the run, `total_steps`
in optimizer steps. Lengths within the run are given as a fraction of it or in steps, one of the
two. An option out of its range is a ValueError that names it.

A schedule is a factor on the peak rate, a function of the optimizer steps already taken: the first
step uses the factor of 0, the last one that of `total_steps - 1`; the factor of `total_steps` is
where a decay ends. A warm-up rises linearly as (step + 1) / (warmup_steps + 1), so that no step is
taken at rate zero (Goyal et al. 2017, arXiv:1706.02677, section 2.2). Lengths may be fractional.
"""

import inspect
import math
from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from optlab.ranges import check, check_choice


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
    """A drop by `gamma` at regular distances: gamma^floor(step / distance)."""
    every = _length("drop_every", drop_every_fraction, drop_every_steps, total_steps)
    check("scheduler.gamma", gamma, "in (0, 1]")
    typed = "fraction" if drop_every_steps is None else "steps"
    value = drop_every_fraction if drop_every_steps is None else drop_every_steps
    check(f"scheduler.drop_every_{typed}", value, "> 0")

    def factor(step: int) -> float:
        return gamma ** math.floor(step / every + 1e-9)  # 0.34 * 700 is a little above 238

    return LambdaLR(optimizer, factor)


def exponential(optimizer: Optimizer, *, total_steps: int, final_factor: float = 0.01) -> LambdaLR:
    """The same ratio at every step: final_factor^(step / total_steps)."""
    check("scheduler.final_factor", final_factor, "in (0, 1]")
    return LambdaLR(optimizer, lambda step: final_factor ** (step / total_steps))


def cosine(optimizer: Optimizer, *, total_steps: int, final_factor: float = 0.0) -> LambdaLR:
    """Half a cosine over the whole run, from 1 to `final_factor`.

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
    """A warm-up, then half a cosine to `final_factor`; a warm-up of 0 starts at the peak."""
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
    """A warm-up, then a fall by a power of the remaining share of the run; 1 is the linear decay.

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
    """A warm-up, then a fall with the square root of the step, whatever the length of the run.

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
    """A warm-up, the peak, a fall in the last `decay_steps`.

    The fall is linear, or 1 - sqrt(share of the fall that is over), both down to `final_factor`.

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
    """A rise from `initial_factor` to 1 in the warm-up, then a fall to `final_factor`.

    Both legs are half cosines or straight lines. Momentum is not cycled against the rate, as the
    paper does: not every optimizer has one.

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
    Where a cycle ends the next begins: the factor is 1 there.
    """
    check("scheduler.num_cycles", num_cycles, f"in [1, {total_steps}]")  # a step each
    check("scheduler.cycle_growth", cycle_growth, ">= 1")
    if num_cycles * math.log10(cycle_growth) >= 300:
        raise ValueError(
            f"scheduler.cycle_growth is {cycle_growth}, which is too much for {num_cycles} cycles."
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
    """The learning rate falls by `factor` when the validation loss stops falling."""
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
            f"scheduler.{option}_fraction is {fraction} and scheduler.{option}_steps is {steps}, "
            "but one of the two is given and the other is null.\n\n"
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
