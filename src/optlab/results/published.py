"""Our figures beside published ones, matched by config keys in study.json."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from optlab.results.groups import Group, Problem
from optlab.results.statistics import Estimate, mean_interval
from optlab.results.summary import validation_score

_SPLITS = {"test/accuracy": "test", "val/accuracy": "validation"}


@dataclass(frozen=True)
class PublishedRow:
    """One published figure and what we measured for the same configuration."""

    label: str
    published: float
    best: Estimate | None  # at the best-validation weights
    last: Estimate | None  # at the last weights
    note: str
    matched: str  # label of our group; empty when there is none

    @property
    def difference(self) -> float | None:
        """Ours at the best-validation weights minus the published figure."""
        return None if self.best is None else self.best.mean - self.published


def published_rows(meta: dict[str, Any] | None, problems: Iterable[Problem]) -> list[PublishedRow]:
    """Rows of study.json's `published`, in its order; empty where it has none.

    Rows without a figure are left out; `rows_without_a_figure` names them.

    Raises:
        ValueError: its metric is neither test/accuracy nor val/accuracy.
    """
    published = (meta or {}).get("published")
    if not published or not isinstance(published, dict):
        return []
    metric = published.get("metric")
    if metric not in _SPLITS:
        raise ValueError(
            f"published.metric of study.json is {metric!r}; known are {', '.join(_SPLITS)}.\n\n"
            "hint: correct it in the experiment's file and run the command again"
        )
    groups = [group for problem in problems for group in problem.groups]
    return [_row(row, _SPLITS[metric], groups) for row in _rows(published) if _has_figure(row)]


def rows_without_a_figure(meta: dict[str, Any] | None) -> list[str]:
    """What is wrong with each published row that nothing can be compared with."""
    return [
        f"row {number} of published needs a label and a number as its value, and what to match as "
        f"keys and values: {json.dumps(row)}"
        for number, row in enumerate(_rows((meta or {}).get("published")), start=1)
        if not _has_figure(row)
    ]


def _rows(published: Any) -> list[Any]:
    if published is None:
        return []
    rows = published.get("rows") or [] if isinstance(published, dict) else published
    return rows if isinstance(rows, list) else [rows]


def _has_figure(row: Any) -> bool:
    if not isinstance(row, dict) or "label" not in row or isinstance(row.get("value"), bool):
        return False
    return isinstance(row.get("value"), int | float) and isinstance(row.get("match", {}), dict)


def _row(row: dict[str, Any], split: str, groups: list[Group]) -> PublishedRow:
    match = row.get("match") or {}
    fitting = [group for group in groups if group.finished and _fits(group, match)]
    notes = [str(row["note"])] if row.get("note") else []
    if len(fitting) > 1:
        fitting.sort(
            key=lambda group: -(validation_score(group, len(group.finished[0].class_names)) or 0.0)
        )
        notes.append(f"{len(fitting)} of our settings match; best by validation")
    ours = fitting[0] if fitting else None
    return PublishedRow(
        label=str(row["label"]),
        published=float(row["value"]),
        best=_estimate(ours, split, "best"),
        last=_estimate(ours, split, "last"),
        note="; ".join(notes),
        matched=ours.label if ours else "",
    )


def _estimate(group: Group | None, split: str, weights: str) -> Estimate | None:
    return mean_interval(list(group.accuracies(split, weights).values())) if group else None


def _fits(group: Group, match: dict[str, Any]) -> bool:
    return all(key in group.config and _same(group.config[key], match[key]) for key in match)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, int | float) and isinstance(other, int | float):
        return float(one) == float(other) and isinstance(one, bool) == isinstance(other, bool)
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


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
                "num_runs": row.best.n if row.best else 0,
                "difference": row.difference,
                "our_label": row.matched,
                "note": row.note,
            }
            for row in rows
        ]
    )
