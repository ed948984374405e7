"""Curves over a run: training loss over steps, validation accuracy over epochs.

With several seeds a line is their mean and its band the 95 % interval of that mean (the range of
the two, for two seeds); it ends where the first seed stopped. Diverged runs are drawn alone, up to
a cross where they broke off.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from optlab.results.figures.canvas import (
    INK,
    Picture,
    axis_names,
    grid,
    headline,
    stretched_percent,
    with_thousands,
)
from optlab.results.figures.curve import (
    Curve,
    band,
    band_note,
    cross_note,
    cut_note,
    draw_curve,
    until_broken,
)
from optlab.results.figures.line_names import lines_sheet, name_lines
from optlab.results.figures.smoothing import centred_mean, envelope, thin, window_for
from optlab.results.groups import Group

LOG_AXIS_FROM = 15.0  # ratio of the largest to the smallest smoothed loss


@dataclass(eq=False)
class LossCurves(Picture):
    """Training loss over optimizer steps, one line a group, raw losses faint behind it."""

    curves: list[Curve]
    window: int  # steps in the smoothing window
    title: str = "Training loss"

    @classmethod
    def from_groups(cls, groups: Sequence[Group], title: str = "Training loss") -> "LossCurves":
        longest = max((len(run.steps) for group in groups for run in group.runs), default=1)
        window = window_for(longest)
        return cls([_loss_curve(group, window) for group in groups], window, title)

    def plot(self, ax: Axes | None = None) -> "LossCurves":
        drawn = [curve for curve in self.curves if curve.end is not None]
        labels = [curve.label for curve in drawn]
        self.ax = ax = lines_sheet(ax, labels)
        low, high = self._limits(drawn)
        if high / low > LOG_AXIS_FROM:
            ax.set_yscale("log")
            ax.set_ylim(low / 1.5, high * 1.3)
        else:
            ax.set_ylim(max(low - 0.08 * (high - low), 0), high + 0.05 * (high - low))
        faint = 0.16 if len(drawn) <= 6 else 0.1
        for curve in drawn:
            if curve.raw is not None and curve.raw_x is not None:
                ax.plot(curve.raw_x, curve.raw, color=curve.style.color, alpha=faint, lw=0.5)
        for curve in drawn:
            if curve.low is not None and curve.high is not None:
                tiny = low / 10  # a log axis cannot show a band that reaches zero
                ax.fill_between(
                    curve.x,
                    np.maximum(curve.low, tiny),
                    curve.high,
                    color=curve.style.color,
                    alpha=0.2,
                    lw=0,
                )
        self.artists["lines"] = [draw_curve(ax, curve, index) for index, curve in enumerate(drawn)]
        ax.set_xlim(0, 1.006 * max((curve.end[0] for curve in drawn if curve.end), default=1.0))
        grid(ax)
        with_thousands(ax)
        axis_names(ax, "optimizer step", "cross-entropy of the batch")
        notes = [f"line: mean of {self.window} steps" if self.window > 1 else "line: every step"]
        if any(curve.raw is not None for curve in drawn):
            notes.append("faint: every step")
        notes += [note for note in (band_note(drawn), cut_note(drawn), cross_note(drawn)) if note]
        headline(ax, self.title, "; ".join(notes))
        ends = [curve.end for curve in drawn if curve.end]
        self.artists["labels"] = name_lines(ax, ends, labels, [curve.style for curve in drawn])
        return self

    @staticmethod
    def _limits(curves: Sequence[Curve]) -> tuple[float, float]:
        """Range of the smoothed losses; a diverging one is followed a little above its start."""
        whole = [curve.mean for curve in curves if len(curve.mean)]
        broken = [y for curve in curves for _, y in curve.broken_off if len(y)]
        starts = [float(y[0]) for y in [*whole, *broken]]
        lows = [float(y[y > 0].min()) for y in [*whole, *broken] if (y > 0).any()]
        highs = [float(y.max()) for y in whole] + starts
        highs += [min(float(y.max()), 1.5 * max(starts)) for y in broken]
        if not lows:
            return 0.1, 1.0
        return max(min(lows), 1e-8), max([*highs, min(lows) * 1.01])


def _loss_curve(group: Group, window: int) -> Curve:
    smooth, raws, broken = [], [], []
    for run in group.runs:
        if run.steps.empty or run.status == "failed":
            continue
        x, y = run.steps["step"].to_numpy(), run.steps["train/loss"].to_numpy()
        x, y = until_broken(x, y)
        if not len(y):
            continue
        if run.status == "diverged":
            index = thin(len(y))
            broken.append((x[index], centred_mean(y, window, sharp_end=True)[index]))
        else:
            smooth.append(centred_mean(y, window))
            raws.append((x, y))
    if not smooth:
        return Curve(group.label, group.style, np.array([]), np.array([]), broken_off=broken)
    length = min(map(len, smooth))
    index = thin(length)
    stack = np.stack([values[:length][index] for values in smooth])
    low, high = band(stack)
    raw_x: np.ndarray | None = None
    raw: np.ndarray | None = None
    if len(smooth) == 1:  # the noise of several seeds would hide their bands
        raw_x, raw = raws[0]
        picked = envelope(raw)
        raw_x, raw = raw_x[picked], raw[picked]
    x = raws[0][0][:length][index]
    mean = stack.mean(axis=0)
    return Curve(
        *(group.label, group.style, x, mean, low, high, raw_x, raw, broken),
        num_runs=len(smooth),
        is_cut=max(map(len, smooth)) > length,
    )


@dataclass(eq=False)
class AccuracyCurves(Picture):
    """Validation accuracy over epochs, one line a group."""

    curves: list[Curve]
    target: float | None = None
    title: str = "Validation accuracy"

    @classmethod
    def from_groups(
        cls,
        groups: Sequence[Group],
        target: float | None = None,
        title: str = "Validation accuracy",
    ) -> "AccuracyCurves":
        return cls([_accuracy_curve(group) for group in groups], target, title)

    def plot(self, ax: Axes | None = None) -> "AccuracyCurves":
        drawn = [curve for curve in self.curves if curve.end is not None]
        labels = [curve.label for curve in drawn]
        self.ax = ax = lines_sheet(ax, labels)
        values = [float(value) for curve in drawn for value in curve.mean]
        for curve in drawn:
            if curve.low is not None and curve.high is not None:
                values += [float(curve.low.min()), min(float(curve.high.max()), 1.0)]
        values += [value for curve in drawn for _, y in curve.broken_off for value in y]
        stretched = stretched_percent(ax, [*values, *([self.target] if self.target else [])])
        for curve in drawn:
            if curve.low is not None and curve.high is not None:
                low, high = np.clip(curve.low, 0, 1), np.clip(curve.high, 0, 1)
                ax.fill_between(
                    curve.x, 100 * low, 100 * high, color=curve.style.color, alpha=0.2, lw=0
                )
        self.artists["lines"] = []
        for index, curve in enumerate(drawn):
            percent = Curve(
                curve.label,
                curve.style,
                curve.x,
                100 * curve.mean,
                broken_off=[(x, 100 * y) for x, y in curve.broken_off],
            )
            self.artists["lines"].append(draw_curve(ax, percent, index))
        last = max((curve.end[0] for curve in drawn if curve.end), default=1.0)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        margin = 0.015 * (last - 1) if last > 1 else 0.5
        ax.set_xlim(1 - margin, last + margin)
        if last == 1:
            ax.set_xticks([1])
        if self.target is not None:
            ax.axhline(100 * self.target, color=INK, lw=1, ls=(0, (1, 2)), zorder=1.5)
        grid(ax)
        axis_names(ax, "epoch", "validation accuracy (%)")
        notes = [band_note(drawn), cut_note(drawn), cross_note(drawn), stretched]
        if self.target is not None:
            notes.insert(0, f"dotted line: target {100 * self.target:g} %")
        headline(ax, self.title, "; ".join(note for note in notes if note))
        ends = [(curve.end[0], 100 * curve.end[1]) for curve in drawn if curve.end]
        self.artists["labels"] = name_lines(ax, ends, labels, [curve.style for curve in drawn])
        return self


def _accuracy_curve(group: Group) -> Curve:
    whole: list[np.ndarray] = []
    broken: list[tuple[np.ndarray, np.ndarray]] = []
    x = np.array([])
    for run in group.runs:
        if run.epochs.empty or run.status == "failed":
            continue
        epoch, accuracy = until_broken(
            run.epochs["epoch"].to_numpy(), run.epochs["val/accuracy"].to_numpy()
        )
        if not len(epoch):
            continue
        if run.status == "diverged":
            broken.append((epoch, accuracy))
        else:
            whole.append(accuracy)
            x = epoch
    if not whole:
        return Curve(group.label, group.style, np.array([]), np.array([]), broken_off=broken)
    length = min(map(len, whole))
    stack = np.stack([values[:length] for values in whole])
    return Curve(
        group.label,
        group.style,
        x[:length],
        stack.mean(axis=0),
        *band(stack),
        broken_off=broken,
        num_runs=len(whole),
        is_cut=max(map(len, whole)) > length,
    )
