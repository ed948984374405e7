"""The curves of one run, drawn when it ends."""

from dataclasses import dataclass, field

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from optlab.results.figures.canvas import (
    INK,
    MUTED,
    SIZE_SMALL,
    Picture,
    axis_names,
    grid,
    headline,
    sheet,
)


@dataclass(eq=False)
class LossAndAccuracy(Picture):
    """One run: training and validation loss and accuracy over its epochs, side by side.

    `epochs` has the columns of epochs.csv. `plot` takes the left axes and puts the other one
    beside it on a sheet of its own when none is given; both are kept as `axes`.
    """

    epochs: pd.DataFrame
    title: str = ""
    best_epoch: int | None = None
    axes: tuple[Axes, ...] = field(default=(), init=False)

    def plot(self, ax: Axes | None = None, second: Axes | None = None) -> "LossAndAccuracy":
        width, height, gap = 8.4, 3.5, 0.8
        side = (width - 0.7 - 0.2 - gap) / 2
        self.ax = ax = sheet(ax, width=width, height=height, left=0.7, right=width - 0.7 - side)
        if second is None:
            box = ax.get_position()
            shift = box.width * (side + gap) / side
            second = ax.get_figure().add_axes((box.x0 + shift, box.y0, box.width, box.height))  # type: ignore[union-attr]
        sheet(second)
        self.axes = (ax, second)
        x = self.epochs["epoch"].to_numpy()
        self.artists["lines"] = []
        for axes, quantity, scale in ((ax, "loss", 1.0), (second, "accuracy", 100.0)):
            for split, color, dashes, marker in (
                ("train", "#0072B2", "-", "o"),
                ("val", "#D55E00", (0, (5, 1.6)), "s"),
            ):
                y = scale * self.epochs[f"{split}/{quantity}"].to_numpy()
                name = "training" if split == "train" else "validation"
                self.artists["lines"] += axes.plot(
                    x, y, color=color, ls=dashes, marker=marker, ms=4, lw=1.8, label=name
                )
            if self.best_epoch is not None:
                axes.axvline(self.best_epoch, color=MUTED, lw=1, ls=(0, (2, 2)), zorder=1)
            grid(axes)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            if len(x) < 2:
                axes.set_xlim(0.5, 1.5)
                axes.set_xticks([1])
            axes.legend(fontsize=SIZE_SMALL, frameon=False, labelcolor=INK)
        axis_names(ax, "epoch", "cross-entropy")
        axis_names(second, "epoch", "accuracy (%)")
        note = "training: mean over the epoch's batches, while the weights move"
        if self.best_epoch is not None:
            note += f"; dotted: best validation, epoch {self.best_epoch}"
        headline(ax, self.title or "Loss and accuracy", note)
        return self
