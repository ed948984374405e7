"""The fair sweeper's part of study.json: trials on one seed, and the winners it re-ran.

Shape of `tuning` (anything else in it is ignored):

    {"rows": [{"optimizer": "adam", "contestant": "9f3a...", "typed": ["optimizer=adam"],
               "hash": "...", "tuning_seed": 0, "overrides": ["optimizer.lr=0.001"],
               "params": {"lr": 0.001}, "val_accuracy": 0.97 or null, "status": "finished"}],
     "winners": [{... its row, "edge": ["lr"], "seeds": [1, 2, 3, 4, 5], "runs": ["...", ...]}]}

A row is written before its trial starts, with the status `unfinished`, and again with its outcome
when all trials have ended. A sweep that was stopped in between leaves it as it was.

A contestant is what was tuned: one optimizer with whatever else was typed for it. `contestant` is
the hash of its config before tuning, `edge` names the knobs of a winner that lie at the edge of the
searched space, and `runs` are the hashes of its runs on the fresh seeds. Older files know a
contestant by its optimizer alone and no `runs`; they have one tuning seed, one list of seeds and
some `warnings` for the whole study.
"""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from optlab.results.display import joined


@dataclass(frozen=True, eq=False)
class Tuning:
    """All trials that a study has had, and the winners that stand."""

    rows: tuple[dict[str, Any], ...]  # trials whose outcome is noted
    winners: tuple[dict[str, Any], ...]
    warnings: tuple[str, ...] = ()  # as an older file has them
    unfinished: tuple[dict[str, Any], ...] = ()  # trials whose outcome is not: they score nothing

    @classmethod
    def from_meta(cls, meta: Any) -> "Tuning | None":
        """None unless study.json holds tuning rows or winners."""
        if not isinstance(meta, dict) or not (meta.get("rows") or meta.get("winners")):
            return None
        of_all = {key: meta[key] for key in ("tuning_seed", "seeds") if key in meta}
        rows, winners = (
            tuple({**of_all, **row} for row in meta.get(part) or () if isinstance(row, dict))
            for part in ("rows", "winners")
        )
        warnings = tuple(str(text) for text in meta.get("warnings") or ())
        noted, unfinished = (
            tuple(row for row in rows if (row.get("status") == "unfinished") is wanted)
            for wanted in (False, True)
        )
        return cls(noted, winners, warnings, unfinished)

    @property
    def knobs(self) -> tuple[str, ...]:
        """Names of all knobs that were tuned, as they stand in `params`."""
        return tuple(sorted({knob for row in self.rows for knob in row.get("params") or {}}))

    @property
    def tuning_seeds(self) -> tuple[int, ...]:
        """One, unless the study was tuned several times on different seeds."""
        seeds = {row.get("tuning_seed") for row in (*self.rows, *self.unfinished)}
        return tuple(sorted(seed for seed in seeds if seed is not None))

    @property
    def seeds(self) -> tuple[int, ...]:
        """The fresh ones that winners were re-run on."""
        return tuple(sorted({seed for row in self.winners for seed in row.get("seeds") or ()}))

    def is_trial(self, run_hash: str) -> bool:
        """Whether a run only chose settings. Its hash holds the seed, so this is for ever."""
        return any(_same_hash(run_hash, row.get("hash")) for row in (*self.rows, *self.unfinished))

    @property
    def knows_fresh_runs(self) -> bool:
        """Whether `is_fresh` can tell; not where a winner stems from an older file."""
        return bool(self.winners) and all("runs" in winner for winner in self.winners)

    def is_fresh(self, run_hash: str) -> bool:
        """Whether a run is a winner's on one of its fresh seeds, and never was a trial."""
        hashes = (text for winner in self.winners for text in winner.get("runs") or ())
        return any(_same_hash(run_hash, text) for text in hashes) and not self.is_trial(run_hash)

    def label(self, row: dict[str, Any]) -> str:
        """The contestant of a row: its optimizer, and what no other of that optimizer shares."""
        return self._labels[contestant_of(row)]

    @cached_property
    def _labels(self) -> dict[str, str]:
        every = (*self.rows, *self.unfinished, *self.winners)
        contestants = {contestant_of(row): row for row in every}
        labels: dict[str, str] = {}
        for key, row in contestants.items():
            name = str(row.get("optimizer"))
            typed = [
                set(other.get("typed") or ())
                for other in contestants.values()
                if other.get("optimizer") == row.get("optimizer")
            ]
            own = [text for text in row.get("typed") or () if text not in set.intersection(*typed)]
            label = " · ".join([name, *own])
            # A file below conf/ may have changed in between, and the same words mean another config
            number = 1 + sum(text.partition(" · #")[0] == label for text in labels.values())
            labels[key] = label if number == 1 else f"{label} · #{number}"
        return labels

    def cautions(self) -> list[str]:
        """What to be careful about: edges of spaces, trials that led to nothing, budgets."""
        told = [
            f"{self.label(winner)}: the winner's {', '.join(map(str, winner['edge']))} lies "
            "at the edge of its search space; a better value may lie outside"
            for winner in self.winners
            if winner.get("edge")
            and not any(
                text.startswith(f"{winner.get('optimizer')}:") and "edge" in text
                for text in self.warnings
            )
        ]
        unfinished = Counter(self.label(row) for row in self.unfinished)
        told += [
            f"{label}: {number} trial{'s' * (number != 1)} without a noted outcome, because the "
            "sweep has not come to its end; the same command goes on with it"
            for label, number in unfinished.items()
        ]
        trials = Counter(self.label(row) for row in self.rows)
        results = {self.label(row) for row in self.rows if row.get("val_accuracy") is not None}
        told += [
            f"{label}: none of {number} trials came to a result"
            for label, number in trials.items()
            if label not in results
        ]
        if len(set(trials.values())) > 1:
            budgets = joined([f"{label} {number}" for label, number in sorted(trials.items())])
            told.append(f"the budgets differ, so the efforts were not equal; trials: {budgets}")
        return [*told, *(text for text in self.warnings if text not in told)]

    def winners_table(self) -> pd.DataFrame:
        """One row a winner: the settings that won, and what to be careful about."""
        return pd.DataFrame(self.winners_rows())

    def winners_rows(self) -> list[dict[str, Any]]:
        table = []
        for winner in sorted(self.winners, key=self.label):
            params = winner.get("params") or {}
            trials = [row for row in self.rows if contestant_of(row) == contestant_of(winner)]
            scores = [
                row.get("val_accuracy")
                for row in self.rows
                if _same_hash(winner.get("hash"), row.get("hash"))
            ]
            table.append(
                {
                    "optimizer": str(winner.get("optimizer")),
                    "label": self.label(winner),
                    "settings": ", ".join(
                        f"{knob}={_short(value)}" for knob, value in sorted(params.items())
                    ),
                    "val_accuracy_of_trial": scores[0] if scores else None,
                    "num_trials": len(trials),
                    "num_diverged": sum(row.get("status") == "diverged" for row in trials),
                    "at_edge_of_space": ", ".join(map(str, winner.get("edge") or ())),
                }
            )
        return table


def contestant_of(row: dict[str, Any]) -> str:
    """What a trial or winner competed as."""
    return str(row.get("contestant") or row.get("optimizer"))


def _same_hash(one: Any, other: Any) -> bool:
    """Hashes may have been shortened to the eight digits of a folder's name."""
    one, other = str(one or ""), str(other or "")
    return min(len(one), len(other)) >= 8 and (one.startswith(other) or other.startswith(one))


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
