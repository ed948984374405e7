"""A percent axis that is stretched near 100 %, where good models differ."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

# Ticks that read well at any stretch
_LADDER = (0, 20, 40, 50, 60, 70, 80, 85, 90, 92, 94, 95, 96, 97, 97.5, 98, 98.5, 99, 99.5, 99.7,
           99.8, 99.9, 99.95)  # fmt: skip


def stretched_percent(ax: Axes, fractions: Sequence[float] | np.ndarray) -> str:
    """Scale a percent axis to its values; stretched toward 100 % where they come near it.

    Close to 100 % the errors are what differs: 98 and 99 % are as far apart as 80 and 90 %.
    An error of 0 has no logarithm. If a value is 100 %, or almost, half of the next smallest error
    is added to all errors, so that 100 % is on the axis, a little above the others.

    Returns:
        A remark for the headline; empty when the axis is linear.
    """
    values = np.asarray([value for value in fractions if np.isfinite(value)])
    if not len(values):
        return ""
    low, high = float(values.min()), float(values.max())
    if high < 0.9 or high - low < 0.01:
        margin = max(0.05 * (high - low), 0.003)
        ax.set_ylim(100 * max(low - margin, 0), 100 * min(high + margin, 1.0005))
        return ""
    perfect = high > 0.9998
    added = max(1 - float(values[values < 1].max()), 5e-4) / 2 if perfect else 0.0

    def forward(value: ArrayLike) -> np.ndarray:
        return -np.log10(np.clip(1 + added - np.asarray(value) / 100, 1e-5, None))

    def backward(value: ArrayLike) -> np.ndarray:
        return 100 * (1 + added - 10 ** -np.asarray(value))

    ax.set_yscale("function", functions=(forward, backward))
    floor = max(low, 0.02)
    bottom = max(100 * (1 - (1 - floor) * 1.08), 0)
    top = 100 * (1 - (1 - high) * 0.85)
    if perfect:  # room above for half a marker
        low_end, high_end = forward([bottom, 100])
        top = float(backward(high_end + 0.03 * (high_end - low_end)))
    ax.set_ylim(bottom, top)
    inside = [tick for tick in _LADDER if bottom <= tick <= top]
    kept: list[float] = []
    gap = 0.05 * np.ptp(forward([bottom, top]))
    for tick in inside:  # leave out ticks that would collide with the one below
        if not kept or forward(tick) - forward(kept[-1]) > gap:
            kept.append(tick)
    if perfect:  # 100 is the one that must be there
        kept = [tick for tick in kept if high_end - forward(tick) > gap] + [100]
    ax.set_yticks(kept, [f"{tick:g}" for tick in kept])
    ax.minorticks_off()
    return "axis stretched toward 100 %"
