"""The paths of optimizers over the loss of a network, as a picture and as an animation."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.axes import Axes

from optlab.analysis.labels import display_name
from optlab.files import atomic_write
from optlab.plots.palette import styles_for
from optlab.plots.style import Display, name_lines

FRAMES_PER_SECOND = 4


@dataclass(eq=False, kw_only=True)
class LossSurfaceDisplay(Display):
    """Contours of the training loss over a plane of weights, and a path for each run.

    Attributes:
        x, y: (n,) coordinates of the grid.
        losses: (n, n), rows by y, in nats.
        paths: label to optimizer steps (T,) and points (T, 2).
        optimizers: label to optimizer, which chooses the color.
        explained: share of the paths' variance in the plane.
    """

    x: np.ndarray
    y: np.ndarray
    losses: np.ndarray
    paths: dict[str, tuple[np.ndarray, np.ndarray]]
    optimizers: dict[str, str]
    explained: float
    title: str = "Paths over the training loss"

    figure_size = (8.0, 6.0)

    def draw(self, ax: Axes) -> str:
        shown = np.where(np.isfinite(self.losses), self.losses, np.nan)
        low, high = max(float(np.nanmin(shown)), 1e-4), float(np.nanmax(shown))
        levels = np.geomspace(low, high, 18)
        ax.contourf(self.x, self.y, shown, levels, cmap="Greys", norm="log", alpha=0.45, zorder=0)
        contours = ax.contour(
            self.x, self.y, shown, levels[::3], colors="0.55", linewidths=0.7, zorder=1
        )
        ax.clabel(contours, fmt="%.2g", fontsize=8)
        self.artists["lines"] = []
        styles = styles_for([self.optimizers[label] for label in self.paths])
        for (label, (_, points)), style in zip(self.paths.items(), styles, strict=True):
            (line,) = ax.plot(
                *points.T,
                label=display_name(label),
                color=style.color,
                linestyle=style.linestyle,
                marker=style.marker,
                ms=5,
                mfc="white",
                zorder=3,
            )
            self.artists["lines"].append(line)
        for _, points in self.paths.values():
            ax.plot(*points[0], "s", ms=8, color="0.2", mfc="white", zorder=4)
        ax.grid(False)
        ax.set(
            xlabel="first principal component of the paths",
            ylabel="second principal component",
            xlim=(self.x[0], self.x[-1]),
            ylim=(self.y[0], self.y[-1]),
        )
        name_lines(ax, self.artists["lines"], [0.0] * len(self.paths))
        share = f"{100 * self.explained:.0f} % of the paths' variance"
        return f"square: start; markers: snapshots; the plane has {share}"

    def save_animation(self, path: Path) -> Path:
        """Write a GIF in which the paths grow, a frame for each snapshot. Plot first."""
        figure, lines = self.figure, self.artists["lines"]
        steps = sorted({int(step) for each, _ in self.paths.values() for step in each})

        def show(step: int) -> list[Any]:
            for line, (at, points) in zip(lines, self.paths.values(), strict=True):
                line.set_data(*points[at <= step].T)
            return list(lines)

        animation = FuncAnimation(figure, show, frames=[*steps, *[steps[-1]] * 6], blit=False)
        with atomic_write(path) as partial:
            writer = PillowWriter(fps=FRAMES_PER_SECOND)
            animation.save(str(partial.with_suffix(".gif")), writer=writer)
            partial.with_suffix(".gif").replace(partial)
        return path
