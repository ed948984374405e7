"""Pictures of the from-scratch optimizers: paths over a surface, and quantities over steps."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from optlab.numpy_net.surfaces import Surface, Trajectory
from optlab.plots.palette import STYLES, LineStyle
from optlab.plots.style import SIZE_SMALL, Display, name_lines


def _line(index: int, label: str, styles: Mapping[str, LineStyle]) -> dict[str, Any]:
    """Color and dashes of a label, by its position where it has no style."""
    style = styles.get(label) or list(STYLES.values())[index % len(STYLES)]
    return {"label": label, "color": style.color, "linestyle": style.linestyle}


@dataclass(eq=False, kw_only=True)
class TrajectoriesDisplay(Display):
    """Paths of optimizers over the contours of one surface."""

    surface: Surface
    trajectories: Mapping[str, Trajectory]  # by label
    styles: Mapping[str, LineStyle] = field(default_factory=dict)  # of labels; others by position
    legend: bool = True  # off where a neighboring picture names the same lines

    figure_size = (6.0, 5.4)

    def draw(self, ax: Axes) -> str:
        """Draw; a path that leaves the surface's window is cut at its edge."""
        surface = self.surface
        left, right, bottom, top = surface.window
        x, y = np.meshgrid(np.linspace(left, right, 200), np.linspace(bottom, top, 200))
        values = surface.value(x, y)  # (200, 200)
        if surface.minimum is None:
            levels = np.linspace(values.min(), values.max(), 25)
        else:
            # Heights span decades: evenly spaced contours would all be on the walls
            above = values - surface.value(*map(np.asarray, surface.minimum))
            levels = np.geomspace(max(above.max() * 1e-5, 1e-3), above.max(), 20)
        ax.contour(x, y, values, levels, colors="0.8", linewidths=0.7, linestyles="-", zorder=0)
        self.artists["lines"] = {}
        for index, (label, trajectory) in enumerate(self.trajectories.items()):
            style = _line(index, label, self.styles)
            (self.artists["lines"][label],) = ax.plot(*trajectory.points.T, lw=1.6, **style)
            ax.plot(*trajectory.points[-1], "o", ms=5, color=style["color"], zorder=3)
        ax.plot(*surface.start, "s", ms=7, color="0.2", mfc="white", zorder=4, label="start")
        if surface.minimum is not None:
            ax.plot(*surface.minimum, "*", ms=14, color="0.2", mfc="gold", label="minimum")
        ax.grid(False)
        ax.set(xlim=(left, right), ylim=(bottom, top), xlabel="x", ylabel="y", aspect="equal")
        if self.legend:
            ax.legend(fontsize=SIZE_SMALL, frameon=True, framealpha=0.9)
        self.title = self.title or surface.name
        return surface.formula


@dataclass(eq=False, kw_only=True)
class StepCurvesDisplay(Display):
    """A quantity over steps, one line per label."""

    curves: Mapping[str, np.ndarray]  # by label, each (num_points,)
    ylabel: str
    xlabel: str = "optimizer step"
    at: Mapping[str, np.ndarray] = field(default_factory=dict)  # positions by label; else 0, 1, ...
    log: bool = True
    floor: float | None = None  # where the axis ends below; None: at the lowest value
    styles: Mapping[str, LineStyle] = field(default_factory=dict)

    def draw(self, ax: Axes) -> str:
        """Draw; on a logarithmic axis, zero and below leave a gap."""
        self.artists["lines"] = {}
        for index, (label, curve) in enumerate(self.curves.items()):
            steps = self.at.get(label, np.arange(len(curve)))
            shown = np.where(curve > 0, curve, np.nan) if self.log else curve
            line = ax.plot(steps, shown, lw=1.6, **_line(index, label, self.styles))
            (self.artists["lines"][label],) = line
        ax.set(xlabel=self.xlabel, ylabel=self.ylabel, yscale="log" if self.log else "linear")
        if self.floor is not None and ax.get_ylim()[0] < self.floor:
            ax.set_ylim(bottom=self.floor)
        ends = [float(curve[-1]) for curve in self.curves.values()]
        name_lines(ax, list(self.artists["lines"].values()), ends)
        return ""
