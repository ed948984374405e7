"""Figures about the time to a validation target, in one problem and across problems."""

import math
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from optlab.results.display import count
from optlab.results.figures.canvas import (
    MUTED,
    SIZE_SMALL,
    Picture,
    axis_names,
    beside_row,
    grid,
    headline,
    line_arguments,
    row_axis,
    rows_sheet,
)
from optlab.results.figures.line_names import lines_sheet, name_lines
from optlab.results.palette import LineStyle, style_of
from optlab.results.summary import ProblemSummary


@dataclass(eq=False)
class TimeToTarget(Picture):
    """Seconds of training until validation first reached the target; misses at the right edge."""

    labels: list[str]
    times_s: list[list[float]]  # one list of runs a group; infinite for a miss
    median_epochs: list[float | None]
    styles: list[LineStyle]
    target: float
    title: str = "Time to target"

    @classmethod
    def from_summary(cls, summary: ProblemSummary) -> "TimeToTarget":
        """Rows by time, the fastest first; the problem needs one target.

        Raises:
            ValueError: the problem has no target, or several.
        """
        if summary.target is None:
            raise ValueError(
                f"{summary.problem.title} has no single validation target.\n\n"
                "hint: runs of one problem share the target of their data and model"
            )
        rows = sorted(
            (row for row in summary.rows if row.reached),
            key=lambda row: (row.time_to_target_s or math.inf, -row.num_reached, row.rank),
        )
        return cls(
            [row.label for row in rows],
            [[time.train_time_s for time in row.reached] for row in rows],
            [row.epochs_to_target for row in rows],
            [row.group.style for row in rows],
            summary.target,
            f"Training time to {100 * summary.target:g} % validation: {summary.problem.title}",
        )

    def plot(self, ax: Axes | None = None) -> "TimeToTarget":
        self.ax = ax = rows_sheet(ax, self.labels, right=1.85)
        rows = row_axis(ax, self.labels)
        finite = [time for times in self.times_s for time in times if math.isfinite(time)]
        reach = max(finite, default=1.0)
        any_miss = any(math.isinf(time) for times in self.times_s for time in times)
        edge = 1.14 * reach
        if any_miss:
            ax.axvspan(1.07 * reach, 1.21 * reach, color="#F1F2F4", lw=0, zorder=0)
            ax.annotate(
                "missed",
                (edge, -0.6),
                xytext=(0, 2),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize=SIZE_SMALL,
                color=MUTED,
                annotation_clip=False,
            )
        self.artists["dots"], self.artists["misses"] = [], []
        for row, times, epochs, style in zip(
            rows, self.times_s, self.median_epochs, self.styles, strict=True
        ):
            hits = [time for time in times if math.isfinite(time)]
            num_missed = len(times) - len(hits)
            if hits:
                self.artists["dots"] += ax.plot(
                    hits,
                    np.full(len(hits), row),
                    style.marker,
                    color=style.color,
                    ms=8,
                    mec="white",
                    mew=0.7,
                    alpha=0.9,
                )
            if num_missed:
                self.artists["misses"] += ax.plot(
                    edge, row, "x", color=style.color, ms=9, mew=2.2, clip_on=False
                )
            known = epochs is not None and math.isfinite(epochs)
            when = f"epoch {count(epochs)}" if known else "missed"
            if len(times) > 1:
                when = f"{when}, {len(hits)} of {len(times)} runs" if hits else "missed by all"
            beside_row(ax, row, when)
        ax.set_xlim(0, (1.21 if any_miss else 1.05) * reach)
        grid(ax, "x")
        axis_names(ax, "seconds of training")
        headline(
            ax,
            self.title,
            "first epoch at or above it; clock without evaluation; beside: median epoch",
        )
        return self


@dataclass(eq=False)
class PerformanceProfile(Picture):
    """Share of problems solved within tau times the best time to target."""

    tau: np.ndarray  # (n,)
    shares: dict[str, np.ndarray]  # optimizer -> (n,), in [0, 1]
    num_problems: int
    title: str = "Performance profile"

    def plot(self, ax: Axes | None = None) -> "PerformanceProfile":
        labels = list(self.shares)
        self.ax = ax = lines_sheet(ax, labels)
        self.artists["lines"] = []
        for index, (name, share) in enumerate(self.shares.items()):
            style = style_of(name)
            every = max(len(self.tau) // 5, 1)
            self.artists["lines"] += ax.plot(
                self.tau,
                100 * share,
                drawstyle="steps-post",
                marker=style.marker,
                ms=4.5,
                markevery=(every * (index + 1) // (len(labels) + 1), every),
                **line_arguments(style, lw=1.8),
            )
        ax.set_xlim(float(self.tau[0]), float(self.tau[-1]))
        ax.set_ylim(-3, 103)
        ax.set_xticks([1, 1.5, 2, 2.5, 3, 3.5, 4])
        grid(ax)
        axis_names(ax, "time to target / best time to target", "problems reached (%)")
        headline(ax, self.title, f"{self.num_problems} problems; a miss is never reached")
        self.artists["labels"] = name_lines(
            ax,
            [(float(self.tau[-1]), 100 * float(share[-1])) for share in self.shares.values()],
            labels,
            [style_of(name) for name in labels],
        )
        return self
