"""Curves over a run: training loss over steps, validation accuracy over epochs.

With several seeds a line is their mean and its band the 95 % interval of that mean (the range of
the two, for two seeds); it ends where the first seed stopped. Every diverged run has a line of its
own, up to a cross where it broke off.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from optlab.analysis.records import Run
from optlab.analysis.statistics import half_width_of_mean
from optlab.analysis.workloads import Configuration
from optlab.plots.palette import LineStyle, styles_by_label
from optlab.plots.percent_axis import stretched_percent
from optlab.plots.style import INK, MUTED, WIDTH_IN, Display, divide, name_lines, with_thousands

MOST_BAND_POINTS = 1000
LOG_AXIS_FROM = 15.0  # ratio of the largest to the smallest smoothed loss
Points = tuple[np.ndarray, np.ndarray]  # x and y, each of shape (n,)


@dataclass(eq=False)
class Curve:
    """One line: x and mean of shape (n,), and a band where there are several runs."""

    label: str
    style: LineStyle
    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    broken_off: list[Points] = field(default_factory=list)  # diverged runs
    num_runs: int = 1
    is_cut: bool = False  # some of its runs are longer

    @property
    def end(self) -> tuple[float, float] | None:
        """The line's last point, or that of the longest diverged run."""
        pieces = [(self.x, self.mean)] if len(self.x) else self.broken_off
        if not pieces:
            return None
        x, y = max(pieces, key=lambda piece: len(piece[0]))
        return float(x[-1]), float(y[-1])


def build_curve(
    configuration: Configuration,
    style: LineStyle,
    read: Callable[[Run], Points],
    smooth: Callable[[np.ndarray, bool], np.ndarray] = lambda y, is_diverged: y,
) -> Curve:
    """The mean over the runs of a configuration, each up to its first value that is not finite.

    Args:
        read: x and y of a run.
        smooth: y smoothed; it is called with whether the run diverged.
    """
    whole: list[Points] = []
    broken: list[Points] = []
    for run in configuration.runs:
        x, y = read(run)  # of a failed run as well, so that a missing file is noted
        length = int(np.isfinite(y).cumprod().sum())
        if length and run.status != "failed":
            is_diverged = run.status == "diverged"
            points = x[:length], smooth(y[:length], is_diverged)
            (broken if is_diverged else whole).append(points)
    curve = Curve(configuration.label, style, np.array([]), np.array([]), broken_off=broken)
    if whole:
        lengths = [len(x) for x, _ in whole]
        stack = np.stack([y[: min(lengths)] for _, y in whole])
        curve.x, curve.mean = whole[0][0][: min(lengths)], stack.mean(axis=0)
        curve.num_runs, curve.is_cut = len(whole), max(lengths) > min(lengths)
        if len(whole) == 2:
            curve.low, curve.high = stack.min(axis=0), stack.max(axis=0)
        elif len(whole) > 2:
            half = half_width_of_mean(stack)
            curve.low, curve.high = curve.mean - half, curve.mean + half
    return curve


