"""Plot test accuracy against training time and against memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from optlab.analysis.pareto import Tradeoff, pareto_front
from optlab.analysis.summary import WorkloadSummary
from optlab.plots.palette import LineStyle, styles_by_label
from optlab.plots.percent_axis import stretched_percent
from optlab.plots.style import MUTED, WIDTH_IN, Display, divide, name_lines


@dataclass(eq=False, kw_only=True)
class ParetoDisplay(Display):
    """Two panels of accuracy, over seconds and over memory; dominated configurations are hollow.

    A configuration is dominated if another one is nowhere worse in accuracy, time and memory, and
    somewhere better. The gray line is the front of a panel's two quantities. Seconds that do not
    compare are drawn, and decide nothing.
    """

    tradeoffs: Sequence[Tradeoff]
    styles: Mapping[str, LineStyle]
    caution: str = ""  # why times are not comparable
    title: str = "Accuracy, time and memory"

    figure_size = (1.2 * WIDTH_IN, 4.0)

    @classmethod
    def from_summary(
        cls, summary: WorkloadSummary, tradeoffs: Sequence[Tradeoff]
    ) -> "ParetoDisplay":
        return cls(
            tradeoffs=tradeoffs,
            styles=styles_by_label([each.row.configuration for each in tradeoffs]),
            caution=summary.unlike_clocks,
            title=f"Accuracy, time and memory: {summary.workload.title}",
        )

    def draw(self, ax: Axes) -> str:
        accuracy = np.array([each.accuracy.mean for each in self.tradeoffs])
        times = np.array([each.train_time_s for each in self.tradeoffs])
        memory = np.array([each.peak_memory_gib for each in self.tradeoffs])
        compared = [memory] if self.caution else [times, memory]
        self.artists["is_optimal"] = pareto_front(accuracy, *compared)
        left, right = divide(ax, 1, 2)[0]
        self.artists["fronts"], self.artists["points"] = [], []
        for panel, costs, label in (
            (left, times, "seconds of training"),
            (right, memory, "peak memory (GiB)"),
        ):
            self._draw_panel(panel, costs)
            if panel is right or not self.caution:
                self._draw_front(panel, accuracy, costs)
            panel.set_xlabel(label)
        left.set_ylabel("test accuracy (%)")
        name_lines(right, self.artists["points"][len(accuracy) :], list(accuracy))
        quantities = "accuracy and memory" if self.caution else "all three"
        note = f"filled: no other is at least as good in {quantities}; gray: the front of the panel"
        return f"{note}; training times are not comparable" if self.caution else note

    def _draw_front(self, panel: Axes, accuracy: np.ndarray, costs: np.ndarray) -> None:
        front = np.flatnonzero(pareto_front(accuracy, costs))
        front = front[np.lexsort((accuracy[front], costs[front]))]
        (line,) = panel.plot(
            [*costs[front], panel.get_xlim()[1]],
            100 * np.maximum.accumulate([*accuracy[front], accuracy.max()]),
            drawstyle="steps-post",
            color=MUTED,
            lw=1,
            alpha=0.6,
            zorder=1,
        )
        self.artists["fronts"].append(line)

    def _draw_panel(self, panel: Axes, costs: np.ndarray) -> None:
        ends = [
            end
            for each in self.tradeoffs
            for end in (each.accuracy.low, each.accuracy.mean, each.accuracy.high)
            if end is not None
        ]
        stretched_percent(panel, np.clip(ends, 0, 1))
        margin = 0.08 * max(float(np.ptp(costs)), 0.2 * float(costs.max()))
        for each, cost, is_optimal in zip(
            self.tradeoffs, costs, self.artists["is_optimal"], strict=True
        ):
            style = self.styles[each.row.label]
            low, high = each.accuracy.low, each.accuracy.high
            if low is not None and high is not None:
                panel.plot([cost] * 2, [100 * low, 100 * min(high, 1)], color=style.color, lw=1.2)
            (point,) = panel.plot(
                cost,
                100 * each.accuracy.mean,
                style.marker,
                ms=8,
                color=style.color,
                mfc=style.color if is_optimal else "white",
                mew=1.6,
                label=each.row.label,
            )
            self.artists["points"].append(point)
        panel.set_xlim(max(0.0, float(costs.min()) - margin), float(costs.max()) + margin)
