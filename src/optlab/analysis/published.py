"""Our numbers next to published ones, matched by config keys in study.json."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from optlab.analysis.statistics import Estimate, bounded, mean_interval
from optlab.analysis.summary import validation_score
from optlab.analysis.workloads import Configuration, Workload

_SPLITS = {"test/accuracy": "test", "val/accuracy": "validation"}


@dataclass(frozen=True)
class PublishedRow:
    """One published number and what we measured for the same configuration."""

    label: str
    published: float
    best: Estimate | None  # at the best-validation weights
    last: Estimate | None  # at the last weights
    note: str
    matched: str  # label of our configuration; empty when there is none

    @property
    def difference(self) -> float | None:
        """Ours at the best-validation weights minus the published number."""
        return None if self.best is None else self.best.mean - self.published


def published_rows(
    published: dict[str, Any] | None, workloads: Iterable[Workload]
) -> list[PublishedRow]:
    """Rows of study.json's `published`, in its order; empty where it has none.

    Rows without a number are left out; `rows_without_a_figure` names them.

    Raises:
        ValueError: its metric is neither test/accuracy nor val/accuracy.
    """
    if not published:
        return []
    metric = published.get("metric")
    if metric not in _SPLITS:
        raise ValueError(
            f"published.metric of study.json is {metric!r}; known are {', '.join(_SPLITS)}.\n\n"
            "hint: correct it in the experiment's file and run the command again"
        )
    finished = [one for workload in workloads for one in workload.configurations if one.finished]
    return [_row(row, _SPLITS[metric], finished) for row in _rows(published) if _has_figure(row)]


def rows_without_a_figure(published: dict[str, Any] | None) -> list[str]:
    """Return, for each published row without a counterpart, what is wrong with it."""
    return [
        f"row {number} of published needs a label and a number as its value, and what to match as "
        f"keys and values: {json.dumps(row)}"
        for number, row in enumerate(_rows(published), start=1)
        if not _has_figure(row)
    ]


def _rows(published: dict[str, Any] | None) -> list[Any]:
    rows = (published or {}).get("rows")
    return rows if isinstance(rows, list) else [rows] if rows else []


def _has_figure(row: Any) -> bool:
    if not isinstance(row, dict) or "label" not in row or isinstance(row.get("value"), bool):
        return False
    return isinstance(row.get("value"), int | float) and isinstance(row.get("match", {}), dict)


def _row(row: dict[str, Any], split: str, finished: list[Configuration]) -> PublishedRow:
    match = row.get("match") or {}
    fitting = [
        one
        for one in finished
        if all(key in one.config and _same(one.config[key], match[key]) for key in match)
    ]
    notes = [str(row["note"])] if row.get("note") else []
    if len(fitting) > 1:
        notes.append(f"{len(fitting)} of our configurations match; best by validation")
    ours = max(
        fitting,
        key=lambda one: validation_score(one, len(one.finished[0].class_names)) or 0.0,
        default=None,
    )
    best, last = (
        bounded(mean_interval([*ours.accuracies(split, weights).values()])) if ours else None
        for weights in ("best", "last")
    )
    return PublishedRow(
        label=str(row["label"]),
        published=float(row["value"]),
        best=best,
        last=last,
        note="; ".join(notes),
        matched=ours.label if ours else "",
    )


def _same(one: Any, other: Any) -> bool:
    """Equal values, where 1 equals 1.0 and True does not."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def published_table(rows: Iterable[PublishedRow]) -> pd.DataFrame:
    """Plain numbers for published.csv; accuracies are fractions."""
    return pd.DataFrame(
        [
            {
                "label": row.label,
                "published": row.published,
                "ours": row.best.mean if row.best else None,
                "ours_low": row.best.low if row.best else None,
                "ours_high": row.best.high if row.best else None,
                "ours_last_weights": row.last.mean if row.last else None,
                "num_runs": row.best.num_runs if row.best else 0,
                "difference": row.difference,
                "our_label": row.matched,
                "note": row.note,
            }
            for row in rows
        ]
    )
