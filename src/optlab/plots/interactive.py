"""Curves to look at in a browser: their data, and the files of `static` that draw them.

The page and the report share them. uPlot 1.6.32 (Leon Sorokin, MIT license, static/LICENSE.uPlot)
draws, curves.js around it lets readers choose lines, axes and smoothing. Its strings are in
curves.en.json; the page, not the report, has them in other languages as well.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from optlab.analysis.labels import display_name
from optlab.analysis.mean_curves import mean_curves
from optlab.analysis.records import Run
from optlab.analysis.workloads import Configuration
from optlab.plots.curves import Curve, Points, band_counts, build_curve
from optlab.plots.palette import LineStyle, on_dark

STATIC = Path(__file__).parent / "static"
MOST_POINTS = 1000  # of a line
QUANTITIES = {  # title: table of a run, its column, in percent
    "training loss": ("steps", "train/loss", False),
    "validation loss": ("epochs", "val/loss", False),
    "validation accuracy": ("epochs", "val/accuracy", True),
}


def scripts() -> tuple[str, str]:
    """Return what a page has to run, a script and a module that needs it, as they are inlined.

    The server of the page allows these two in a report and no other.
    """
    library, module, strings = (
        (STATIC / name).read_text("utf-8")
        for name in ("uPlot.iife.min.js", "curves.js", "curves.en.json")
    )
    return library, f"{module}\nshowAll({strings.strip()});\n"


def stylesheet() -> str:
    return "".join((STATIC / name).read_text("utf-8") for name in ("uPlot.min.css", "curves.css"))


def curves_data(
    configurations: Sequence[Configuration], styles: Mapping[str, LineStyle]
) -> list[dict[str, Any]]:
    """Return the quantities that runs have curves of, as curves.js takes them.

    Each is `title`, `percent`, `notes` (names and numbers) and `lines`. A line is `name`, `color`,
    `dark` (its color on dark paper), `dashes`, `step`, `y`, `low` and `high` (None without a band),
    `diverged` (a single run that did), and `knots`: optimizer step, epoch and seconds of training
    at the end of each epoch, means over runs. Beyond `MOST_POINTS` steps, a point is the mean over
    several.

    Args:
        styles: by label.
    """
    quantities = []
    for title, (table, column, percent) in QUANTITIES.items():
        runs = [run for one in configurations for run in one.runs]
        longest = max((len(getattr(run, table)) for run in runs), default=0)
        every = -(-longest // MOST_POINTS) or 1
        read = partial(_read, table=table, column=column, every=every)
        curves = [build_curve(one, styles[one.label], read) for one in configurations]
        highest = 1.0 if percent else np.inf
        lines = []
        for one, curve in zip(configurations, curves, strict=True):
            style = {
                "name": display_name(curve.label),
                "color": curve.style.color,
                "dark": on_dark(curve.style.color),
                "dashes": list(curve.style.dashes),
                "knots": _knots(one.finished or one.diverged),
            }
            if len(curve.x):
                band: dict[str, list[float] | None] = {"low": None, "high": None}
                if curve.low is not None and curve.high is not None:
                    band = {
                        "low": _short(curve.low.clip(0, highest)),
                        "high": _short(curve.high.clip(0, highest)),
                    }
                points = {"step": _short(curve.x), "y": _short(curve.mean), "diverged": False}
                lines.append(style | points | band)
            for x, y in curve.broken_off:
                points = {"step": _short(x), "y": _short(y), "diverged": True}
                lines.append(style | points | {"low": None, "high": None})
        if lines:
            notes: list[dict[str, Any]] = [{"name": "mean", "count": every}] * (every > 1)
            notes += _band_notes(curves)
            notes += [{"name": "diverged"}] * any(curve.broken_off for curve in curves)
            quantity = {"title": title, "percent": percent, "notes": notes}
            quantities.append(quantity | {"lines": lines})
    return quantities


def _band_notes(curves: Sequence[Curve]) -> list[dict[str, Any]]:
    counts = band_counts(curves)
    intervals = [count for count in counts if count > 2]
    notes: list[dict[str, Any]] = []
    if intervals:
        name = "band" if len(intervals) == 1 else "bands"
        notes.append({"name": name, "count": intervals[0], "most": intervals[-1]})
    return notes + [{"name": "range"}] * (2 in counts)


def _read(run: Run, table: str, column: str, every: int) -> Points:
    """Step and value of a run, each the mean over `every` rows."""
    rows = getattr(run, table)
    starts = np.arange(0, len(rows), every)
    if not len(starts):
        return np.array([]), np.array([])
    counts = np.diff([*starts, len(rows)])
    step, value = (
        np.add.reduceat(rows[name].to_numpy(), starts) / counts for name in ("step", column)
    )
    return step, value


def _knots(runs: Sequence[Run]) -> list[list[float]]:
    runs = [run for run in runs if len(run.epochs)]
    if not runs:
        return []
    means = mean_curves(runs).reset_index()
    knots = means[["step", "epoch", "train_time_s"]].to_numpy()
    return [_short(knot) for knot in knots[np.isfinite(knots).all(axis=1)]]


def _short(values: np.ndarray) -> list[float]:
    """Numbers with five digits, whole ones as they are, for a small page."""
    return [
        int(value) if float(value).is_integer() else float(f"{value:.5g}")
        for value in values.tolist()
    ]
