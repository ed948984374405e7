"""The report's folder: pictures and tables as files, and as the page shows them."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from optlab.files import atomic_write
from optlab.plots.palette import LineStyle
from optlab.plots.style import Display


@dataclass(frozen=True)
class Figure:
    """A picture: its file next to the page, and the same bytes inside it."""

    file: str
    data: str  # base64
    alt: str
    width: int  # pixels


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


@dataclass(eq=False)
class ReportFolder:
    """Writes pictures and tables into the report's folder and remembers their names."""

    folder: Path
    written: list[str] = field(default_factory=list)

    def figure(self, name: str, display: Display, alt: str) -> Figure:
        """Draw and save a picture as PNG, and return it for the page."""
        data = display.plot().png()
        self.write(f"{name}.png", data)
        width = int.from_bytes(data[16:20], "big")  # the PNG header holds it there
        return Figure(f"{name}.png", base64.b64encode(data).decode(), alt, width)

    def csv(self, name: str, table: pd.DataFrame) -> str:
        self.write(f"{name}.csv", table.to_csv(index=False, lineterminator="\n").encode())
        return f"{name}.csv"

    def write(self, name: str, data: bytes) -> None:
        """Write a file whole or not at all: someone may be reading the report."""
        with atomic_write(self.folder / name) as partial:
            partial.write_bytes(data)
        self.written.append(name)

    def remove_older(self, stems: Sequence[str]) -> None:
        """Remove what an earlier report wrote under these names and this one did not."""
        for path in self.folder.iterdir():
            ours = any(path.stem == stem or path.stem.startswith(f"{stem}-") for stem in stems)
            if ours and path.suffix in (".png", ".csv", ".md") and path.name not in self.written:
                path.unlink()
