"""Schedules as pure functions of the step: factors on the peak learning rate.

`step` counts optimizer steps already taken: the first step uses the factor of 0, the last one that
of `total_steps - 1`; the factor of `total_steps` is where a decay ends. Counts may be fractional.
`schedules.py` makes these functions from the knobs of a config and checks their ranges.
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
