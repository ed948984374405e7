"""Pictures of classes: the confusion matrix, and F1 of every class under every configuration."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.text import Text

from optlab.analysis.labels import display_name
from optlab.analysis.per_class import most_confused
from optlab.plots.style import (
    INK,
    SIZE_SMALL,
    SIZE_TEXT,
    WIDTH_IN,
    Display,
    RowsDisplay,
    divide,
    shortened,
    wrapped,
)

MAX_CLASSES_WITH_NUMBERS = 20
MAX_CLASSES_WITH_NAMES = 40


def _tint(color: str) -> Colormap:
    """A colormap of one color, from transparent to opaque."""
    return LinearSegmentedColormap.from_list("tint", [(color, 0.0), (color, 1.0)])


def _draw_cells(ax: Axes, values: np.ndarray, **colors: Any) -> QuadMesh:
    """A matrix, row 0 on top, entry (i, j) around (x=j, y=i); NaN stays empty.

    A mesh, since imshow would resample the few numbers to the pixels of the figure: 20 MB a matrix,
    which was the peak memory of a small run.
    """
    rows, columns = values.shape
    mesh = ax.pcolormesh(np.arange(columns + 1) - 0.5, np.arange(rows + 1) - 0.5, values, **colors)
    ax.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    ax.grid(False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return mesh


def _write_cells(
    ax: Axes, texts: Sequence[Sequence[str]], is_dark: np.ndarray, size: float, ink: str = INK
) -> list[Text]:
    """Write into the cells of a matrix, an empty text for nothing."""
    return [
        ax.text(
            *(j, i, text),
            ha="center",
            va="center",
            fontsize=size,
            color="white" if is_dark[i, j] else ink,
            in_layout=False,  # inside the axes, so the layout need not measure it
        )
        for i, row in enumerate(texts)
        for j, text in enumerate(row)
        if text
    ]


def _name_classes(ax: Axes, names: Sequence[str], size: float) -> None:
    names = shortened(names)
    tilted = max((len(name) for name in names), default=0) > 4
    ax.set_xticks(range(len(names)), names, fontsize=size, rotation=60 if tilted else 0)


@dataclass(eq=False, kw_only=True)
class ConfusionMatrixDisplay(Display):
    """Images by true class (rows) and predicted class (columns), mistakes colored.

    The diagonal is pale on purpose: it holds nearly all images and would hide the rest.
    """

    matrix: np.ndarray  # (num_classes, num_classes), counts
    class_names: Sequence[str]
    title: str = "Confusion matrix"
    compact: bool = False  # for a place among several: small type, no worst pairs

    figure_size = (6.0, 6.2)

    def draw(self, ax: Axes) -> str:
        matrix = np.asarray(self.matrix)
        size = len(matrix)
        names = [str(name) for name in self.class_names]
        sums = matrix.sum(axis=1, keepdims=True)
        share = np.divide(matrix, sums, out=np.zeros(matrix.shape), where=sums > 0)
        np.fill_diagonal(share, np.nan)
        worst = float(np.nanmax(share)) if size > 1 else 0.0
        top = max(1.25 * worst, 1e-9)
        self.artists["cells"] = _draw_cells(ax, share, cmap=_tint("#E65100"), vmin=0, vmax=top)
        diagonal = np.where(np.eye(size, dtype=bool), 1.0, np.nan)
        _draw_cells(ax, diagonal, cmap=_tint("#0072B2"), vmin=0, vmax=6)
        ax.set_aspect("equal")
        self.artists["numbers"] = []
        if size <= MAX_CLASSES_WITH_NUMBERS:
            texts = [[str(int(number)) if number else "" for number in row] for row in matrix]
            font = (5.0 if self.compact else 9.0) * min(1.0, 11 / size)
            self.artists["numbers"] = _write_cells(ax, texts, share > 0.75 * worst, font)
        shown = names if size <= MAX_CLASSES_WITH_NAMES else []
        small = SIZE_SMALL - 1.5 * self.compact
        _name_classes(ax, shown, small)
        ax.set_yticks(range(len(shown)), shortened(shown), fontsize=small)
        if self.compact:
            return ""
        ax.set(xlabel="predicted", ylabel="true")
        pairs = [f"{names[i]} as {names[j]} ({n})" for i, j, n in most_confused(matrix)]
        return f"most often: {', '.join(pairs)}" if pairs else "no mistakes"


@dataclass(eq=False, kw_only=True)
class ConfusionMatricesDisplay(Display):
    """Several confusion matrices next to each other, one for each label."""

    matrices: Sequence[np.ndarray]
    labels: Sequence[str]
    class_names: Sequence[str]
    title: str = "Confusion matrices on test"

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns."""
        longest = max((len(str(name)) for name in self.class_names), default=0)
        columns = max(min(len(self.labels), 2 if longest > 4 else 3), 1)
        return max(-(-len(self.labels) // columns), 1), columns

    @property
    def figure_size(self) -> tuple[float, float]:
        rows, columns = self.grid
        return WIDTH_IN, rows * (WIDTH_IN / columns + 0.25) + 0.6

    def draw(self, ax: Axes) -> str:
        panels = divide(ax, *self.grid)
        self.artists["panels"] = []
        for panel, matrix, label in zip(panels.flat, self.matrices, self.labels, strict=False):
            title = wrapped(display_name(label), 40 if panels.shape[1] < 3 else 26)
            one = ConfusionMatrixDisplay(
                matrix=matrix, class_names=self.class_names, title=title, compact=True
            )
            self.artists["panels"].append(one.plot(panel))
        for panel in panels.flat[len(self.labels) :]:
            panel.set_axis_off()
        for panel in panels[:, 1:].flat:
            panel.tick_params(labelleft=False)
        return "rows: true class; columns: predicted; sum over runs; orange: share of the row"


@dataclass(eq=False, kw_only=True)
class PerClassF1Display(RowsDisplay):
    """F1 on test of each class (columns) under each configuration (rows)."""

    f1: np.ndarray  # (num_configurations, num_classes), in [0, 1]; NaN: class without test images
    class_names: Sequence[str]
    title: str = "F1 of each class on test"

    def draw(self, ax: Axes) -> str:
        values = 100 * np.asarray(self.f1)
        num_rows, num_classes = values.shape
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        self.artists["cells"] = _draw_cells(
            ax, values, cmap="viridis", vmin=low, vmax=max(high, low + 1e-6)
        )
        self.label_rows(ax)
        ax.grid(False)
        ax.set_ylim(num_rows - 0.5, -0.5)
        self.artists["numbers"] = []
        if num_classes <= MAX_CLASSES_WITH_NUMBERS:
            texts = [["" if np.isnan(f1) else f"{f1:.1f}" for f1 in row] for row in values]
            size = SIZE_SMALL * min(1.0, 12 / num_classes)
            is_dark = values < low + 0.6 * (high - low)
            self.artists["numbers"] = _write_cells(ax, texts, is_dark, size, "black")
            _name_classes(ax, [str(name) for name in self.class_names], SIZE_TEXT - 1)
        else:
            ax.set_xticks([])
        return "percent, mean over the finished runs; dark: low, light: high"
