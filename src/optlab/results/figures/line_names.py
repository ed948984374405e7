"""Names at the ends of lines, moved apart so that none hides another."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from optlab.results.figures.canvas import (
    INK,
    SIZE_SMALL,
    WIDTH_IN,
    inches,
    line_arguments,
    sheet,
    shortened,
    text_height,
    text_width,
)
from optlab.results.palette import LineStyle

MAX_END_LABELS = 14
_BELOW_AXES_IN = 0.6  # ticks and name of the x axis


def spread_apart(wanted: Sequence[float], gap: float, low: float, high: float) -> np.ndarray:
    """Positions nearest to the wanted ones, at least `gap` apart and within [low, high].

    Least squares under an order constraint: subtracting the gaps turns it into isotonic
    regression, solved by pooling adjacent violators; importing SciPy's would cost every report
    0.3 s. Positions beyond the ends are moved in.
    """
    order = np.argsort(wanted, kind="stable")
    offsets = gap * np.arange(len(order))
    blocks: list[list[float]] = []  # sum, count
    for value in np.asarray(wanted, dtype=float)[order] - offsets:
        blocks.append([value, 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] > blocks[-1][0] / blocks[-1][1]:
            total, number = blocks.pop()
            blocks[-1][0] += total
            blocks[-1][1] += number
    fitted = np.concatenate([np.full(int(number), total / number) for total, number in blocks])
    fitted = np.clip(fitted, low, max(low, high - offsets[-1])) + offsets
    positions = np.empty(len(order))
    positions[order] = fitted
    return positions


def name_lines(
    ax: Axes,
    ends: Sequence[tuple[float, float]],
    labels: Sequence[str],
    styles: Sequence[LineStyle],
) -> list[Any]:
    """Name each line at its end, without overlap; a legend where that has no room.

    Call it last: it reads the axes' final limits. The legend lies below the axes on a sheet of
    `lines_sheet`, inside them on others.

    Args:
        ends: (x, y) of each line's last point, in data coordinates.
        labels: one name a line.
        styles: one style a line; a short sample of it stands before the name.
    """
    width, height = inches(ax)
    box = ax.get_position()
    height_in = height * box.height
    width_in = width * box.width
    gap = 0.172 / height_in
    room_in = width - width * box.x1
    has_room = room_in >= text_width(labels, SIZE_SMALL + 0.5) + 0.3
    if len(labels) > MAX_END_LABELS or gap * (len(labels) - 1) > 1 or not has_room:
        handles = [
            Line2D([], [], label=name, marker=style.marker, ms=4, **line_arguments(style, lw=1.8))
            for name, style in zip(_in_legend(labels), styles, strict=True)
        ]
        columns, legend_in = _legend_size(labels)
        spot: dict[str, Any] = {}
        has_room = height * box.y0 > _BELOW_AXES_IN + legend_in - 0.01  # up to rounding
        if has_room and len(ax.figure.axes) == 1:  # other axes may lie below
            corner = (0.12 - width * box.x0) / width_in, -_BELOW_AXES_IN / height_in
            spot = {"loc": "upper left", "bbox_to_anchor": corner, "ncols": columns}
        return [
            ax.legend(
                handles=handles,
                fontsize=SIZE_SMALL,
                labelcolor=INK,
                frameon=False,
                handlelength=3,
                borderaxespad=0,
                **spot,
            )
        ]
    to_axes = ax.transAxes.inverted()
    points = [to_axes.transform(ax.transData.transform(end)) for end in ends]
    wanted = [min(max(float(point[1]), 0.0), 1.0) for point in points]
    places = spread_apart(wanted, gap, 0.0, 1.0)
    texts: list[Any] = []
    first, second, third = (1 + inches / width_in for inches in (0.16, 0.5, 0.56))
    for point, wish, place, label, style in zip(
        points, wanted, places, labels, styles, strict=True
    ):
        start = min(float(point[0]), 1.0)
        if start > 0.93:  # a thin leader; from further left it would look like a part of the line
            ax.plot(
                [start + 0.02 / width_in, max(1.0, start), first],
                [wish, wish, place],
                transform=ax.transAxes,
                clip_on=False,
                color=style.color,
                lw=0.6,
                alpha=0.7,
            )
        ax.plot(
            [first, (first + second) / 2, second],
            [place] * 3,
            transform=ax.transAxes,
            clip_on=False,
            marker=style.marker,
            markevery=[1],
            ms=4,
            **line_arguments(style, lw=1.8),
        )
        texts.append(
            ax.text(
                third,
                place,
                label,
                transform=ax.transAxes,
                va="center",
                fontsize=SIZE_SMALL + 0.5,
                color=INK,
            )
        )
    return texts


def lines_sheet(ax: Axes | None, labels: Sequence[str]) -> Axes:
    """A sheet with room for `name_lines`: at the right, or below for many or long names."""
    right = text_width(labels, SIZE_SMALL + 0.5) + 0.75
    if right < 2.8 and len(labels) <= MAX_END_LABELS:
        return sheet(ax, right=right)
    _, legend_in = _legend_size(labels)
    bottom = _BELOW_AXES_IN + legend_in
    return sheet(ax, height=3.7 + bottom, right=0.3, bottom=bottom)


def _in_legend(labels: Sequence[str]) -> list[str]:
    return [shortened(label, 40) for label in labels]


def _legend_size(labels: Sequence[str]) -> tuple[int, float]:
    """Columns that fit side by side on a sheet, and the inches that the legend is high."""
    names = _in_legend(labels)
    columns = max(int((WIDTH_IN - 0.2) / (text_width(names, SIZE_SMALL) + 0.75)), 1)
    rows = -(-len(names) // columns)
    return columns, rows * (text_height(names, SIZE_SMALL) + 0.06) + 0.15
