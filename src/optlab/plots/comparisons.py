"""Comparisons of configurations: paired differences, generalization gap, training cost."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from optlab.analysis.comparisons import Difference
from optlab.analysis.formatting import count, joined, points
from optlab.analysis.summary import WorkloadSummary
from optlab.plots.palette import LineStyle, styles_by_label
from optlab.plots.style import INK, RowsDisplay, annotate_row, wrapped


@dataclass(eq=False, kw_only=True)
class PairedDifferencesDisplay(RowsDisplay):
    """Forest plot: each configuration minus the best in test accuracy, with its interval."""

    differences: Sequence[Difference]
    styles: Sequence[LineStyle]
    best: str
    title: str = "Difference in test accuracy"

    @classmethod
    def from_summary(cls, summary: WorkloadSummary) -> "PairedDifferencesDisplay":
        compared = summary.compared()
        styles = styles_by_label(summary.workload.configurations)
        return cls(
            labels=[row.label for row, _ in compared],
            differences=[difference for _, difference in compared],
            styles=[styles[row.label] for row, _ in compared],
            best=summary.best.name if summary.best else "",
            title=f"Difference in test accuracy: {summary.workload.title}",
        )

    def draw(self, ax: Axes) -> str:
        rows = self.label_rows(ax)
        ax.axvline(0, color=INK, lw=1)
        self.artists["means"], self.artists["intervals"] = [], []
        for row, difference, style in zip(rows, self.differences, self.styles, strict=True):
            if difference.mean is None:
                continue
            each = 100 * np.array(difference.differences)
            if len(each) > 1:
                ax.plot(each, [row + 0.22] * len(each), "o", ms=3, color=style.color, alpha=0.5)
            if difference.low is not None and difference.high is not None:
                ends = [100 * difference.low, 100 * difference.high]
                self.artists["intervals"] += ax.plot(
                    ends, [row, row], color=style.color, lw=2.6, solid_capstyle="butt"
                )
            self.artists["means"] += ax.plot(
                100 * difference.mean, row, style.marker, color=style.color, ms=7.5, mec="white"
            )
        self._limit(ax, rows)
        self.artists["words"] = [
            annotate_row(ax, row, f"{points(difference.mean)}, {difference.conclusion}")
            for row, difference in zip(rows, self.differences, strict=True)
        ]
        ax.set_xlabel(wrapped(f"test accuracy minus that of {self.best} (percentage points)", 60))
        note = "one seed each: no interval"
        if any(one.low is not None for one in self.differences):
            of = joined(sorted({one.confidence for one in self.differences}))
            note = f"line: simultaneous {of} interval of the mean; small dots: each seed"
        return note + ("; arrow: beyond the axis" if self.artists["beyond"] else "")

    def _limit(self, ax: Axes, rows: np.ndarray) -> None:
        """Limit the axis to the close ones, where the question is; far ones become an arrow."""
        values = [
            100 * np.array([*one.differences, one.low or 0.0, one.high or 0.0, 0.0])
            for one in self.differences
        ]
        spans = np.array([np.abs(each).max() for each in values])
        near = spans <= 4 * max(float(np.median(spans)), 0.02)
        shown = np.concatenate(
            [each for each, is_near in zip(values, near, strict=True) if is_near]
        )
        margin = max(0.08 * float(np.ptp(shown)), 0.02)
        ax.set_xlim(shown.min() - margin, shown.max() + margin)
        self.artists["beyond"] = []
        for index in np.flatnonzero(~near).tolist():
            is_below = (self.differences[index].mean or 0) < 0
            self.artists["beyond"] += ax.plot(
                0.02 if is_below else 0.98,
                rows[index],
                "<" if is_below else ">",
                color=self.styles[index].color,
                ms=9,
                clip_on=False,
                transform=ax.get_yaxis_transform(),
            )


@dataclass(eq=False, kw_only=True)
class GeneralizationGapDisplay(RowsDisplay):
    """Train against test accuracy at the judged weights, a row for each label."""

    train: Sequence[float]  # fractions
    test: Sequence[float]
    styles: Sequence[LineStyle]
    title: str = "Generalization gap"

    @classmethod
    def from_summary(cls, summary: WorkloadSummary) -> "GeneralizationGapDisplay":
        styles = styles_by_label(summary.workload.configurations)
        found = [(row, row.accuracy("train"), row.accuracy("test")) for row in summary.finished]
        shown = [(row.label, train.mean, test.mean) for row, train, test in found if train and test]
        return cls(
            labels=[label for label, *_ in shown],
            train=[train for _, train, _ in shown],
            test=[test for *_, test in shown],
            styles=[styles[label] for label, *_ in shown],
            title=f"Train and test accuracy: {summary.workload.title}",
        )

    def draw(self, ax: Axes) -> str:
        rows = self.label_rows(ax)
        self.artists["gaps"] = []
        for row, train, test, style in zip(rows, self.train, self.test, self.styles, strict=True):
            self.artists["gaps"] += ax.plot(
                [100 * test, 100 * train], [row, row], color=style.color, lw=3, alpha=0.45
            )
            ax.plot(100 * train, row, "o", ms=7.5, mfc="white", mec=style.color, mew=1.8)
            ax.plot(100 * test, row, "o", ms=8, color=style.color)
            annotate_row(ax, row, f"{points(train - test)} points")
        ax.set_xlabel("accuracy (%)")
        return "filled: test; hollow: train (no augmentation, no dropout)"


@dataclass(eq=False, kw_only=True)
class TrainingCostDisplay(RowsDisplay):
    """Seconds of training, a dot for each run, with images per second."""

    train_time_s: Sequence[np.ndarray]  # of the runs of each label
    images_per_s: Sequence[float | None]
    styles: Sequence[LineStyle]
    title: str = "Training cost"

    @classmethod
    def from_summary(cls, summary: WorkloadSummary) -> "TrainingCostDisplay":
        styles = styles_by_label(summary.workload.configurations)
        times = {
            row.label: np.array(
                [t for run in row.configuration.finished if (t := run.record.train_time_s)]
            )
            for row in summary.finished
        }
        rows = [row for row in summary.finished if len(times[row.label])]
        return cls(
            labels=[row.label for row in rows],
            train_time_s=[times[row.label] for row in rows],
            images_per_s=[row.mean_of_record("images_per_s") for row in rows],
            styles=[styles[row.label] for row in rows],
            title=f"Seconds of training: {summary.workload.title}",
        )

    def draw(self, ax: Axes) -> str:
        rows = self.label_rows(ax)
        means = [times.mean() for times in self.train_time_s]
        colors = [style.color for style in self.styles]
        self.artists["bars"] = ax.barh(rows, means, height=0.5, color=colors, alpha=0.85)
        for row, times, speed in zip(rows, self.train_time_s, self.images_per_s, strict=True):
            if len(times) > 1:
                ax.plot(times, [row] * len(times), "o", ms=3.5, color=INK, alpha=0.6)
            annotate_row(ax, row, f"{count(round(speed))} images/s" if speed else "")
        ax.set_xlabel("seconds of training (evaluation and logging not counted)")
        several = any(len(times) > 1 for times in self.train_time_s)
        return "bar: mean; dots: each run" if several else "one run each"
