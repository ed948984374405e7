"""What the benchmark has measured, as it is printed, drawn and written down."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.measure import Spread

RATIO = "ratio"  # the unit of a quantity that says how many times as long, as much, as large


@dataclass(frozen=True)
class Quantity:
    """One thing that was measured in every repeat, and what it should be at most."""

    label: str
    unit: str
    values: list[float]  # one a repeat, in order
    target: float | None = None  # at most; None where nothing is asked for

    @property
    def spread(self) -> Spread:
        return Spread.of(self.values)

    @property
    def reached(self) -> bool | None:
        """Whether the median keeps the target; None without one."""
        return None if self.target is None else self.spread.median <= self.target


@dataclass(frozen=True)
class LineResult:
    """One line of the benchmark: what was measured under the same conditions."""

    name: str
    title: str
    conditions: str
    quantities: list[Quantity] = field(default_factory=list)
    error: str | None = None  # why there are no quantities


@dataclass(frozen=True)
class Report:
    """All lines of one run of the benchmark on one machine."""

    machine: dict[str, Any]
    lines: list[LineResult]

    @property
    def failed(self) -> bool:
        return any(line.error is not None for line in self.lines)

    def write(self, path: Path) -> None:
        """Write benchmark.json: every repeat of every quantity, and what the tables quote."""
        lines = []
        for line in self.lines:
            content = asdict(line)
            for quantity, written in zip(line.quantities, content["quantities"], strict=True):
                written |= {"spread": asdict(quantity.spread), "reached": quantity.reached}
            lines.append(content)
        path.write_text(json.dumps({"machine": self.machine, "lines": lines}, indent=1) + "\n")
