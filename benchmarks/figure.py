"""The picture of a benchmark: every ratio with its spread and what it should be at most."""

from dataclasses import dataclass, field
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator

from benchmarks.results import RATIO, Quantity, Report
from optlab.plots.palette import STYLES
from optlab.plots.style import Display

REACHED, MISSED = STYLES["adam"].color, STYLES["sgd"].color  # blue and orange
NEUTRAL = "#6B6B6B"  # no target


@dataclass(eq=False, kw_only=True)
class RatiosDisplay(Display):
    """Dots with ranges on a logarithmic axis; a bar marks the target.

    After `plot` the artists hold `dots` (one a ratio) and `targets`.

    Raises:
        ValueError: if the report has no ratio.
    """

    report: Report
    title: str = "Ratios"
    rows: list[tuple[str, Quantity]] = field(init=False)

    def __post_init__(self) -> None:
        self.rows = [
            (line.title, quantity)
            for line in self.report.lines
            for quantity in line.quantities
            if quantity.unit == RATIO
        ]
        if not self.rows:
            raise ValueError("the benchmark has no ratio to draw")

    @property
    def figure_size(self) -> tuple[float, float]:
        num_groups = len({title for title, _ in self.rows})
        return 10.0, 1.6 + 0.27 * (len(self.rows) + 1.4 * num_groups)

    def draw(self, ax: Axes) -> str:
        self.artists["dots"], self.artists["targets"] = [], []
        places, labels, place, previous = [], [], 0.0, None
        for title, quantity in self.rows:
            if title != previous:
                place += 0.5
                text: dict[str, Any] = {"fontweight": "bold", "va": "center"}
                ax.text(0, place - 0.1, title, transform=ax.get_yaxis_transform(), **text)
                place, previous = place + 0.9, title
            self._draw_row(ax, quantity, place)
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
        ax.grid(False)
        ax.grid(axis="x", which="both")
        ax.spines["left"].set_visible(False)
        ax.tick_params(axis="y", length=0)
        ax.set_xlabel("ratio, logarithmic; the bar is what it should be at most")
        machine = self.report.machine
        return (
            f"{machine['gpu'] or machine['cpu']}, {machine['num_cores']} cores, "
            f"{machine['num_threads']} thread(s) a run, repeats: {machine['num_repeats']} "
            "(dot: median, line: extremes)"
        )

    def _draw_row(self, ax: Axes, quantity: Quantity, place: float) -> None:
        spread = quantity.spread
        color = {None: NEUTRAL, True: REACHED, False: MISSED}[quantity.reached]
        ax.hlines(place, spread.min, spread.max, color=color, linewidth=2)
        self.artists["dots"] += ax.plot(spread.median, place, "o", color=color, markersize=6)
        ax.annotate(
            f"{spread.median:.3g}",
            (max(spread.max, quantity.target or 0.0), place),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
        if quantity.target is not None:
            bar: dict[str, Any] = {"color": "black", "markersize": 13, "markeredgewidth": 2}
            self.artists["targets"] += ax.plot(quantity.target, place, "|", **bar)
