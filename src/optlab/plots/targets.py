"""Plot the time to a validation target, in one workload and across workloads."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from optlab.analysis.formatting import count
from optlab.analysis.summary import WorkloadSummary
from optlab.plots.palette import LineStyle, line_style, styles_by_label
from optlab.plots.style import (
    FAINT,
    MUTED,
    SIZE_SMALL,
    Display,
    RowsDisplay,
    annotate_row,
    name_lines,
)


@dataclass(eq=False, kw_only=True)
class TimeToTargetDisplay(RowsDisplay):
    """Optimizer steps until validation first reached the target; misses at the right edge."""

    steps: Sequence[Sequence[float]]  # of the runs of each label; infinite for a miss
    median_epochs: Sequence[float | None]
    styles: Sequence[LineStyle]
    title: str = "Time to target"

    @classmethod
    def from_summary(
        cls, summary: WorkloadSummary, most: int | None = None
    ) -> "TimeToTargetDisplay":
        """Build rows by median steps, the fewest first, at most `most`.

        Raises:
            ValueError: the workload has no target, or several.
        """
        if summary.target is None:
            raise ValueError(
                f"{summary.workload.title} has no single validation target.\n\n"
                "hint: runs of one workload share the target of their data and model"
            )
        rows = summary.by_steps_to_target[:most]
        styles = styles_by_label(summary.workload.configurations)
        title = f"Steps to {100 * summary.target:g} % validation"
        return cls(
            labels=[row.label for row in rows],
            steps=[[time.step for time in row.reached] for row in rows],
            median_epochs=[row.epochs_to_target for row in rows],
            styles=[styles[row.label] for row in rows],
            title=f"{title}: {summary.workload.title}",
        )

    def draw(self, ax: Axes) -> str:
        rows = self.label_rows(ax)
        finite = [step for steps in self.steps for step in steps if math.isfinite(step)]
        any_miss = any(math.isinf(step) for steps in self.steps for step in steps)
        reach = max(finite, default=1.0)
        edge = 1.14 * reach
        if any_miss:
            ax.axvspan(1.07 * reach, 1.21 * reach, color=FAINT, lw=0, zorder=0)
            ax.text(
                edge, -0.62, "missed", ha="center", va="bottom", fontsize=SIZE_SMALL, color=MUTED
            )
        self.artists["dots"], self.artists["misses"] = [], []
        for row, steps, epochs, style in zip(
            rows, self.steps, self.median_epochs, self.styles, strict=True
        ):
            hits = [step for step in steps if math.isfinite(step)]
            marks: dict[str, Any] = {"ms": 8, "mec": "white", "mew": 0.7, "alpha": 0.9}
            if hits:
                self.artists["dots"] += ax.plot(
                    hits, [row] * len(hits), style.marker, color=style.color, **marks
                )
            if len(hits) < len(steps):
                self.artists["misses"] += ax.plot(
                    edge, row, "x", color=style.color, ms=9, mew=2.2, clip_on=False
                )
            known = epochs is not None and math.isfinite(epochs)
            when = f"epoch {count(epochs)}" if known else "missed"
            if len(steps) > 1:
                when = f"{when}, {len(hits)} of {len(steps)} runs" if hits else "missed by all"
            annotate_row(ax, row, when)
        ax.set_xlim(0, (1.21 if any_miss else 1.05) * reach)
        ax.set_xlabel("optimizer steps")
        return "first validation at or above it; at the right: median epoch"


@dataclass(eq=False, kw_only=True)
class PerformanceProfileDisplay(Display):
    """Share of workloads solved within tau times the best time to target."""

    tau: np.ndarray  # (n,)
    shares: Mapping[str, np.ndarray]  # optimizer -> (n,), in [0, 1]
    num_workloads: int
    title: str = "Performance profile"

    def draw(self, ax: Axes) -> str:
        every = max(len(self.tau) // 5, 1)
        self.artists["lines"] = []
        for index, (name, share) in enumerate(self.shares.items()):
            self.artists["lines"] += ax.plot(
                self.tau,
                100 * share,
                drawstyle="steps-post",
                markevery=(every * (index + 1) // (len(self.shares) + 1), every),
                label=name,
                **line_style(name).line,
            )
        ax.set(xlim=(self.tau[0], self.tau[-1]), ylim=(-3, 103))
        ax.set(xlabel="time to target / best time to target", ylabel="workloads reached (%)")
        ends = [float(share[-1]) for share in self.shares.values()]
        self.artists["labels"] = name_lines(ax, self.artists["lines"], ends)
        return f"{self.num_workloads} workloads; a miss is never reached"
