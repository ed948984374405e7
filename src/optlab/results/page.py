"""The pieces that a report page is made of, and the files beside it."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
import pandas as pd

from optlab.files import whole_file
from optlab.results.palette import LineStyle

if TYPE_CHECKING:  # matplotlib is imported when a report is made, not with this package
    from optlab.results.figures.canvas import Picture

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Cell:
    """One cell of a table; with a style, a sample of its line stands before the text."""

    text: str
    style: LineStyle | None = None


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    kind: str = "text"


@dataclass(frozen=True)
class Items:
    """A list of sentences."""

    items: tuple[str, ...]
    kind: str = "items"


@dataclass(frozen=True)
class Command:
    """Something to type."""

    text: str
    kind: str = "command"


@dataclass(frozen=True)
class Shown:
    """A figure: its file beside the page, and the same bytes inside it."""

    file: str
    data: str  # base64
    alt: str
    width: int  # pixels
    kind: str = "figure"


@dataclass(frozen=True)
class TableBlock:
    """A table; `left` names the columns that are words and not numbers."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    left: tuple[int, ...]
    file: str | None = None
    kind: str = "table"


Block = Text | Items | Command | Shown | TableBlock


@dataclass(frozen=True)
class Section:
    title: str
    blocks: tuple[Block, ...]

    @property
    def anchor(self) -> str:
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


@dataclass(frozen=True)
class Chapter:
    """Sections under one heading; without a title they stand at the top level."""

    title: str | None
    sections: tuple[Section, ...]


@dataclass(eq=False)
class ReportFolder:
    """Writes pictures and tables into the report's folder and remembers their names."""

    folder: Path
    written: list[str] = field(default_factory=list)

    def picture(self, name: str, picture: "Picture", alt: str) -> Shown:
        """Save a drawn figure as PNG and give it back for the page."""
        data = picture.png()
        self.write(f"{name}.png", data)
        width = int.from_bytes(data[16:20], "big")  # the PNG header holds it there
        return Shown(f"{name}.png", base64.b64encode(data).decode(), alt, width)

    def csv(self, name: str, table: pd.DataFrame) -> str:
        self.write(f"{name}.csv", table.to_csv(index=False, lineterminator="\n").encode())
        return f"{name}.csv"

    def write(self, name: str, data: bytes) -> None:
        """Write a file whole or not at all: someone may be reading the report."""
        with whole_file(self.folder / name) as partial:
            partial.write_bytes(data)
        self.written.append(name)

    def remove_older(self, stems: Sequence[str]) -> None:
        """Remove what an earlier report wrote under these names and this one did not."""
        for path in self.folder.iterdir():
            ours = any(
                path.stem == stem or path.stem.startswith(f"{stem}-") for stem in stems
            ) and path.suffix in (".png", ".csv", ".md")
            if ours and path.name not in self.written:
                path.unlink()


def table_block(
    columns: Sequence[str],
    rows: Sequence[Sequence[str | Cell]],
    *,
    left: Sequence[int] = (0,),
    file: str | None = None,
) -> TableBlock:
    cells = tuple(
        tuple(cell if isinstance(cell, Cell) else Cell(cell) for cell in row) for row in rows
    )
    return TableBlock(tuple(columns), cells, tuple(left), file)


def render(**values: object) -> str:
    """The page as one HTML document without any outside reference."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=jinja2.select_autoescape(["html", "j2"]),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    css = (_TEMPLATES / "report.css").read_text(encoding="utf-8")
    return environment.get_template("report.html.j2").render(css=css, **values)


def markdown_row(cells: "tuple[str, ...] | list[str]") -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def markdown_rule(columns: tuple[str, ...]) -> str:
    return "|" + "|".join(" --- " for _ in columns) + "|"
