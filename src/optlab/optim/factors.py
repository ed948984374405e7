"""Schedules as pure functions of the step: factors on the peak learning rate.

`step` counts optimizer steps already taken: the first step uses the factor of 0, the last one that
of `total_steps - 1`; the factor of `total_steps` is where a decay ends. Counts may be fractional.
`schedules.py` makes these functions from the options of a config and checks their ranges.
"""

import math


def step_decay(step: int, *, drop_every_steps: float, gamma: float) -> float:
    """A drop by `gamma` after every `drop_every_steps`: gamma^floor(step / drop_every_steps)."""
    num_drops = math.floor(step / drop_every_steps + 1e-9)  # 0.34 * 700 is a little above 238
    return gamma**num_drops


def exponential(step: int, *, total_steps: int, final_factor: float) -> float:
    """The same ratio at every step: final_factor^(step / total_steps)."""
    return final_factor ** (step / total_steps)


def cosine(step: float, *, total_steps: float, final_factor: float) -> float:
    """Half a cosine from 1 to `final_factor`.

    f + (1 - f) / 2 * (1 + cos(pi * step / total_steps)), with f = final_factor.

    Source: Loshchilov and Hutter 2017, arXiv:1608.03983, eq. 5, without restarts.
    """
    return final_factor + (1 - final_factor) / 2 * (1 + math.cos(math.pi * step / total_steps))


def warmup_cosine(
    step: int, *, warmup_steps: float, total_steps: int, final_factor: float
) -> float:
    """A linear rise to 1 at `warmup_steps`, then half a cosine to `final_factor`.

    The rise is (step + 1) / (warmup_steps + 1), so that no step is taken at rate zero;
    warmup_steps = 0 starts at the peak.

    Source: linear warm-up, Goyal et al. 2017, arXiv:1706.02677, section 2.2; cosine, Loshchilov and
    Hutter 2017, arXiv:1608.03983, eq. 5.
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    return cosine(
        step - warmup_steps,
        total_steps=total_steps - warmup_steps,
        final_factor=final_factor,
    )


def polynomial(
    step: int, *, warmup_steps: float, total_steps: int, power: float, final_factor: float
) -> float:
    """A linear rise as in `warmup_cosine`, then a power of the remaining share of the run.

    f + (1 - f) * (1 - t / T)^power, with f = final_factor, t and T counted from the end of the
    rise. A power of 1 is the linear decay.

    Source: Liu et al. 2015, arXiv:1506.04579 ("poly", power 0.9); the linear decay to
    zero after a warm-up, Bergsma et al. 2025, arXiv:2502.15938.
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    remaining = (total_steps - step) / (total_steps - warmup_steps)
    return final_factor + (1 - final_factor) * remaining**power


def inverse_sqrt(step: int, *, warmup_steps: float) -> float:
    """A linear rise as in `warmup_cosine`, then a fall with the square root of the step.

    min(s / w, sqrt(w / s)) with s = step + 1, w = warmup_steps + 1. It does not depend on the
    length of the run.

    Source: Vaswani et al. 2017, arXiv:1706.03762, eq. 3, as a share of its peak.
    """
    return min(
        (step + 1) / (warmup_steps + 1),
        math.sqrt((warmup_steps + 1) / (step + 1)),
    )


def warmup_stable_decay(
    step: int,
    *,
    warmup_steps: float,
    decay_steps: float,
    total_steps: int,
    final_factor: float,
    anneal: str,
) -> float:
    """A linear rise as in `warmup_cosine`, the peak, a fall in the last `decay_steps`.

    The fall is linear, or 1 - sqrt(share of the fall that is over), both down to `final_factor`.

    Source: Hu et al. 2024, arXiv:2404.06395, section 4 (the phases); Hägele et al. 2024,
    arXiv:2405.18392 (the two shapes).
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    start = total_steps - decay_steps
    if step <= start:
        return 1.0
    progress = (step - start) / decay_steps
    if anneal == "sqrt":
        progress = math.sqrt(progress)
    return final_factor + (1 - final_factor) * (1 - progress)


def onecycle(
    step: int,
    *,
    warmup_steps: float,
    total_steps: int,
    initial_factor: float,
    final_factor: float,
    anneal: str,
) -> float:
    """A rise from `initial_factor` to 1 at `warmup_steps`, then a fall to `final_factor`.

    Both legs are half cosines or straight lines. Momentum is not cycled against the rate, as the
    paper does: not every optimizer has one.

    Source: Smith and Topin 2018, arXiv:1708.07120.
    """
    if step < warmup_steps:
        start, end, progress = initial_factor, 1.0, step / warmup_steps
    else:
        start, end = 1.0, final_factor
        progress = (step - warmup_steps) / (total_steps - warmup_steps)
    if anneal == "cosine":
        progress = (1 - math.cos(math.pi * progress)) / 2
    return start + (end - start) * progress


def warm_restarts(
    step: int, *, first_cycle_steps: float, cycle_growth: float, final_factor: float
) -> float:
    """Half cosines from 1 to `final_factor`, each cycle `cycle_growth` times as long as the last.

    Source: SGDR, Loshchilov and Hutter 2017, arXiv:1608.03983, eq. 5; T_0 is `first_cycle_steps`,
    T_mult is `cycle_growth`. Where a cycle ends the next begins: the factor is 1 there.
    """
    start, length = 0.0, first_cycle_steps
    # the tolerance keeps a restart that falls on a whole step there in spite of rounding
    while step >= start + length - 1e-6:
        start, length = start + length, length * cycle_growth
    return cosine(
        max(step - start, 0.0),
        total_steps=length,
        final_factor=final_factor,
    )
