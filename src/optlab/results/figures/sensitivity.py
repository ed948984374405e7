"""Validation accuracy against the learning rate: how narrow is each optimizer's good range?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from optlab.results.figures.canvas import (
    MUTED,
    SIZE_SMALL,
    Picture,
    axis_names,
    grid,
    headline,
    inches,
    line_arguments,
    stretched_percent,
)
from optlab.results.figures.line_names import lines_sheet, name_lines
from optlab.results.palette import LineStyle, styles_for
from optlab.results.rates import RatePoint


@dataclass(eq=False)
class LRSensitivity(Picture):
    """Best validation accuracy over the rate, one line a label; diverged rates crossed.

    The label is the optimizer, and whatever else was tuned separately: two batch sizes, two lines.

    `knob` names the x axis: `lr`, or `lr_multiplier` where all optimizers share that grid. With
    `joined` False (a random search moved other knobs as well) the points are not connected.
    """

    points: list[RatePoint]
    knob: str = "lr"
    joined: bool = True
    title: str = "Learning-rate sensitivity"

    def lines(self) -> dict[str, list[tuple[float, list[float], int]]]:
        """For each label its rates in order: rate, accuracies that finished, diverged runs."""
        result: dict[str, list[tuple[float, list[float], int]]] = {}
        for name in sorted({point.label for point in self.points}):
            rates = sorted({point.rate for point in self.points if point.label == name})
            for rate in rates:
                here = [p for p in self.points if p.label == name and p.rate == rate]
                finished = [p.val_accuracy for p in here if p.val_accuracy is not None]
                num_diverged = sum(p.status == "diverged" for p in here)
                result.setdefault(name, []).append((rate, finished, num_diverged))
        return result

    def score(self, name: str, rate: float) -> float:
        """What a rate of a line is judged by, diverged runs counted; failed ones say nothing."""
        here = [p for p in self.points if (p.label, p.rate) == (name, rate)]
        return float(np.mean([p.score for p in here if p.status != "failed"]))

    def plot(self, ax: Axes | None = None) -> "LRSensitivity":
        lines = self.lines()
        labels = list(lines)
        optimizers = {point.label: point.optimizer for point in self.points}
        styles = dict(zip(labels, styles_for([optimizers[name] for name in labels]), strict=True))
        self.ax = ax = lines_sheet(ax, labels)
        ax.set_xscale("log")
        accuracies = [
            float(np.mean(finished))
            for rates in lines.values()
            for _, finished, _ in rates
            if finished
        ]
        stretched = stretched_percent(ax, accuracies) if accuracies else ""
        self.artists["lines"] = [
            self._draw(ax, name, rates, styles[name]) for name, rates in lines.items()
        ]
        ticks = sorted({point.rate for point in self.points})
        if len(ticks) <= 7 and self.knob == "lr_multiplier":
            ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            ax.minorticks_off()
        ax.set_xlim(min(ticks) / 1.3, max(ticks) * 1.3)
        grid(ax)
        name = (
            "lr_multiplier (factor on each optimizer's rate)"
            if self.knob == "lr_multiplier"
            else "lr"
        )
        axis_names(ax, f"learning rate: {name}", "best validation accuracy (%)")
        crossed = any(number for rates in lines.values() for _, _, number in rates)
        in_part = any(number and found for rates in lines.values() for _, found, number in rates)
        notes = ["filled: best rate"]
        if any(len(finished) > 1 for rates in lines.values() for _, finished, _ in rates):
            notes.append("mean over seeds" if self.joined else "mean over trials")
        if in_part:  # the mean is of those that finished, the choice is not
            notes[0] += ", diverged runs counted"
        if any(point.num_settings > 1 for point in self.points):
            notes.append("each point: the best of its rate's settings")
        if crossed:
            notes.append("cross below: diverged" + ", and how many did" * in_part)
        notes += [stretched] * bool(stretched)
        headline(ax, self.title, "; ".join(notes))
        if crossed:
            self._mark_diverged(ax, lines, styles)
        ends = [self._end(ax, rates) for rates in lines.values()]
        self.artists["labels"] = name_lines(ax, ends, labels, [styles[name] for name in labels])
        return self

    def _draw(
        self,
        ax: Axes,
        name: str,
        rates: Sequence[tuple[float, list[float], int]],
        style: LineStyle,
    ) -> list[object]:
        known = [(rate, 100 * float(np.mean(values))) for rate, values, _ in rates if values]
        if not known:
            return []
        x, y = np.array(known).T
        arguments = line_arguments(style, lw=1.8 if self.joined else 0)
        drawn: list[object] = list(
            ax.plot(x, y, marker=style.marker, ms=6, mfc="white", mew=1.5, **arguments)
        )
        best = int(np.argmax([self.score(name, rate) for rate, _ in known]))
        drawn += ax.plot(x[best], y[best], style.marker, ms=8.5, color=style.color)
        return drawn

    def _mark_diverged(
        self,
        ax: Axes,
        lines: dict[str, list[tuple[float, list[float], int]]],
        styles: dict[str, LineStyle],
    ) -> None:
        """Crosses in a strip under the curves, one row a line so that none hides another."""
        crossing = [name for name, rates in lines.items() if any(n for _, _, n in rates)]
        bottom, top = ax.get_ylim()
        step = min(0.048, 0.25 / (len(crossing) + 0.6))  # most of the height is the curves'
        depth = step * (len(crossing) + 0.6)
        step_in = step * ax.get_position().height * inches(ax)[1]
        transform = ax.yaxis.get_transform()
        low, high = (float(transform.transform(np.array([v]))[0]) for v in (bottom, top))
        lowered = low - (high - low) * depth / (1 - depth)
        new_bottom = float(transform.inverted().transform(np.array([lowered]))[0])
        kept = [tick for tick in ax.get_yticks() if bottom <= tick <= top]
        ax.set_ylim(new_bottom, top)
        ax.set_yticks(kept, [f"{tick:g}" for tick in kept])
        blended = ax.get_xaxis_transform()
        ax.axhspan(new_bottom, bottom, color="#F1F2F4", lw=0, zorder=0)
        self.artists["crosses"], self.artists["counts"] = {}, []
        for index, name in enumerate(crossing):
            rates = [rate for rate, _, number in lines[name] if number]
            height = depth - step * (index + 0.8)
            self.artists["crosses"][name] = ax.plot(
                rates,
                [height] * len(rates),
                "x",
                transform=blended,
                color=styles[name].color,
                ms=min(7, 0.8 * 72 * step_in),
                mew=2,
                clip_on=False,
            )[0]
            self.artists["counts"] += [
                ax.annotate(
                    f"{number} of {number + len(found)}",
                    (rate, height),
                    xycoords=blended,
                    xytext=(6, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=min(SIZE_SMALL, 72 * step_in),
                    color=styles[name].color,
                )
                for rate, found, number in lines[name]
                if found and number
            ]
        ax.annotate(
            "diverged",
            (0, depth),
            xycoords="axes fraction",
            xytext=(3, -2),
            textcoords="offset points",
            va="top",
            fontsize=SIZE_SMALL,
            color=MUTED,
        )

    @staticmethod
    def _end(ax: Axes, rates: Sequence[tuple[float, list[float], int]]) -> tuple[float, float]:
        known = [(rate, 100 * float(np.mean(values))) for rate, values, _ in rates if values]
        return known[-1] if known else (rates[-1][0], ax.get_ylim()[0])
