"""Reliability diagram: accuracy against confidence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from optlab.analysis.calibration import Calibration
from optlab.plots.palette import LineStyle
from optlab.plots.style import INK, Display, name_lines

FEWEST = 0.001  # share of the answers that a bin needs to be drawn


@dataclass(eq=False, kw_only=True)
class ReliabilityDisplay(Display):
    """Accuracy of the answers in each bin of confidence, one line for each configuration."""

    calibrations: Sequence[Calibration]
    styles: Mapping[str, LineStyle]
    title: str = "Reliability"

    def draw(self, ax: Axes) -> str:
        ax.plot([0, 100], [0, 100], color=INK, lw=1, ls=":")
        self.artists["lines"] = {}
        for each in self.calibrations:
            found, style = each.reliability, self.styles[each.row.label]
            drawn = found.share >= FEWEST
            (self.artists["lines"][each.row.label],) = ax.plot(
                100 * found.confidence[drawn],
                100 * found.accuracy[drawn],
                style.marker + "-",
                color=style.color,
                ms=4,
                label=each.row.label,
            )
        lines = list(self.artists["lines"].values())
        lowest = min(line.get_xdata().min() for line in lines)
        ax.set_xlim(max(0.0, lowest - 4), 101)
        ax.set_xlabel("confidence (%)")
        ax.set_ylabel("accuracy (%)")
        name_lines(ax, lines, [line.get_ydata()[-1] for line in lines])
        return "dotted: confidence equals accuracy; below it a network is too sure"