def window_for(num_steps: int) -> int:
    """Steps in a smoothing window: about a 25th of the run, odd, at most 801."""
    return int(min(max(num_steps // 25, 1), 801)) // 2 * 2 + 1


def centered_mean(values: np.ndarray, window: int, sharp_end: bool = False) -> np.ndarray:
    """Mean over `window` values around each one.

    Near the start the window shrinks on both sides, so the first fall of a loss is not delayed
    or blunted. Near the end it is cut on the right only, so the end is not one noisy batch. With
    `sharp_end` the last half window stays as it is, so a divergence is shown where it happened.
    """
    values = np.asarray(values, dtype=float)
    if sharp_end:
        settled = max(len(values) - window // 2, 0)
        return np.concatenate([centered_mean(values[:settled], window), values[settled:]])
    index = np.arange(len(values))
    half = np.minimum(window // 2, index)
    low, high = index - half, np.minimum(index + half, len(values) - 1)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    return (sums[high + 1] - sums[low]) / (high + 1 - low)


def band_counts(curves: Sequence[Curve]) -> list[int]:
    """Return how many runs curves with a band have, rising; of two the band is their range."""
    return sorted({curve.num_runs for curve in curves if curve.low is not None})


def band_note(curves: Sequence[Curve]) -> str:
    counts = band_counts(curves)
    intervals = [count for count in counts if count > 2]
    if not intervals:
        return "band: range of 2 runs" if counts else ""
    runs = " to ".join(str(count) for count in sorted({intervals[0], intervals[-1]}))
    return f"band: 95 % over {runs} runs" + (" (2 runs: range)" if 2 in counts else "")


@dataclass(eq=False, kw_only=True)
class _CurvesDisplay(Display):
    curves: list[Curve]

    @property
    def drawn(self) -> list[Curve]:
        """The curves that have a point."""
        return [curve for curve in self.curves if curve.end is not None]

    def _draw_curves(self, ax: Axes, lowest: float, highest: float) -> list[str]:
        """Draw bands (between the given limits), lines, crosses and names; returns notes."""
        for curve in self.drawn:
            if curve.low is not None and curve.high is not None:
                num = len(curve.x)  # more points than pixels would only make an SVG large
                kept = np.unique(np.linspace(0, num - 1, min(num, MOST_BAND_POINTS)).astype(int))
                low, high = np.clip((curve.low[kept], curve.high[kept]), lowest, highest)
                ax.fill_between(curve.x[kept], low, high, color=curve.style.color, alpha=0.2, lw=0)
        self.artists["lines"] = [
            self._draw_line(ax, curve, index) for index, curve in enumerate(self.drawn)
        ]
        self.artists["labels"] = name_lines(
            ax,
            [lines[0] for lines in self.artists["lines"]],
            [curve.end[1] for curve in self.drawn if curve.end],
        )
        cut, broken = (
            any(getattr(curve, name) for curve in self.drawn) for name in ("is_cut", "broken_off")
        )
        notes = [band_note(self.drawn)]
        notes += ["a line ends where its first run stopped"] * cut
        notes += ["cross: diverged"] * broken
        return [note for note in notes if note]

    @staticmethod
    def _draw_line(ax: Axes, curve: Curve, index: int) -> list[Line2D]:
        every = max(len(curve.x) // 7, 1)
        shift = every * (2 + index % 5) // 6 if every > 1 else 0  # markers of two lines differ
        lines = ax.plot(
            curve.x, curve.mean, markevery=(shift, every), label=curve.label, **curve.style.line
        )
        for x, y in curve.broken_off:
            lines += ax.plot(x, y, **(curve.style.line | {"marker": ""}), lw=1.0, alpha=0.8)
            end = min(y[-1], ax.get_ylim()[1])
            color = curve.style.color
            lines += ax.plot(x[-1], end, "x", color=color, ms=8, mew=2, clip_on=False)
        return lines

    def _last(self) -> float:
        return max((curve.end[0] for curve in self.drawn if curve.end), default=1.0)


def _read(table: pd.DataFrame, x: str, y: str) -> Points:
    return table[x].to_numpy(), table[y].to_numpy()


@dataclass(eq=False, kw_only=True)
class LossCurvesDisplay(_CurvesDisplay):
    """Training loss over optimizer steps, a line for each configuration.

    `raw` holds the losses of every step, which are drawn faint, of configurations with one run: the
    noise of several seeds would hide their bands.
    """

    window: int  # steps in the smoothing window
    raw: Mapping[str, Points] = field(default_factory=dict)  # by label
    title: str = "Training loss"

    @classmethod
    def from_configurations(
        cls,
        configurations: Iterable[Configuration],
        styles: Mapping[str, LineStyle] | None = None,
        title: str = "Training loss",
    ) -> "LossCurvesDisplay":
        """Build from runs; `styles` are by label, by default those of `styles_by_label`."""
        configurations = list(configurations)
        styles = styles or styles_by_label(configurations)
        runs = [run for one in configurations for run in one.runs]
        window = window_for(max((len(run.steps) for run in runs), default=1))

        def read(run: Run) -> Points:
            return _read(run.steps, "step", "train/loss")

        def smooth(loss: np.ndarray, is_diverged: bool) -> np.ndarray:
            return centered_mean(loss, window, sharp_end=is_diverged)

        curves = [build_curve(one, styles[one.label], read, smooth) for one in configurations]
        raw = {
            one.label: read(one.finished[0])
            for one in configurations
            if len(one.finished) == 1 and len(one.finished[0].steps)
        }
        return cls(curves=curves, window=window, raw=raw, title=title)

    def draw(self, ax: Axes) -> str:
        low, high = self._limits()
        if high / low > LOG_AXIS_FROM:
            ax.set_yscale("log")
            ax.set_ylim(low / 1.5, high * 1.3)
        else:
            ax.set_ylim(max(low - 0.08 * (high - low), 0), high + 0.05 * (high - low))
        alpha = 0.16 if len(self.drawn) <= 6 else 0.1
        for curve in self.drawn:
            if curve.label in self.raw:
                ax.plot(*self.raw[curve.label], color=curve.style.color, alpha=alpha, lw=0.5)
        # A log axis cannot show a band that reaches zero
        notes = self._draw_curves(ax, lowest=low / 10, highest=np.inf)
        ax.set_xlim(0, 1.006 * self._last())
        with_thousands(ax)
        ax.set(xlabel="optimizer step", ylabel="cross-entropy of the batch")
        smoothing = f"line: mean of {self.window} steps" if self.window > 1 else "line: every step"
        return "; ".join([smoothing, *["faint: every step"] * bool(self.raw), *notes])

    def _limits(self) -> tuple[float, float]:
        """Range of the smoothed losses; a diverging one is followed a little above its start."""
        whole = [curve.mean for curve in self.drawn if len(curve.mean)]
        broken = [y for curve in self.drawn for _, y in curve.broken_off]
        starts = [float(y[0]) for y in [*whole, *broken]]
        lows = [float(y[y > 0].min()) for y in [*whole, *broken] if (y > 0).any()]
        highs = [float(y.max()) for y in whole] + starts
        highs += [min(float(y.max()), 1.5 * max(starts)) for y in broken]
        if not lows:
            return 0.1, 1.0
        return max(min(lows), 1e-8), max([*highs, min(lows) * 1.01])


@dataclass(eq=False, kw_only=True)
class AccuracyCurvesDisplay(_CurvesDisplay):
    """Validation accuracy in percent over epochs, a line for each configuration."""

    target: float | None = None  # a fraction
    title: str = "Validation accuracy"

    @classmethod
    def from_configurations(
        cls,
        configurations: Iterable[Configuration],
        styles: Mapping[str, LineStyle] | None = None,
        target: float | None = None,
        title: str = "Validation accuracy",
    ) -> "AccuracyCurvesDisplay":
        configurations = list(configurations)
        styles = styles or styles_by_label(configurations)

        def read(run: Run) -> Points:
            epoch, accuracy = _read(run.epochs, "epoch", "val/accuracy")
            return epoch, 100 * accuracy

        curves = [build_curve(one, styles[one.label], read) for one in configurations]
        return cls(curves=curves, target=target, title=title)

    def draw(self, ax: Axes) -> str:
        shown = [np.ravel([] if self.target is None else [100 * self.target])]
        for curve in self.drawn:
            shown += [curve.mean, *(y for _, y in curve.broken_off)]
            if curve.low is not None and curve.high is not None:
                shown += [curve.low, np.minimum(curve.high, 100)]
        stretched = stretched_percent(ax, np.concatenate(shown) / 100)
        notes = self._draw_curves(ax, lowest=0, highest=100) + [stretched] * bool(stretched)
        last = self._last()
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        margin = 0.015 * (last - 1) if last > 1 else 0.5
        ax.set_xlim(1 - margin, last + margin)
        if last == 1:
            ax.set_xticks([1])
        if self.target is not None:
            ax.axhline(100 * self.target, color=INK, lw=1, ls=(0, (1, 2)), zorder=1.5)
            notes.insert(0, f"dotted line: target {100 * self.target:g} %")
        ax.set(xlabel="epoch", ylabel="validation accuracy (%)")
        return "; ".join(notes)


@dataclass(eq=False, kw_only=True)
class LossAndAccuracyDisplay(Display):
    """One run: training and validation loss and accuracy over its epochs, in two `panels`."""

    epochs: pd.DataFrame  # with the columns of epochs.csv
    best_epoch: int | None = None
    title: str = "Loss and accuracy"

    figure_size = (1.17 * WIDTH_IN, 3.5)

    def draw(self, ax: Axes) -> str:
        self.artists["panels"], self.artists["lines"] = divide(ax, 1, 2)[0], []
        x = self.epochs["epoch"].to_numpy()
        for panel, quantity, label, scale in zip(
            self.artists["panels"],
            ("loss", "accuracy"),
            ("cross-entropy", "accuracy (%)"),
            (1, 100),
            strict=True,
        ):
            for split, name, color, dashes, marker in (
                ("train", "training", "#0072B2", "-", "o"),
                ("val", "validation", "#D55E00", (0, (5, 1.6)), "s"),
            ):
                y = scale * self.epochs[f"{split}/{quantity}"].to_numpy()
                self.artists["lines"] += panel.plot(
                    x, y, color=color, ls=dashes, marker=marker, label=name
                )
            if self.best_epoch is not None:
                panel.axvline(self.best_epoch, color=MUTED, lw=1, ls=(0, (2, 2)), zorder=1)
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
            if len(x) < 2:
                panel.set(xlim=(0.5, 1.5), xticks=[1])
            panel.set(xlabel="epoch", ylabel=label)
            panel.legend()
        note = "training: mean over the epoch's batches, while the weights move"
        best = f"; dotted: best validation, epoch {self.best_epoch}"
        return note + (best if self.best_epoch is not None else "")
