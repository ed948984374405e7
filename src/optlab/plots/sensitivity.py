"""Plot validation accuracy against the learning rate, one line for each optimizer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from optlab.analysis.labels import display_name
from optlab.analysis.learning_rates import LRPoint
from optlab.plots.palette import LineStyle, styles_for
from optlab.plots.percent_axis import stretched_percent
from optlab.plots.style import FAINT, MUTED, SIZE_SMALL, Display, name_lines


@dataclass(frozen=True)
class _At:
    """The runs of one line at one learning rate."""

    learning_rate: float
    accuracies: tuple[float, ...]  # of those that finished
    num_diverged: int
    score: float  # what chooses the best learning rate, diverged runs counted


@dataclass(eq=False, kw_only=True)
class LRSensitivityDisplay(Display):
    """Best validation accuracy over the learning rate, a line for each label.

    The label is the optimizer, and whatever else was tuned separately: two batch sizes, two lines.
    """

    points: Sequence[LRPoint]
    option: str = "lr"  # of the x axis; `lr_multiplier` where all optimizers share its grid
    joined: bool = True  # False where a random search moved other options as well
    title: str = "Learning-rate sensitivity"

    def lines(self) -> dict[str, list[_At]]:
        """For each label its learning rates in order; failed runs say nothing."""
        result: dict[str, list[_At]] = {}
        for label, lr in sorted({(point.label, point.learning_rate) for point in self.points}):
            here = [p for p in self.points if (p.label, p.learning_rate) == (label, lr)]
            result.setdefault(label, []).append(
                _At(
                    learning_rate=lr,
                    accuracies=tuple(p.val_accuracy for p in here if p.val_accuracy is not None),
                    num_diverged=sum(p.status == "diverged" for p in here),
                    score=float(np.mean([p.score for p in here if p.status != "failed"] or [0])),
                )
            )
        return result

    def draw(self, ax: Axes) -> str:
        lines = self.lines()
        optimizers = {point.label: point.optimizer for point in self.points}
        styles = styles_for([optimizers[label] for label in lines])
        every = [at for line in lines.values() for at in line]
        ax.set_xscale("log")
        stretched = stretched_percent(
            ax, [float(np.mean(at.accuracies)) for at in every if at.accuracies]
        )
        self.artists["lines"], ends = [], []
        for (label, line), style in zip(lines.items(), styles, strict=True):
            known = [at for at in line if at.accuracies]
            x = [at.learning_rate for at in known]
            y = [100 * float(np.mean(at.accuracies)) for at in known]
            drawn = ax.plot(x, y, ms=6, mfc="white", mew=1.5, label=label, **style.line)
            drawn[0].set_linewidth(1.8 if self.joined else 0)
            if known:
                best = int(np.argmax([at.score for at in known]))
                drawn += ax.plot(x[best], y[best], style.marker, ms=8.5, color=style.color)
            self.artists["lines"].append(drawn)
            ends.append(y[-1] if known else -np.inf)
        learning_rates = sorted({at.learning_rate for at in every})
        by_multiplier = self.option == "lr_multiplier"
        if by_multiplier and len(learning_rates) <= 7:
            ax.set_xticks(learning_rates, [f"{lr:g}" for lr in learning_rates])
            ax.minorticks_off()
        ax.set_xlim(learning_rates[0] / 1.3, learning_rates[-1] * 1.3)
        factor = "lr_multiplier (factor on each optimizer's learning rate)"
        ax.set_xlabel(f"learning rate: {factor if by_multiplier else 'lr'}")
        ax.set_ylabel("validation accuracy (%)")
        if any(at.num_diverged for at in every):
            self._mark_diverged(ax, lines, styles)
        self.artists["labels"] = name_lines(ax, [drawn[0] for drawn in self.artists["lines"]], ends)
        return "; ".join(self._notes(every, stretched))

    def _notes(self, every: Sequence[_At], stretched: str) -> list[str]:
        in_part = any(at.num_diverged and at.accuracies for at in every)
        # The mean is of those that finished, the choice is not
        notes = ["filled: best learning rate" + ", diverged runs counted" * in_part]
        if any(len(at.accuracies) > 1 for at in every):
            notes.append("mean over seeds" if self.joined else "mean over trials")
        if any(point.num_configurations > 1 for point in self.points):
            notes.append("each point: the best configuration of its learning rate")
        if any(at.num_diverged for at in every):
            notes.append("cross below: diverged" + ", and how many did" * in_part)
        return notes + [stretched] * bool(stretched)

    def _mark_diverged(
        self, ax: Axes, lines: Mapping[str, Sequence[_At]], styles: Sequence[LineStyle]
    ) -> None:
        """Crosses in a strip under the curves, one row a line so that none hides another."""
        crossing = [
            (label, style, [at for at in line if at.num_diverged])
            for (label, line), style in zip(lines.items(), styles, strict=True)
            if any(at.num_diverged for at in line)
        ]
        step = min(0.048, 0.25 / (len(crossing) + 0.6))  # most of the height is the curves'
        depth = step * (len(crossing) + 0.6)
        # Axes have 0.65 of the figure's height
        step_points = step * 0.65 * self.figure.get_figheight() * 72
        lowest_of_curves = ax.get_ylim()[0]
        _lower_bottom(ax, depth)
        ax.axhspan(ax.get_ylim()[0], lowest_of_curves, color=FAINT, lw=0, zorder=0)
        place = ax.get_xaxis_transform()
        self.artists["crosses"], self.artists["counts"] = {}, []
        crosses: dict[str, Line2D] = self.artists["crosses"]
        for index, (label, style, diverged) in enumerate(crossing):
            height = depth - step * (index + 0.8)
            (crosses[label],) = ax.plot(
                [at.learning_rate for at in diverged],
                [height] * len(diverged),
                "x",
                transform=place,
                color=style.color,
                ms=min(7, 0.8 * step_points),
                mew=2,
                clip_on=False,
            )
            self.artists["counts"] += [
                ax.annotate(
                    f"{at.num_diverged} of {at.num_diverged + len(at.accuracies)}",
                    (at.learning_rate, height),
                    xycoords=place,
                    xytext=(6, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=min(SIZE_SMALL, step_points),
                    color=style.color,
                )
                for at in diverged
                if at.accuracies
            ]
        text: dict[str, Any] = {"va": "top", "fontsize": SIZE_SMALL, "color": MUTED}
        ax.text(0.005, depth - 0.005, "diverged", transform=ax.transAxes, **text)


def _lower_bottom(ax: Axes, share: float) -> None:
    """Make room at the bottom, a share of the height, on whatever scale; it gets no ticks."""
    bottom, top = ax.get_ylim()
    ticks = [tick for tick in ax.get_yticks() if bottom <= tick <= top]
    scale = ax.yaxis.get_transform()
    low, high = scale.transform(np.array([bottom, top]))
    lowered = scale.inverted().transform(np.array([low - (high - low) * share / (1 - share)]))
    ax.set_ylim(float(lowered[0]), top)
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])


@dataclass(eq=False, kw_only=True)
class LRRangeDisplay(Display):
    """Training loss while the learning rate rises, a line for each run of a range test."""

    curves: Mapping[str, tuple[np.ndarray, np.ndarray]]  # label to learning rates and losses (n,)
    optimizers: Mapping[str, str]  # label to optimizer, which chooses the color
    title: str = "Training loss while the learning rate rises"

    def draw(self, ax: Axes) -> str:
        """Draw; what is far above the first loss is cut, since it only says that training broke."""
        styles = styles_for([self.optimizers[label] for label in self.curves])
        self.artists["lines"] = []
        for (label, (rates, losses)), style in zip(self.curves.items(), styles, strict=True):
            (line,) = ax.plot(
                rates,
                losses,
                label=display_name(label),
                color=style.color,
                linestyle=style.linestyle,
            )
            self.artists["lines"].append(line)
        first = max(float(losses[0]) for _, losses in self.curves.values())
        lowest = min(float(losses.min()) for _, losses in self.curves.values())
        ax.set(
            xscale="log",
            xlabel="learning rate of the step",
            ylabel="training loss, smoothed (nats)",
            ylim=(min(0.0, lowest), 1.5 * first),
        )
        ends = [-float(losses.min()) for _, losses in self.curves.values()]
        self.artists["labels"] = name_lines(ax, self.artists["lines"], ends)
        return "same weights and batches for all; a look at where training works, no verdict"
