"""The style of all pictures: the Display base class, type, axes, titles and legends.

Every picture is drawn under `STYLE` and leaves matplotlib's settings as they were. Figures are made
without pyplot, so they may be drawn in several threads and processes at once.
"""

import io
import textwrap
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from optlab.files import atomic_write

DPI = 160
WIDTH_IN = 7.2
INK, MUTED, FAINT = "#1F2328", "#5B6270", "#F1F2F4"
SIZE_TITLE, SIZE_TEXT, SIZE_SMALL = 12.0, 10.0, 8.5
STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#A9B0B8",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelcolor": INK,
    "axes.labelsize": SIZE_TEXT,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": SIZE_TEXT,
    "font.size": SIZE_TEXT,
    "grid.color": "#E3E6EA",
    "legend.fontsize": SIZE_SMALL,
    "legend.frameon": False,
    "legend.handlelength": 3,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
    "text.color": INK,
    **{f"{axis}.color": MUTED for axis in ("xtick", "ytick")},
    **{f"{axis}.labelcolor": INK for axis in ("xtick", "ytick")},
    **{f"{axis}.labelsize": SIZE_SMALL + 0.5 for axis in ("xtick", "ytick")},
    **{f"{axis}.major.size": 3 for axis in ("xtick", "ytick")},
}
_LOCK = threading.RLock()  # matplotlib's settings belong to all threads
_MAX_NAMES_AT_THE_SIDE = 14


