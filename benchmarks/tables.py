"""The table of a benchmark: rich on the terminal, Markdown in a file."""

from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

from benchmarks.results import RATIO, LineResult, Quantity, Report

COLUMNS = ("", "median", "min", "max", "at most", "")


def table(line: LineResult) -> Table:
    """One line of the benchmark, for a terminal."""
    drawn = Table(title=escape(line.title), caption=escape(line.error or line.conditions))
    for column in COLUMNS:
        drawn.add_column(column, justify="left" if column == "" else "right")
    style = {"": "", "yes": "green", "no": "red"}
    for cells in _rows(line):
        drawn.add_row(*(escape(cell) for cell in cells), style=style[cells[-1]])
    return drawn


def markdown(report: Report) -> str:
    """benchmark.md: the machine, then every line as a table."""
    machine = report.machine
    device = machine["gpu"] or machine["cpu"]
    parts = [
        "# Benchmark",
        f"`{machine['command']}`",
        f"{device}, {machine['num_cores']} cores, {machine['memory_gib']} GiB, "
        f"{machine['num_threads']} thread(s) a run; {_versions(machine['versions'])}; "
        f"commit {machine['git_commit'] or 'unknown'}; {machine['started_at']}. "
        f"Medians of {machine['num_repeats']} repeats with their extremes; contenders took turns, "
        f"ratios are taken pair by pair. Load of the machine at the start: "
        f"{machine['load_at_start']}.",
    ]
    for line in report.lines:
        parts += [f"## {line.title}", line.conditions]
        if line.error:
            parts.append(f"Not measured:\n\n```\n{line.error}\n```")
            continue
        rows = [" | ".join(cells) for cells in _rows(line)]
        header = " | ".join(COLUMNS[:-1]) + " | reached"
        parts.append("\n".join(f"| {row} |" for row in [header, "---|" * 5 + "---", *rows]))
    return "\n\n".join(part for part in parts if part) + "\n"


def _rows(line: LineResult) -> Iterator[tuple[str, ...]]:
    for quantity in line.quantities:
        spread = quantity.spread
        yield (
            quantity.label,
            f"{_number(spread.median, quantity)}",
            _number(spread.min, quantity, with_unit=False),
            _number(spread.max, quantity, with_unit=False),
            "" if quantity.target is None else _number(quantity.target, quantity),
            {None: "", True: "yes", False: "no"}[quantity.reached],
        )


def _number(value: float, quantity: Quantity, *, with_unit: bool = True) -> str:
    """At least three digits, and no more than the spread deserves."""
    text = f"{value:,.0f}" if abs(value) >= 1000 or value == 0 else f"{value:#.3g}".rstrip(".")
    unit = "" if quantity.unit in (RATIO, "") or not with_unit else f" {quantity.unit}"
    return text + unit


def _versions(versions: dict[str, str]) -> str:
    named = ("python", "torch", "lightning", "optlab")
    return ", ".join(f"{name} {versions[name]}" for name in named if name in versions)
