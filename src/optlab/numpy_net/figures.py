"""Pictures of paths and of curves over steps. Each holds its arrays and draws them on demand.

Matplotlib is imported where it draws, so that the arithmetic of this room needs NumPy and SciPy
alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from optlab.numpy_net.test_functions import Surface, Trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

# Okabe and Ito's palette, which colour-blind readers tell apart; yellow left out as too pale.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))  # survive grey print


class LineStyle(Protocol):
    """How a line is drawn; `optlab.results.palette.style_of` returns one for each optimizer."""

    @property
    def color(self) -> str: ...

    @property
    def linestyle(self) -> Any: ...


def _style(index: int, label: str, styles: Mapping[str, LineStyle]) -> dict[str, Any]:
    """Colour and dashes of a label, by its position among the labels where no style is given."""
    style = styles.get(label)
    color, linestyle = _COLORS[index % len(_COLORS)], _DASHES[index % len(_DASHES)]
    if style is not None:
        color, linestyle = style.color, style.linestyle
    return {"label": label, "color": color, "linestyle": linestyle}


@dataclass
class TrajectoryFigure:
    """Paths of optimizers over the contours of one surface.

    Args:
        styles: of labels that other pictures show as well; the rest get their own.
        legend: off where a neighbouring picture names the same lines.
    """

    surface: Surface
    trajectories: Mapping[str, Trajectory]  # by label
    styles: Mapping[str, LineStyle] = field(default_factory=dict)
    legend: bool = True
    ax: "Axes | None" = field(default=None, init=False)
    lines: dict[str, "Line2D"] = field(default_factory=dict, init=False)

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw; a path that leaves the surface's window is cut at its edge."""
        import matplotlib.pyplot as plt

        ax = plt.subplots(figsize=(6, 5), layout="constrained")[1] if ax is None else ax
        surface = self.surface
        left, right, bottom, top = surface.window
        x, y = np.meshgrid(np.linspace(left, right, 200), np.linspace(bottom, top, 200))
        values = surface.value(x, y)  # (200, 200)
        if surface.minimum is None:
            levels = np.linspace(values.min(), values.max(), 25)
        else:
            # Heights span decades: evenly spaced contours would all lie on the walls.
            above = values - surface.value(*map(np.asarray, surface.minimum))
            levels = np.geomspace(max(above.max() * 1e-5, 1e-3), above.max(), 20)
        ax.contour(x, y, values, levels, colors="0.8", linewidths=0.7, linestyles="-", zorder=0)
        for index, (label, trajectory) in enumerate(self.trajectories.items()):
            style = _style(index, label, self.styles)
            (line,) = ax.plot(trajectory.points[:, 0], trajectory.points[:, 1], lw=1.6, **style)
            ax.plot(*trajectory.points[-1], "o", ms=5, color=style["color"], zorder=3)
            self.lines[label] = line
        ax.plot(*surface.start, "s", ms=7, color="0.2", mfc="white", zorder=4, label="start")
        if surface.minimum is not None:
            ax.plot(*surface.minimum, "*", ms=14, color="0.2", mfc="gold", label="minimum")
        ax.set(xlim=(left, right), ylim=(bottom, top), xlabel="x", ylabel="y", aspect="equal")
        ax.set_title(f"{surface.name}\n{surface.formula}", fontsize=10)
        if self.legend:
            ax.legend(fontsize=8, framealpha=0.9)
        self.ax = ax
        return ax


@dataclass
class CurvesFigure:
    """A quantity over steps, one line per label, on a logarithmic axis unless told otherwise."""

    curves: Mapping[str, np.ndarray]  # by label, each (num_points,)
    ylabel: str
    xlabel: str = "optimizer step"
    title: str = ""
    at: Mapping[str, np.ndarray] = field(default_factory=dict)  # positions by label; else 0, 1, ...
    log: bool = True
    floor: float | None = None  # where the axis ends below; None: at the lowest value
    styles: Mapping[str, LineStyle] = field(default_factory=dict)
    ax: "Axes | None" = field(default=None, init=False)
    lines: dict[str, "Line2D"] = field(default_factory=dict, init=False)

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw; on a logarithmic axis, what is zero or below leaves a gap."""
        import matplotlib.pyplot as plt

        ax = plt.subplots(figsize=(6, 4), layout="constrained")[1] if ax is None else ax
        for index, (label, curve) in enumerate(self.curves.items()):
            steps = self.at.get(label, np.arange(len(curve)))
            shown = np.where(curve > 0, curve, np.nan) if self.log else curve
            (self.lines[label],) = ax.plot(
                steps, shown, lw=1.6, **_style(index, label, self.styles)
            )
        ax.set(xlabel=self.xlabel, ylabel=self.ylabel, yscale="log" if self.log else "linear")
        if self.floor is not None and ax.get_ylim()[0] < self.floor:
            ax.set_ylim(bottom=self.floor)
        ax.set_title(self.title, fontsize=10)
        ax.grid(color="0.92", lw=0.6)
        # beside the curves: with many lines no corner of the picture stays free
        ax.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
        self.ax = ax
        return ax
