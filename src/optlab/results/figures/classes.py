"""Figures about classes: the confusion matrix, and F1 of every class under every optimizer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from optlab.results.figures.canvas import (
    DPI,
    INK,
    MUTED,
    SIZE_SMALL,
    SIZE_TEXT,
    SIZE_TITLE,
    WIDTH_IN,
    Picture,
    headline,
    sheet,
    shortened,
    text_height,
    text_width,
)
from optlab.results.per_class import most_confused

MAX_CLASSES_WITH_NUMBERS = 20


def _cells(ax: Axes, values: np.ndarray, **colors: Any) -> QuadMesh:
    """A matrix, row 0 on top, entry (i, j) around (x=j, y=i); NaN stays empty.

    A mesh, since imshow would blow the few numbers up to the pixels of the sheet: 20 MB a matrix,
    which was the peak memory of a small run.
    """
    rows, columns = values.shape
    mesh = ax.pcolormesh(np.arange(columns + 1) - 0.5, np.arange(rows + 1) - 0.5, values, **colors)
    ax.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    return mesh


def _quiet(ax: Axes) -> None:
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.tick_params(length=0)


@dataclass(eq=False)
class ConfusionMatrix(Picture):
    """Images by true class (rows) and predicted class (columns), mistakes coloured.

    The diagonal is left pale on purpose: it holds nearly all images and would drown the rest.
    """

    matrix: np.ndarray  # (num_classes, num_classes), counts
    class_names: Sequence[str]
    title: str = "Confusion matrix"
    compact: bool = False  # for a place among several: short names, no worst pairs

    def plot(self, ax: Axes | None = None) -> "ConfusionMatrix":
        matrix = np.asarray(self.matrix)
        size = len(matrix)
        names = [str(name) for name in self.class_names]
        width = max(text_width(names, SIZE_SMALL), 0.2)
        left = 0.55 + width
        below = 0.5 + (width if self._tilted(names) else 0.2)
        self.ax = ax = sheet(
            ax, width=left + 4.7, height=4.5 + below + 0.75, left=left, bottom=below
        )
        errors = matrix.astype(float)
        rows = errors.sum(axis=1, keepdims=True)
        share = np.divide(errors, rows, out=np.zeros_like(errors), where=rows > 0)
        np.fill_diagonal(share, np.nan)
        worst = float(np.nanmax(share)) if size > 1 else 0.0
        self.artists["cells"] = _cells(
            ax, share, cmap="Oranges", vmin=0, vmax=max(1.25 * worst, 1e-9)
        )
        diagonal = np.where(np.eye(size, dtype=bool), 1.0, np.nan)
        _cells(ax, diagonal, cmap="Blues", vmin=0, vmax=6)
        ax.set_aspect("equal")
        self.artists["numbers"] = self._numbers(ax, matrix, share, worst)
        _quiet(ax)
        small = SIZE_SMALL - (1.5 if self.compact else 0)
        if size <= 40:
            rotation = 60 if self._tilted(names) else 0
            ax.set_xticks(range(size), names, fontsize=small, rotation=rotation)
            ax.set_yticks(range(size), names, fontsize=small)
        else:
            ax.set_xticks([])
            ax.set_yticks([])
        if self.compact:
            ax.set_title(self.title, fontsize=SIZE_TEXT, color=INK, pad=5)
            return self
        ax.set_xlabel("predicted", fontsize=SIZE_TEXT, color=INK)
        ax.set_ylabel("true", fontsize=SIZE_TEXT, color=INK)
        pairs = [f"{names[i]} as {names[j]} ({n})" for i, j, n in most_confused(matrix)]
        while len(pairs) > 1 and len(", ".join(pairs)) > 62:
            pairs.pop()
        headline(ax, self.title, f"most often: {', '.join(pairs)}" if pairs else "no mistakes")
        return self

    def _numbers(
        self, ax: Axes, matrix: np.ndarray, share: np.ndarray, worst: float
    ) -> list[object]:
        size = len(matrix)
        if size > MAX_CLASSES_WITH_NUMBERS:
            return []
        texts: list[object] = []
        font = (5.0 if self.compact else 9.0) * min(1.0, 11 / size)
        for row in range(size):
            for column in range(size):
                if not matrix[row, column]:
                    continue  # an empty cell says zero, and quietly
                dark = row != column and share[row, column] > 0.75 * worst
                texts.append(
                    ax.text(
                        column,
                        row,
                        str(int(matrix[row, column])),
                        ha="center",
                        va="center",
                        fontsize=font,
                        color="white" if dark else INK,
                    )
                )
        return texts

    @staticmethod
    def _tilted(names: Sequence[str]) -> bool:
        return max((len(name) for name in names), default=0) > 4


@dataclass(eq=False)
class ConfusionMatrices(Picture):
    """Several confusion matrices side by side, one a group."""

    matrices: list[np.ndarray]
    labels: list[str]
    class_names: Sequence[str]
    title: str = "Confusion matrices on test"

    def plot(self, ax: Axes | None = None) -> "ConfusionMatrices":
        """Draw on a sheet of its own; with `ax`, inside the place that it takes."""
        names = [str(name) for name in self.class_names]
        long = max((len(name) for name in names), default=0) > 4
        num = len(self.matrices)
        columns = min(num, 2 if long else 3) or 1
        rows = -(-num // columns) or 1
        label_in = text_width(names, SIZE_SMALL - 1.5) + 0.12
        side = (WIDTH_IN - 0.3 - columns * label_in - 0.12 * (columns - 1)) / columns
        below = label_in if long else 0.22
        labels = [shortened(label, int(side * 72 / (0.6 * SIZE_TEXT))) for label in self.labels]
        above = text_height(labels) + 0.13
        cell_height = above + side + below + 0.04
        height = rows * cell_height + 0.72
        if ax is None:
            figure = Figure(figsize=(WIDTH_IN, height), dpi=DPI, facecolor="white")
            FigureCanvasAgg(figure)
            ax = figure.add_axes((0, 0, 1, 1))
        self.ax = ax
        ax.set_axis_off()
        ax.text(
            0.12 / WIDTH_IN,
            1 - 0.12 / height,
            self.title,
            transform=ax.transAxes,
            fontsize=SIZE_TITLE,
            fontweight="bold",
            color=INK,
            va="top",
        )
        ax.text(
            0.12 / WIDTH_IN,
            1 - 0.36 / height,
            "rows: true class; columns: predicted; sum over runs; orange: share of the row",
            transform=ax.transAxes,
            fontsize=SIZE_SMALL,
            color=MUTED,
            va="top",
        )
        self.artists["panels"] = []
        for index, (matrix, label) in enumerate(zip(self.matrices, labels, strict=True)):
            row, column = divmod(index, columns)
            x = 0.15 + label_in + column * (side + label_in + 0.12)
            y = height - 0.62 - row * cell_height - above - side
            inset = ax.inset_axes((x / WIDTH_IN, y / height, side / WIDTH_IN, side / height))
            panel = ConfusionMatrix(matrix, names, label, compact=True)
            self.artists["panels"].append(panel.plot(inset))
        return self


@dataclass(eq=False)
class PerClassF1(Picture):
    """F1 on test of each class (columns) under each group (rows)."""

    f1: np.ndarray  # (num_groups, num_classes), in [0, 1]
    labels: list[str]
    class_names: Sequence[str]
    title: str = "F1 of each class on test"

    def plot(self, ax: Axes | None = None) -> "PerClassF1":
        values = 100 * np.asarray(self.f1)
        names = [str(name) for name in self.class_names]
        labels = [shortened(label) for label in self.labels]
        tilted = max((len(name) for name in names), default=0) > 5
        below = 0.25 + (text_width(names, SIZE_SMALL) if tilted else 0.1)
        self.ax = ax = sheet(
            ax,
            height=1.0 + below + max(0.42, text_height(labels) + 0.1) * max(len(labels), 1),
            left=max(0.9, text_width(labels) + 0.25),
            right=0.2,
            bottom=below,
        )
        low, high = float(values.min()), float(values.max())
        self.artists["cells"] = _cells(
            ax, values, cmap="viridis", vmin=low, vmax=max(high, low + 1e-6)
        )
        self.artists["numbers"] = []
        if values.shape[1] <= MAX_CLASSES_WITH_NUMBERS:
            for row, column in np.ndindex(*values.shape):
                dark = values[row, column] < low + 0.6 * (high - low)
                self.artists["numbers"].append(
                    ax.text(
                        column,
                        row,
                        f"{values[row, column]:.1f}",
                        ha="center",
                        va="center",
                        fontsize=SIZE_SMALL * min(1.0, 12 / values.shape[1]),
                        color="white" if dark else INK,
                    )
                )
            ax.set_xticks(range(len(names)), names, rotation=50 if tilted else 0)
        else:
            ax.set_xticks([])
        ax.set_yticks(range(len(labels)), labels, fontsize=SIZE_TEXT)
        _quiet(ax)
        headline(ax, self.title, "percent, mean over the finished runs; dark: low, light: high")
        return self
