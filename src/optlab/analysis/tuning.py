"""The fair sweeper's part of study.json: trials on tuning seeds, and the winners it re-ran.

A row is written before its trial starts, with the status `unfinished`, and again with the result
when all trials have ended. If the sweep is stopped in between, the row stays `unfinished`.

What is tuned is one optimizer with whatever else was typed for it; `configuration` is the hash of
that config before tuning. It has one winner, or with `tune=each_seed` one for each fresh seed.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from optlab.analysis.formatting import joined
from optlab.runs.study_file import StudyFile, TrialRow, WinnerRow

RowT = TypeVar("RowT", bound=TrialRow)


@dataclass(frozen=True, eq=False)
class Tuning:
    """All trials that a study has had, and its current winners."""

    rows: tuple[TrialRow, ...]  # trials whose outcome is known
    winners: tuple[WinnerRow, ...]
    unfinished: tuple[TrialRow, ...] = ()  # trials whose outcome is not: they score nothing

    @classmethod
    def from_file(cls, file: StudyFile) -> "Tuning | None":
        """Return the tuning of a study; None unless it has trials or winners."""
        found = file.tuning
        if found is None or not (found.rows or found.winners):
            return None
        return cls(
            rows=tuple(row for row in found.rows if row.status != "unfinished"),
            winners=tuple(found.winners),
            unfinished=tuple(row for row in found.rows if row.status == "unfinished"),
        )

    @property
    def options(self) -> tuple[str, ...]:
        """Names of all options that were tuned, as `params` has them."""
        return tuple(sorted({name for row in self.rows for name in row.params}))

    @property
    def tuning_seeds(self) -> tuple[int, ...]:
        """One, unless the study was tuned several times on different seeds."""
        seeds = {row.tuning_seed for row in (*self.rows, *self.unfinished)}
        return tuple(sorted(seed for seed in seeds if seed is not None))

    @property
    def seeds(self) -> tuple[int, ...]:
        """The fresh seeds that winners were re-run on."""
        return tuple(sorted({seed for row in self.winners for seed in row.seeds}))

    @cached_property
    def trials(self) -> set[str]:
        """Hashes of runs that only chose hyperparameters; they hold the seed, so this is final."""
        return {row.hash for row in (*self.rows, *self.unfinished)}

    @cached_property
    def winner_of_run(self) -> dict[str, WinnerRow]:
        """The winners by the hashes of their runs on fresh seeds."""
        return {run: winner for winner in self.winners for run in winner.runs}

    @cached_property
    def fresh(self) -> set[str]:
        """Hashes of winners' runs on their fresh seeds that never were a trial."""
        return self.winner_of_run.keys() - self.trials

    def label(self, row: TrialRow) -> str:
        """The tuned configuration: the optimizer, and the words that no other of it shares."""
        return self._labels[row.configuration]

    @cached_property
    def _labels(self) -> dict[str, str]:
        every = {row.configuration: row for row in (*self.rows, *self.unfinished, *self.winners)}
        labels: dict[str, str] = {}
        for key, row in every.items():
            alike = [set(each.typed) for each in every.values() if each.optimizer == row.optimizer]
            own = [text for text in row.typed if text not in set.intersection(*alike)]
            label = " · ".join([row.optimizer, *own])
            # A file below conf/ may have changed in between, and the same words mean another config
            number = 1 + sum(text.partition(" · #")[0] == label for text in labels.values())
            labels[key] = label if number == 1 else f"{label} · #{number}"
        return labels

    def _by_label(self, rows: Iterable[RowT]) -> dict[str, list[RowT]]:
        found: dict[str, list[RowT]] = {}
        for row in rows:
            found.setdefault(self.label(row), []).append(row)
        return found

    def cautions(self) -> list[str]:
        """Return cautions: edges of spaces, trials without a result, unequal budgets."""
        cautions = []
        for label, winners in self._by_label(self.winners).items():
            edges = Counter(name for winner in winners for name in winner.edge)
            if edges:
                one = len(winners) == 1
                names = [
                    name if one else f"{name} ({n} of {len(winners)})" for name, n in edges.items()
                ]
                cautions.append(
                    f"{label}: the winner's {joined(names)} is at the edge of its search space; a "
                    "better value may be outside"
                )
        unfinished = Counter(self.label(row) for row in self.unfinished)
        cautions += [
            f"{label}: {number} trial{'s' * (number != 1)} without an outcome, because the sweep "
            "did not finish; the same command resumes it"
            for label, number in unfinished.items()
        ]
        trials = {label: len(rows) for label, rows in self._by_label(self.rows).items()}
        results = {self.label(row) for row in self.rows if row.val_accuracy is not None}
        cautions += [
            f"{label}: none of {number} trials had a result"
            for label, number in trials.items()
            if label not in results
        ]
        by_length = {
            frozenset(Counter(row.num_epochs for row in rows).items())
            for rows in self._by_label(self.rows).values()
        }
        if len(by_length) > 1:
            budgets = joined([f"{label} {number}" for label, number in sorted(trials.items())])
            cautions.append(f"the budgets differ, so the efforts were not equal; trials: {budgets}")
        return cautions

    def winners_rows(self) -> list[dict[str, Any]]:
        """For each winner the values that won, and what to be careful about."""
        table = []
        by_label = self._by_label(self.rows)
        for winner in sorted(self.winners, key=lambda row: (self.label(row), row.for_seed or 0)):
            trials = by_label.get(self.label(winner), [])
            trials = [row for row in trials if row.for_seed == winner.for_seed]
            params = sorted(winner.params.items())
            table.append(
                {
                    "optimizer": winner.optimizer,
                    "label": self.label(winner),
                    "settings": ", ".join(f"{name}={_short(value)}" for name, value in params),
                    "for_seed": winner.for_seed,
                    "val_accuracy_of_trials": winner.val_accuracy,
                    "num_tuning_seeds": len(winner.tuning_seeds) or 1,
                    "num_trials": len(trials),
                    "num_diverged": sum(row.status == "diverged" for row in trials),
                    "at_edge_of_space": ", ".join(winner.edge),
                }
            )
        return table


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
