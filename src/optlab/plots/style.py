"""The style of all pictures: the Display base class, type, axes, titles and legends.

Every picture is drawn under `STYLE` and leaves matplotlib's rcParams as they were. Figures are made
without pyplot, so they may be drawn in several threads and processes at once.
"""

import io
import re
import textwrap
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from optlab.analysis.labels import display_name
from optlab.files import atomic_write
from optlab.plots.palette import DARK_PAPER, SPARE_COLORS, STYLES, on_dark

DPI = 160
WIDTH_IN = 7.2
INK, MUTED, FAINT = "#1F2328", "#5B6270", "#F1F2F4"
GRID, EDGE, WHITE = "#E3E6EA", "#A9B0B8", "#FFFFFF"
SIZE_TITLE, SIZE_TEXT, SIZE_SMALL = 12.0, 10.0, 8.5
STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": EDGE,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelcolor": INK,
    "axes.labelsize": SIZE_TEXT,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": SIZE_TEXT,
    "font.size": SIZE_TEXT,
    "grid.color": GRID,
    "legend.fontsize": SIZE_SMALL,
    "legend.frameon": False,
    "legend.handlelength": 3,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
    "path.simplify_threshold": 0.25,  # of a pixel; it makes long curves small in an SVG
    "svg.hashsalt": "optlab",  # the same data give the same names of elements
    "text.color": INK,
    **{f"{axis}.color": MUTED for axis in ("xtick", "ytick")},
    **{f"{axis}.labelcolor": INK for axis in ("xtick", "ytick")},
    **{f"{axis}.labelsize": SIZE_SMALL + 0.5 for axis in ("xtick", "ytick")},
    **{f"{axis}.major.size": 3 for axis in ("xtick", "ytick")},
}
DARK = {  # what a picture's colors become in dark mode; those of lines get lighter where needed
    INK: "#E8EAED",
    MUTED: "#A3ABB6",
    FAINT: "#20242A",
    GRID: "#2D333B",
    EDGE: "#5A626C",
    **{color: on_dark(color) for color in (*(s.color for s in STYLES.values()), *SPARE_COLORS)},
}
_LOCK = threading.RLock()  # rcParams belong to all threads
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
        # What savefig does, without its first drawing, which repeats the whole layout
        FigureCanvasAgg(self.figure).print_png(
            buffer, metadata={"Software": None}, pil_kwargs={"compress_level": 4}
        )
        self.figure.set_canvas(canvas)
        return buffer.getvalue()

    def in_all_formats(self) -> dict[str, bytes]:
        """The figure by suffix, as PNG, SVG and PDF; its layout is found once."""
        png = self.png()
        self.figure.set_layout_engine("none")
        return {"png": png, "svg": self.svg(), "pdf": self.pdf()}

    def svg(self) -> bytes:
        """The figure as an SVG whose colors follow a dark page; the same data, the same bytes."""
        text = self._print(FigureCanvasSVG, "svg", {"Date": None}).decode()
        return text.replace("</style>", _dark_rules(text) + "</style>", 1).encode()

    def pdf(self) -> bytes:
        """The figure as a PDF; the same data give the same bytes."""
        return self._print(FigureCanvasPdf, "pdf", {"CreationDate": None})

    def _print(self, canvas: type[FigureCanvasBase], kind: str, metadata: dict[str, Any]) -> bytes:
        buffer, figure, before = io.BytesIO(), self.figure, self.figure.canvas
        with _LOCK, matplotlib.rc_context(STYLE):
            getattr(canvas(figure), f"print_{kind}")(buffer, metadata=metadata)
            figure.set_canvas(before)
        return buffer.getvalue()

    def save(self, path: str | Path) -> Path:
        """Write a PNG, whole or not at all; folders on the way are made."""
        path = Path(path)
        with atomic_write(path) as partial:
            partial.write_bytes(self.png())
        return path

    def _repr_png_(self) -> bytes | None:
        return self.png() if self.ax is not None else None


def _dark_rules(svg: str) -> str:
    """Style rules of a picture for dark mode on screens.

    White text stays white, because it is written on color; other white is paper.
    """
    found = {color.upper() for color in re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", svg)}
    rules = [
        f'[style*="{part}: {color.lower()}"]{{{part}:{dark}!important}}'
        for color, dark in DARK.items()
        if color in found and color != dark
        for part in ("fill", "stroke")
    ]
    paper = "#" + "".join(f"{channel:02X}" for channel in DARK_PAPER)
    rules += [
        f'{tag}[style*="{part}: #ffffff"]{{{part}:{paper}!important}}'
        for tag in ("path", "use")
        for part in ("fill", "stroke")
    ]
    return "@media screen and (prefers-color-scheme: dark){" + "".join(rules) + "}"


@dataclass(eq=False, kw_only=True)
class RowsDisplay(Display):
    """Base of horizontal charts with a row for each label."""

    labels: Sequence[str]

    @property
    def figure_size(self) -> tuple[float, float]:
        names = [wrapped(display_name(label)) for label in self.labels]
        num_lines = max((name.count("\n") + 1 for name in names), default=1)
        row_in = max(0.36, num_lines * SIZE_TEXT * 1.2 / 72 + 0.1)
        return WIDTH_IN, 1.5 + row_in * max(len(self.labels), 2)

    def label_rows(self, ax: Axes) -> np.ndarray:
        """Label the rows from the top down, and return their y positions."""
        rows = np.arange(len(self.labels))
        names = [wrapped(display_name(label)) for label in self.labels]
        ax.set_yticks(rows, names, fontsize=SIZE_TEXT)
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


def shortened(names: Sequence[str], most: int = 16) -> list[str]:
    """Names of at most so many characters, numbered where that makes two of them equal."""

    def cut(name: str, most: int) -> str:
        return name if len(name) <= most else name[: most - 1].rstrip() + "…"

    short = [cut(name, most) for name in names]
    if len(set(short)) == len(set(names)):
        return short
    return [cut(f"{index}: {name}", most) for index, name in enumerate(names)]


def name_lines(ax: Axes, lines: Sequence[Line2D], ends: Sequence[float]) -> list[str]:
    """Name lines by their labels, next to the axes or below them where names are many or long.

    Args:
        ends: y of each line's last point; names are in the order of the lines' ends.

    Returns:
        The names as shown, from the top.
    """
    order = sorted(range(len(lines)), key=lambda index: -np.nan_to_num(ends[index]))
    handles = [lines[index] for index in order]
    names = [wrapped(display_name(str(line.get_label()))) for line in handles]
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


def annotate_row(ax: Axes, row: float, text: str) -> Any:
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
