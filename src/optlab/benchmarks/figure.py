"""The picture of a benchmark: every ratio with its spread and what it should be at most."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from optlab.benchmarks.results import RATIO, Quantity, Report

REACHED, MISSED, NEUTRAL = "#0072B2", "#D55E00", "#6B6B6B"  # Okabe and Ito; grey: no target


class RatioFigure:
    """Dots with ranges on a logarithmic axis; a bar marks the target.

    After `plot` the artists are kept: `ax`, `dots` (one a ratio) and `targets`.
    """

    def __init__(self, report: Report) -> None:
        """
        Raises:
            ValueError: if the report has no ratio.
        """
        self.rows: list[tuple[str, Quantity]] = [
            (line.title, quantity)
            for line in report.lines
            for quantity in line.quantities
            if quantity.unit == RATIO
        ]
        if not self.rows:
            raise ValueError("the benchmark has no ratio to draw")
        machine = report.machine
        self.caption = (
            f"{machine['gpu'] or machine['cpu']}, {machine['num_cores']} cores, "
            f"{machine['num_threads']} thread(s) a run, repeats: {machine['num_repeats']} "
            f"(dot: median, line: extremes)"
        )

    def plot(self, ax: Axes | None = None) -> "RatioFigure":
        if ax is None:
            height = 1.2 + 0.27 * (len(self.rows) + 1.4 * self._num_groups())
            ax = Figure(figsize=(10, height), layout="constrained").subplots()
        self.ax = ax
        self.dots: list[Any] = []
        self.targets: list[Any] = []
        places, labels, place, previous = [], [], 0.0, None
        for title, quantity in self.rows:
            if title != previous:
                place += 0.5
                ax.text(
                    *(0.0, place - 0.1, title),
                    transform=ax.get_yaxis_transform(),
                    fontweight="bold",
                    verticalalignment="center",
                )
                place, previous = place + 0.9, title
            self._draw(quantity, place)
            places.append(place)
            labels.append(quantity.label)
            place += 1.0
        ax.set_yticks(places, labels)
        ax.set_ylim(place, 0.0)
        ax.set_xscale("log")
        low, high = ax.get_xlim()
        ax.set_xlim(min(low, 0.5), max(high * 1.6, 2.0))  # room for the numbers at the dots
        ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        ax.xaxis.set_minor_formatter("")
        ax.axvline(1.0, color="black", linewidth=0.8, zorder=0)
        ax.grid(axis="x", which="both", color="#E4E4E4", linewidth=0.6, zorder=-1)
        for side in ("top", "right", "left"):
            ax.spines[side].set_visible(False)
        ax.tick_params(axis="y", length=0)
        ax.set_xlabel(
            f"ratio, logarithmic; the bar is what it should be at most\n{self.caption}", fontsize=9
        )
        return self

    def save(self, path: Any) -> None:
        figure = self.ax.figure
        assert isinstance(figure, Figure)
        figure.savefig(path, dpi=150)

    def _num_groups(self) -> int:
        return len({title for title, _ in self.rows})

    def _draw(self, quantity: Quantity, place: float) -> None:
        spread = quantity.spread
        color = {None: NEUTRAL, True: REACHED, False: MISSED}[quantity.reached]
        self.ax.hlines(place, spread.min, spread.max, color=color, linewidth=2)
        self.dots += self.ax.plot(spread.median, place, "o", color=color, markersize=6)
        self.ax.annotate(
            f"{spread.median:.3g}",
            (max(spread.max, quantity.target or 0.0), place),
            xytext=(7, 0),
            textcoords="offset points",
            verticalalignment="center",
            fontsize=9,
        )
        if quantity.target is not None:
            self.targets += self.ax.plot(
                quantity.target, place, "|", color="black", markersize=13, markeredgewidth=2
            )
