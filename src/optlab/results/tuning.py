"""The fair sweeper's part of study.json: trials on one seed, and the winners it re-ran.

Shape of `tuning` (anything else in it is ignored):

    {"trials": 9, "tuning_seed": 0, "seeds": [1, 2, 3, 4, 5],
     "rows": [{"optimizer": "adam", "hash": "...", "overrides": ["optimizer.lr=0.001"],
               "params": {"lr": 0.001}, "val_accuracy": 0.97 or null, "status": "finished"}],
     "winners": [{"optimizer": "adam", "hash": "...", "overrides": [...], "params": {"lr": 0.001},
                  "edge": ["lr"]}],
     "warnings": ["..."]}

`edge` names the knobs of a winner that lie at the edge of the searched space.
"""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from optlab.results.records import Run


@dataclass(frozen=True, eq=False)
class Tuning:
    """Trials, winners and warnings of one tuning."""

    trials: int  # for each optimizer
    tuning_seed: int | None
    seeds: tuple[int, ...]  # the fresh ones that the winners were re-run on
    rows: tuple[dict[str, Any], ...]
    winners: tuple[dict[str, Any], ...]
    warnings: tuple[str, ...]

    @classmethod
    def from_meta(cls, meta: Any) -> "Tuning | None":
        """None unless study.json holds tuning rows or winners."""
        if not isinstance(meta, dict) or not (meta.get("rows") or meta.get("winners")):
            return None
        rows = tuple(row for row in meta.get("rows") or () if isinstance(row, dict))
        return cls(
            trials=int(meta.get("trials") or 0),
            tuning_seed=meta.get("tuning_seed"),
            seeds=tuple(meta.get("seeds") or ()),
            rows=rows,
            winners=tuple(row for row in meta.get("winners") or () if isinstance(row, dict)),
            warnings=tuple(str(text) for text in meta.get("warnings") or ()),
        )

    @property
    def knobs(self) -> tuple[str, ...]:
        """Names of all knobs that were tuned, as they stand in `params`."""
        return tuple(sorted({knob for row in self.rows for knob in row.get("params") or {}}))

    def is_trial(self, run: Run) -> bool:
        """Whether a run only chose settings: a trial's hash, on the tuning seed."""
        return run.seed == self.tuning_seed and any(
            _same_hash(run.hash, row.get("hash")) for row in self.rows
        )

    def num_diverged(self, optimizer: str) -> int:
        return sum(
            row.get("optimizer") == optimizer and row.get("status") == "diverged"
            for row in self.rows
        )

    def winners_table(self) -> pd.DataFrame:
        """One row an optimizer: the settings that won, and what to be careful about."""
        return pd.DataFrame(self.winners_rows())

    def winners_rows(self) -> list[dict[str, Any]]:
        table = []
        for winner in sorted(self.winners, key=lambda row: str(row.get("optimizer"))):
            name = str(winner.get("optimizer"))
            params = winner.get("params") or {}
            scores = [
                row.get("val_accuracy")
                for row in self.rows
                if _same_hash(winner.get("hash"), row.get("hash"))
            ]
            table.append(
                {
                    "optimizer": name,
                    "settings": ", ".join(
                        f"{knob}={_short(value)}" for knob, value in sorted(params.items())
                    ),
                    "val_accuracy_of_trial": scores[0] if scores else None,
                    "num_trials": sum(row.get("optimizer") == name for row in self.rows),
                    "num_diverged": self.num_diverged(name),
                    "at_edge_of_space": ", ".join(map(str, winner.get("edge") or ())),
                }
            )
        return table


def _same_hash(one: Any, other: Any) -> bool:
    """Hashes may have been shortened to the eight digits of a folder's name."""
    one, other = str(one or ""), str(other or "")
    return min(len(one), len(other)) >= 8 and (one.startswith(other) or other.startswith(one))


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
