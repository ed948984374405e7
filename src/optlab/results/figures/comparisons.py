"""Comparisons between groups: paired differences, generalisation gap, cost."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from optlab.results.display import count, points
from optlab.results.figures.canvas import (
    INK,
    SIZE_SMALL,
    Picture,
    axis_names,
    beside_row,
    grid,
    headline,
    row_axis,
    rows_sheet,
    shortened,
    text_height,
    text_width,
)
from optlab.results.palette import LineStyle
from optlab.results.statistics import MIN_PAIRS, PairedDifference
from optlab.results.summary import ProblemSummary


@dataclass(eq=False)
class PairedDifferences(Picture):
    """Forest plot: each group minus the best in test accuracy, with its bootstrap interval."""

    labels: list[str]
    differences: list[PairedDifference]
    styles: list[LineStyle]
    best: str
    title: str = "Difference in test accuracy"

    @classmethod
    def from_summary(cls, summary: ProblemSummary) -> "PairedDifferences":
        compared = summary.compared()
        return cls(
            [row.label for row, _ in compared],
            [difference for _, difference in compared],
            [row.group.style for row, _ in compared],
            summary.best.label if summary.best else "",
            f"Difference in test accuracy: {summary.problem.title}",
        )

    def plot(self, ax: Axes | None = None) -> "PairedDifferences":
        words = [self._words(difference) for difference in self.differences]
        name = f"test accuracy minus that of {self.best} (percentage points)"
        name = shortened(name, 60)
        self.ax = ax = rows_sheet(
            ax,
            self.labels,
            right=text_width(words, SIZE_SMALL) + 0.3,
            bottom=0.43 + text_height([name]),
        )
        rows = row_axis(ax, self.labels)
        ax.axvline(0, color=INK, lw=1)
        self.artists["means"], self.artists["intervals"] = [], []
        for row, difference, style in zip(rows, self.differences, self.styles, strict=True):
            mean = difference.mean
            if mean is None:
                continue
            each = 100 * np.array(difference.differences)
            if len(each) > 1:
                ax.plot(
                    each, np.full(len(each), row + 0.22), "o", ms=3, color=style.color, alpha=0.5
                )
            if difference.low is not None and difference.high is not None:
                ends = [100 * difference.low, 100 * difference.high]
                self.artists["intervals"] += ax.plot(
                    ends, [row, row], color=style.color, lw=2.6, solid_capstyle="butt"
                )
            self.artists["means"] += ax.plot(
                100 * mean, row, style.marker, color=style.color, ms=7.5, mec="white", mew=0.8
            )
        self._limit(ax, rows)
        self.artists["words"] = [
            beside_row(ax, row, text) for row, text in zip(rows, words, strict=True)
        ]
        grid(ax, "x")
        axis_names(ax, name)
        numbers = [d.num_pairs for d in self.differences if d.low is not None]
        if not numbers:
            note = "one pair each: no interval"
        elif max(numbers) < MIN_PAIRS:
            note = "line: range of the pairs, too few for an interval; small dots: each pair"
        else:
            few = f" (below {MIN_PAIRS} pairs: their range)" if min(numbers) < MIN_PAIRS else ""
            note = f"line: 95 % bootstrap interval of the mean{few}; "
            note += "small dots: each pair"
        if self.artists["beyond"]:
            note += "; arrow: beyond the axis"
        headline(ax, self.title, note)
        return self

    def _limit(self, ax: Axes, rows: np.ndarray) -> None:
        """Keep the axis to the close ones, where the question is; far ones become an arrow."""
        spans = [
            max(100 * abs(value) for value in [*d.differences, d.low or 0.0, d.high or 0.0])
            for d in self.differences
        ]
        near = [span for span in spans if span <= 4 * max(float(np.median(spans)), 0.02)]
        values = [
            100 * value
            for d, span in zip(self.differences, spans, strict=True)
            if span in near
            for value in [*d.differences, d.low or 0.0, d.high or 0.0, 0.0]
        ]
        low, high = min(values, default=-1.0), max(values, default=1.0)
        margin = max(0.08 * (high - low), 0.02)
        ax.set_xlim(low - margin, high + margin)
        self.artists["beyond"] = []
        for row, d, span, style in zip(rows, self.differences, spans, self.styles, strict=True):
            if span not in near and d.mean is not None:
                side = 0.02 if d.mean < 0 else 0.98
                self.artists["beyond"] += ax.plot(
                    [side],
                    [row],
                    "<" if d.mean < 0 else ">",
                    color=style.color,
                    ms=9,
                    clip_on=False,
                    transform=ax.get_yaxis_transform(),
                )

    @staticmethod
    def _words(difference: PairedDifference) -> str:
        """The verdict in the figure; the text of the report has the long one."""
        if difference.low is not None and not difference.is_separated:
            if difference.verdict != "not separable":
                return f"{points(difference.mean)}, too few pairs"
            return f"{points(difference.mean)}, not separable"
        if difference.is_separated:
            return f"{points(difference.mean)}, {difference.verdict}"
        return points(difference.mean)


@dataclass(eq=False)
class GeneralisationGap(Picture):
    """Train against test accuracy at the best-validation weights, one row a group."""

    labels: list[str]
    train: np.ndarray  # (num_groups,), fractions
    test: np.ndarray
    styles: list[LineStyle]
    title: str = "Generalisation gap"

    @classmethod
    def from_summary(cls, summary: ProblemSummary) -> "GeneralisationGap":
        labels, train, test, styles = [], [], [], []
        for row in summary.finished:
            on_train, on_test = row.accuracy("train"), row.accuracy("test")
            if on_train and on_test:
                labels.append(row.label)
                train.append(on_train.mean)
                test.append(on_test.mean)
                styles.append(row.group.style)
        title = f"Train and test accuracy: {summary.problem.title}"
        return cls(labels, np.array(train), np.array(test), styles, title)

    def plot(self, ax: Axes | None = None) -> "GeneralisationGap":
        self.ax = ax = rows_sheet(ax, self.labels, right=1.05)
        rows = row_axis(ax, self.labels)
        self.artists["gaps"] = []
        for row, train, test, style in zip(rows, self.train, self.test, self.styles, strict=True):
            self.artists["gaps"] += ax.plot(
                [100 * test, 100 * train], [row, row], color=style.color, lw=3, alpha=0.45
            )
            ax.plot(100 * train, row, "o", ms=7.5, mfc="white", mec=style.color, mew=1.8)
            ax.plot(100 * test, row, "o", ms=8, color=style.color)
            beside_row(ax, row, f"{points(train - test)} points")
        grid(ax, "x")
        axis_names(ax, "accuracy (%)")
        headline(ax, self.title, "filled: test; hollow: train (no augmentation, no dropout)")
        return self


@dataclass(eq=False)
class TrainingCost(Picture):
    """Seconds of training, one row a group, a dot for each run; images per second beside it."""

    labels: list[str]
    train_time_s: list[np.ndarray]  # one array of runs a group
    images_per_s: list[float | None]
    styles: list[LineStyle]
    title: str = "Training cost"

    @classmethod
    def from_summary(cls, summary: ProblemSummary) -> "TrainingCost":
        rows = [row for row in summary.finished if row.mean(lambda run: run.number("train_time_s"))]
        speeds = [row.mean(lambda run: run.number("images_per_s")) for row in rows]
        return cls(
            [row.label for row in rows],
            [
                np.array([t for t in (r.number("train_time_s") for r in row.group.finished) if t])
                for row in rows
            ],
            [speed.mean if speed else None for speed in speeds],
            [row.group.style for row in rows],
            f"Seconds of training: {summary.problem.title}",
        )

    def plot(self, ax: Axes | None = None) -> "TrainingCost":
        self.ax = ax = rows_sheet(ax, self.labels, right=1.45)
        rows = row_axis(ax, self.labels)
        self.artists["bars"] = []
        for row, times, speed, style in zip(
            rows, self.train_time_s, self.images_per_s, self.styles, strict=True
        ):
            mean = float(times.mean()) if len(times) else 0.0
            self.artists["bars"].append(
                ax.barh(row, mean, height=0.5, color=style.color, alpha=0.85)
            )
            if len(times) > 1:
                ax.plot(times, np.full(len(times), row), "o", ms=3.5, color=INK, alpha=0.6)
            beside_row(ax, row, f"{count(round(speed))} images/s" if speed else "")
        grid(ax, "x")
        axis_names(ax, "seconds of training (evaluation and logging not counted)")
        several = any(len(times) > 1 for times in self.train_time_s)
        headline(ax, self.title, "bar: mean; dots: each run" if several else "one run each")
        return self
