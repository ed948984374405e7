"""The report's folder: pictures and tables as files, and as the page shows them."""

import base64
import mimetypes
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from optlab.files import atomic_write
from optlab.plots.palette import LineStyle
from optlab.plots.style import Display

PIXELS_PER_IN = 115  # of the page, for a picture's inch
SUFFIXES = (".png", ".svg", ".pdf", ".csv", ".tex", ".md")
ItemT = TypeVar("ItemT")


@dataclass(frozen=True)
class Figure:
    """A picture: `name`.svg is on the page, with a PDF to download; the folder has a PNG too."""

    name: str  # of its files, without suffix
    alt: str
    width: int  # of the page, in pixels


@dataclass(frozen=True)
class Table:
    """A table of texts as the page shows it.

    Attributes:
        left: the columns that are words and not numbers.
        file: the same as CSV.
        styles: the line that is drawn in front of a cell with this text.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: Sequence[int] = (0,)
    file: str | None = None
    styles: Mapping[str, LineStyle] = field(default_factory=dict)

    @classmethod
    def of(
        cls, items: Iterable[ItemT], columns: Mapping[str, Callable[[ItemT], str]], **options: Any
    ) -> "Table":
        """Build a row for each item; `columns` maps a heading to the text of an item."""
        rows = [tuple(text(item) for text in columns.values()) for item in items]
        return cls(tuple(columns), rows, **options)


@dataclass(eq=False)
class ReportFolder:
    """Writes pictures and tables into the report's folder and keeps them for the page.

    Attributes:
        suffix: ends the names of pictures and tables.
        figures: the pictures, by name without the suffix.
        written: the content of all files.
    """

    folder: Path
    suffix: str = ""
    figures: dict[str, Figure] = field(default_factory=dict)
    written: dict[str, bytes] = field(default_factory=dict)

    def with_suffix(self, suffix: str) -> "ReportFolder":
        """The same folder for one workload, which has figures of its own."""
        return replace(self, suffix=suffix, figures={})

    def figure(self, name: str, display: Display, alt: str) -> None:
        """Draw and save a picture as PNG, SVG and PDF, and keep it for the page."""
        file = f"{name}{self.suffix}"
        for kind, data in display.plot().in_all_formats().items():
            self.write(f"{file}.{kind}", data)
        self.figures[name] = Figure(file, alt, round(display.figure_size[0] * PIXELS_PER_IN))

    def uri(self, name: str) -> str:
        """A written file as a data: URI, so that the page has it inside."""
        kind = mimetypes.guess_type(name)[0] or "text/plain"
        return f"data:{kind};base64,{base64.b64encode(self.written[name]).decode()}"

    def csv(self, name: str, table: pd.DataFrame) -> str:
        file = f"{name}{self.suffix}.csv"
        self.write(file, table.to_csv(index=False, lineterminator="\n").encode())
        return file

    def write(self, name: str, data: bytes) -> None:
        """Write a file whole or not at all: someone may be reading the report."""
        with atomic_write(self.folder / name) as partial:
            partial.write_bytes(data)
        self.written[name] = data

    def remove_older(self, stems: Sequence[str]) -> None:
        """Remove what an earlier report wrote under these names and this one did not."""
        for path in self.folder.iterdir():
            ours = any(path.stem == stem or path.stem.startswith(f"{stem}-") for stem in stems)
            if ours and path.suffix in SUFFIXES and path.name not in self.written:
                path.unlink()
