"""The sheet that every figure is drawn on: size, axes, type, and labels at line ends.

Figures are made with matplotlib's object API alone: nothing touches pyplot or the global
settings, so figures may be drawn in several threads and processes at once.
"""

import io
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from optlab.files import whole_file
from optlab.results.palette import LineStyle

DPI = 160
WIDTH_IN = 7.2
INK, MUTED, GRID = "#1F2328", "#5B6270", "#E3E6EA"
SIZE_TITLE, SIZE_TEXT, SIZE_SMALL = 12.0, 10.0, 8.5


@dataclass(eq=False, kw_only=True)
class Picture:
    """What all figures share: where they were drawn, and how they are shown and saved."""

    ax: Axes | None = field(default=None, init=False, repr=False)
    artists: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def plot(self, ax: Axes | None = None) -> "Picture":
        """Draws it, on the given axes or on a new figure, and returns it."""
        raise NotImplementedError

    @property
    def figure(self) -> Figure:
        if self.ax is None:
            raise ValueError(
                f"this {type(self).__name__} is not drawn yet.\n\n"
                "hint: call plot() before it is saved"
            )
        figure = self.ax.figure
        assert isinstance(figure, Figure)
        return figure

    def png(self) -> bytes:
        """The figure as a PNG; the same data give the same bytes."""
        buffer = io.BytesIO()
        self.figure.savefig(
            buffer,
            format="png",
            dpi=DPI,
            metadata={"Software": None},
            pil_kwargs={"compress_level": 4},
        )
        return buffer.getvalue()

    def save(self, path: str | Path) -> Path:
        """Write a PNG, whole or not at all; folders on the way are made."""
        path = Path(path)
        with whole_file(path) as partial:
            partial.write_bytes(self.png())
        return path

    def _repr_png_(self) -> bytes | None:
        return self.png() if self.ax is not None else None


def inches(ax: Axes) -> tuple[float, float]:
    """Width and height of the sheet that the axes lie on."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure.get_figwidth(), figure.get_figheight()


def sheet(
    ax: Axes | None,
    *,
    width: float = WIDTH_IN,
    height: float = 4.3,
    left: float = 0.75,
    right: float = 0.25,
    top: float = 0.72,  # a title and two lines of `headline`
    bottom: float = 0.6,
) -> Axes:
    """The given axes, or axes on a new figure; all lengths in inches."""
    if ax is None:
        figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
        FigureCanvasAgg(figure)
        ax = figure.add_axes(
            (
                left / width,
                bottom / height,
                (width - left - right) / width,
                (height - top - bottom) / height,
            )
        )
    ax.set_axisbelow(True)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color("#A9B0B8")
    ax.tick_params(colors=MUTED, labelcolor=INK, labelsize=SIZE_SMALL + 0.5, length=3)
    return ax


def headline(ax: Axes, title: str, note: str = "") -> None:
    """Title at the left edge of the sheet, and below it a line or two that say how to read it."""
    width, height = inches(ax)
    box = ax.get_position()
    at_edge = box.x0 * width < 3  # the first of several axes, or the only one
    room_in = width * (1 - box.x0) if not at_edge else width - 0.3
    note = "\n".join(textwrap.wrap(note, int(room_in * 72 / (0.54 * SIZE_SMALL))))
    x = -box.x0 / box.width + 0.12 / (width * box.width) if at_edge else 0.0
    ax.text(
        x,
        1.0,
        note,
        transform=ax.transAxes,
        fontsize=SIZE_SMALL,
        color=MUTED,
        va="bottom",
        linespacing=1.25,
    ).set_position((x, 1 + 0.09 / (height * box.height)))
    lines = note.count("\n") + 1 if note else 0
    above = 0.13 + 0.15 * lines
    fitting = room_in * 72 / (0.64 * max(len(title), 1))  # a long title gets smaller type
    ax.text(
        x,
        1 + above / (height * box.height),
        title,
        transform=ax.transAxes,
        fontsize=min(SIZE_TITLE, max(fitting, SIZE_SMALL)),
        fontweight="bold",
        color=INK,
        va="bottom",
    )


def grid(ax: Axes, axis: str = "y") -> None:
    ax.grid(True, axis=axis, color=GRID, linewidth=0.8)  # type: ignore[arg-type]


def axis_names(ax: Axes, x: str = "", y: str = "") -> None:
    ax.set_xlabel(x, fontsize=SIZE_TEXT, color=INK)
    ax.set_ylabel(y, fontsize=SIZE_TEXT, color=INK)


def with_thousands(ax: Axes) -> None:
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def shortened(label: str, width: int = 26) -> str:
    """A long label in several lines."""
    if len(label) <= width:
        return label
    kept = label.replace(" ·", "\N{NO-BREAK SPACE}·")  # no line begins with the dot
    return "\n".join(textwrap.wrap(kept, width)).replace("\N{NO-BREAK SPACE}", " ")


def text_width(labels: Sequence[str], size: float = SIZE_TEXT) -> float:
    """About how many inches the widest line of some labels takes."""
    longest = max((len(line) for label in labels for line in label.split("\n")), default=0)
    return longest * size * 0.6 / 72


def text_height(labels: Sequence[str], size: float = SIZE_TEXT) -> float:
    """About how many inches the label with the most lines takes."""
    return max((label.count("\n") + 1 for label in labels), default=1) * size * 1.2 / 72


def line_arguments(style: LineStyle, **more: Any) -> dict[str, Any]:
    """Keyword arguments for `Axes.plot` in an optimizer's style."""
    return {"color": style.color, "linestyle": style.linestyle, **more}


