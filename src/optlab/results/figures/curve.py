"""One line of a curve figure: the mean of a group's runs, its band, and its diverged runs."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes

from optlab.results.figures.canvas import line_arguments
from optlab.results.palette import LineStyle
from optlab.results.statistics import half_width_of_mean


@dataclass(eq=False)
class Curve:
    """One line: x and mean of shape (n,), band and raw values where there are any."""

    label: str
    style: LineStyle
    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    raw_x: np.ndarray | None = None
    raw: np.ndarray | None = None
    broken_off: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    num_runs: int = 1
    is_cut: bool = False  # some of its runs went on

    @property
    def end(self) -> tuple[float, float] | None:
        """Where the label goes: the line's end, or that of the longest diverged run."""
        if len(self.x):
            return float(self.x[-1]), float(self.mean[-1])
        pieces = [piece for piece in self.broken_off if len(piece[0])]
        if not pieces:
            return None
        x, y = max(pieces, key=lambda piece: len(piece[0]))
        return float(x[-1]), float(y[-1])


def band(stack: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Interval of the mean at every point of a stack of shape (num_runs, n)."""
    n = len(stack)
    if n < 2:
        return None, None
    if n == 2:
        return stack.min(axis=0), stack.max(axis=0)
    half = half_width_of_mean(stack)
    mean = stack.mean(axis=0)
    return mean - half, mean + half


def until_broken(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The part of a curve before its first value that is not finite."""
    bad = np.flatnonzero(~np.isfinite(y))
    end = int(bad[0]) if len(bad) else len(y)
    return x[:end], y[:end]


def band_note(curves: Sequence[Curve]) -> str:
    counts = sorted({curve.num_runs for curve in curves if curve.low is not None})
    intervals = [count for count in counts if count > 2]
    if not intervals:
        return "band: range of 2 runs" if counts else ""
    runs = " to ".join(str(count) for count in sorted({intervals[0], intervals[-1]}))
    return f"band: 95 % over {runs} runs" + (" (2 runs: range)" if 2 in counts else "")


def draw_curve(ax: Axes, curve: Curve, index: int) -> list[object]:
    """Draw one line with a few markers, and its diverged runs."""
    every = max(len(curve.x) // 7, 1)
    lines: list[object] = list(
        ax.plot(
            curve.x,
            curve.mean,
            **line_arguments(
                curve.style,
                lw=1.8,
                marker=curve.style.marker,
                ms=4.5,
                markevery=(every * (2 + index % 5) // 6, every) if every > 1 else 1,
                label=curve.label,
            ),
        )
    )
    for x, y in curve.broken_off:
        if len(x):
            lines += ax.plot(x, y, **line_arguments(curve.style, lw=1.0, alpha=0.8))
            top = ax.get_ylim()[1]
            lines += ax.plot(
                x[-1], min(y[-1], top), "x", color=curve.style.color, ms=8, mew=2, clip_on=False
            )
    return lines


def cut_note(curves: Sequence[Curve]) -> str:
    cut = any(curve.is_cut for curve in curves)
    return "a line ends where its first run stopped" if cut else ""


def cross_note(curves: Sequence[Curve]) -> str:
    return "cross: diverged" if any(curve.broken_off for curve in curves) else ""