@dataclass(eq=False, kw_only=True)
class Display:
    """Base of all pictures: a subclass holds arrays and says how to `draw` them."""

    title: str = ""
    ax: Axes | None = field(default=None, init=False, repr=False)
    artists: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def figure_size(self) -> tuple[float, float]:
        """Width and height in inches of a figure of its own."""
        return WIDTH_IN, 4.3

    def draw(self, ax: Axes) -> str:
        """Draw on the axes.

        Returns:
            How to read the picture; it is shown below the title.
        """
        raise NotImplementedError

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw on the given axes or on a new figure, and return the Display."""
        with _LOCK, matplotlib.rc_context(STYLE):
            self.ax = new_axes(self.figure_size) if ax is None else ax
            note = self.draw(self.ax)
            if ax is None:
                _write_headline(self.figure, self.title, note)
            else:
                ax.set_title("\n".join(filter(None, (self.title, note))))
        return self

    @property
    def figure(self) -> Figure:
        """The figure that it is drawn on.

        Raises:
            ValueError: it is not drawn yet.
        """
        if self.ax is None:
            raise ValueError(
                f"this {type(self).__name__} is not drawn yet.\n\n"
                "hint: call plot() before it is saved"
            )
        figure = self.ax.get_figure(root=True)
        assert figure is not None
        return figure

    def png(self) -> bytes:
        """The figure as a PNG; the same data give the same bytes."""
        buffer = io.BytesIO()
        canvas = self.figure.canvas
        # What savefig does, but for its first drawing, which repeats the whole layout
        FigureCanvasAgg(self.figure).print_png(
            buffer, metadata={"Software": None}, pil_kwargs={"compress_level": 4}
        )
        self.figure.set_canvas(canvas)
        return buffer.getvalue()

    def save(self, path: str | Path) -> Path:
        """Write a PNG, whole or not at all; folders on the way are made."""
        path = Path(path)
        with atomic_write(path) as partial:
            partial.write_bytes(self.png())
        return path

    def _repr_png_(self) -> bytes | None:
        return self.png() if self.ax is not None else None


@dataclass(eq=False, kw_only=True)
class RowsDisplay(Display):
    """Base of horizontal charts with a row for each label."""

    labels: Sequence[str]

    @property
    def figure_size(self) -> tuple[float, float]:
        num_lines = max((wrapped(label).count("\n") + 1 for label in self.labels), default=1)
        row_in = max(0.36, num_lines * SIZE_TEXT * 1.2 / 72 + 0.1)
        return WIDTH_IN, 1.5 + row_in * max(len(self.labels), 2)

    def label_rows(self, ax: Axes) -> np.ndarray:
        """Label the rows from the top down, and return their y positions."""
        rows = np.arange(len(self.labels))
        ax.set_yticks(rows, [wrapped(label) for label in self.labels], fontsize=SIZE_TEXT)
        ax.set_ylim(len(rows) - 0.4, -0.6)
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
        ax.grid(False)
        ax.grid(axis="x")
        return rows


def new_axes(figure_size: tuple[float, float] = (WIDTH_IN, 4.3)) -> Axes:
    """Axes on a new figure; the layout makes room for labels, titles and legends."""
    figure = Figure(figsize=figure_size, dpi=DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure.add_subplot()


def divide(ax: Axes, rows: int, columns: int, **ratios: Sequence[float]) -> np.ndarray:
    """Put a grid of axes in the place of some axes, which stay as an empty frame.

    Returns:
        Axes of shape (rows, columns).
    """
    ax.set_axis_off()
    place = ax.get_subplotspec()
    assert place is not None, "only axes of a grid can be divided"
    return place.subgridspec(rows, columns, **ratios).subplots(squeeze=False)


def _write_headline(figure: Figure, title: str, note: str) -> None:
    """Title and note at the left edge; the axes keep out of their way."""
    width, height = figure.get_size_inches()
    room = (width - 0.3) * 72  # in points
    note = textwrap.fill(note, int(room / (0.54 * SIZE_SMALL)))
    size = min(SIZE_TITLE, max(room / (0.64 * max(len(title), 1)), SIZE_SMALL))
    top = {"x": 0.12 / width, "va": "top", "ha": "left"}
    figure.text(y=1 - 0.1 / height, s=title, size=size, weight="bold", color=INK, **top)
    figure.text(y=1 - 0.33 / height, s=note, size=SIZE_SMALL, color=MUTED, **top)
    header_in = 0.4 + 0.16 * (note.count("\n") + 1) * bool(note)
    layout = figure.get_layout_engine()
    assert layout is not None
    layout.set(rect=(0, 0, 1, 1 - header_in / height), w_pad=0.12, h_pad=0.08)  # type: ignore[call-arg]


def wrapped(label: str, width: int = 26) -> str:
    """A long label in several lines."""
    kept = label.replace(" ·", "\N{NO-BREAK SPACE}·")  # no line begins with the dot
    return textwrap.fill(kept, width).replace("\N{NO-BREAK SPACE}", " ")


def name_lines(ax: Axes, lines: Sequence[Line2D], ends: Sequence[float]) -> list[str]:
    """Name lines in a legend next to the axes, or below them where names are many or long.

    Args:
        ends: y of each line's last point; names are in the order of the lines' ends.

    Returns:
        The names as shown, from the top.
    """
    order = sorted(range(len(lines)), key=lambda index: -np.nan_to_num(ends[index]))
    handles = [lines[index] for index in order]
    names = [wrapped(str(line.get_label())) for line in handles]
    figure = ax.get_figure(root=True)
    assert figure is not None
    fits = len(names) <= _MAX_NAMES_AT_THE_SIDE and not any("\n" in name for name in names)
    if fits or len(figure.axes) > 1:  # other axes may be below
        ax.legend(handles, names, loc="upper left", bbox_to_anchor=(1, 1))
    else:
        width, height = figure.get_size_inches()
        longest = max(len(line) for name in names for line in name.split("\n"))
        columns = max(int(width * 72 / ((0.6 * longest + 6) * SIZE_SMALL)), 1)
        lines_each = max(name.count("\n") + 1 for name in names)
        legend_in = -(-len(names) // columns) * (lines_each * SIZE_SMALL * 1.2 / 72 + 0.06)
        figure.set_size_inches(width, height + legend_in)
        figure.legend(handles, names, loc="outside lower left", ncols=columns)
    return names


def write_beside(ax: Axes, row: float, text: str) -> Any:
    """Write to the right of a row, outside the axes."""
    return ax.annotate(
        text,
        (1.0, row),
        xycoords=("axes fraction", "data"),
        xytext=(8, 0),
        textcoords="offset points",
        va="center",
        fontsize=SIZE_SMALL + 0.5,
        annotation_clip=False,
    )


def with_thousands(ax: Axes) -> None:
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