def row_axis(ax: Axes, labels: Sequence[str]) -> np.ndarray:
    """Label the rows of a horizontal chart from the top down; gives their y positions."""
    rows = np.arange(len(labels))
    ax.set_yticks(rows, [shortened(label) for label in labels], fontsize=SIZE_TEXT)
    ax.set_ylim(len(labels) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    return rows


def rows_sheet(
    ax: Axes | None, labels: Sequence[str], *, right: float = 0.35, bottom: float = 0.6
) -> Axes:
    """A sheet for a horizontal chart, as high as its rows and with room for their labels."""
    labels = [shortened(label) for label in labels]
    left = max(0.9, text_width(labels) + 0.25)
    row_in = max(0.36, text_height(labels) + 0.1)
    height = 0.91 + bottom + row_in * max(len(labels), 2)
    return sheet(ax, height=height, left=left, right=right, bottom=bottom)


def beside_row(ax: Axes, row: float, text: str, color: str = INK) -> object:
    """A remark at the right of a row, outside the axes."""
    return ax.annotate(
        text,
        (1.0, row),
        xycoords=("axes fraction", "data"),
        xytext=(8, 0),
        textcoords="offset points",
        va="center",
        fontsize=SIZE_SMALL + 0.5,
        color=color,
        annotation_clip=False,
    )


def stretched_percent(ax: Axes, fractions: Sequence[float]) -> str:
    """Scale a percent axis to its values; stretched towards 100 % where they come near it.

    Close to 100 % the errors are what differs: 98 and 99 % are as far apart as 80 and 90 %.
    No error has no logarithm: where a value is 100 %, or all but, half of the next smallest error
    is added to all, which puts 100 % on the axis, a little above the others.

    Returns:
        A remark for the headline; empty when the axis is linear.
    """
    values = np.asarray([value for value in fractions if np.isfinite(value)])
    if not len(values):
        return ""
    low, high = float(values.min()), float(values.max())
    if high < 0.9 or high - low < 0.01:
        margin = max(0.05 * (high - low), 0.003)
        ax.set_ylim(100 * max(low - margin, 0), 100 * min(high + margin, 1.0005))
        return ""
    perfect = high > 0.9998
    added = max(1 - float(values[values < 1].max()), 5e-4) / 2 if perfect else 0.0

    def forward(value: np.ndarray) -> np.ndarray:
        return -np.log10(np.clip(1 + added - np.asarray(value) / 100, 1e-5, None))

    def backward(value: np.ndarray) -> np.ndarray:
        return 100 * (1 + added - 10 ** -np.asarray(value))

    functions: tuple[Callable[..., Any], Callable[..., Any]] = (forward, backward)
    ax.set_yscale("function", functions=functions)
    floor = max(low, 0.02)
    bottom = max(100 * (1 - (1 - floor) * 1.08), 0)
    top = 100 * (1 - (1 - high) * 0.85)
    if perfect:  # room above for half a marker
        low_end, high_end = forward(np.array([bottom, 100]))
        top = float(backward(high_end + 0.03 * (high_end - low_end)))
    ax.set_ylim(bottom, top)
    ladder = [0, 20, 40, 50, 60, 70, 80, 85, 90, 92, 94, 95, 96, 97, 97.5, 98, 98.5, 99, 99.5]
    ladder += [99.7, 99.8, 99.9, 99.95]
    inside = [tick for tick in ladder if bottom <= tick <= top]
    kept: list[float] = []
    gap = 0.05 * np.ptp(forward(np.array([bottom, top])))
    for tick in inside:  # leave out ticks that would collide with the one below
        if not kept or forward(np.array(tick)) - forward(np.array(kept[-1])) > gap:
            kept.append(tick)
    if perfect:  # 100 is the one that must be there
        kept = [tick for tick in kept if high_end - forward(np.array(tick)) > gap] + [100]
    ax.set_yticks(kept, [f"{tick:g}" for tick in kept])
    ax.minorticks_off()
    return "axis stretched towards 100 %"
