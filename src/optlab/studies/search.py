"""Choose hyperparameters in a fair sweep: trials, more trials near the best, finalists.

This module depends on neither Hydra nor files. It sees a trial only as a row with an outcome.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from optlab.runs.study_file import TrialRow, WinnerRow
from optlab.studies.search_space import Hyperparameter, Values, grid, quasi_random, stratified

WHOLE_SPACE_FROM = 10  # trials; with fewer, space=auto tunes only the learning rate
REDUCTION_FACTOR = 3  # one trial in three continues on the next rung, with three times the epochs


@dataclass
class Search:
    """The trials that choose the options of one configuration, for all fresh seeds or for one.

    Attributes:
        optimizer: name of the optimizer.
        configuration: hash of the config before tuning.
        typed: overrides of the configuration, as on the command line.
        space: hyperparameters to tune; the second round may extend their ranges.
        default: their values in the config before tuning.
        tuning_seeds: seeds of the trials. All trials use the first one, finalists use all.
        fresh_seeds: seeds of the winner's final runs.
        for_seed: the only fresh seed that this search tunes for; None if it tunes for all.
        rungs: number of trials and epochs of each rung of successive halving, in order; None epochs
            are those of a full run.
        chance_accuracy: 1 / number of classes, the score of a diverged trial.
        trials: one row per run, in order.
    """

    optimizer: str
    configuration: str
    typed: list[str]
    space: list[Hyperparameter]
    default: Values
    tuning_seeds: Sequence[int]
    fresh_seeds: Sequence[int]
    for_seed: int | None = None
    rungs: Sequence[tuple[int, int | None]] = ()
    chance_accuracy: float = 0.0
    trials: list[TrialRow] = field(default_factory=list)

    def first_round(self) -> list[Values]:
        """Return the default, then a grid over one option or points of the space."""
        number = self.rungs[0][0]
        if len(self.space) == 1 and self.space[0].kind != "choice":
            return grid(self.space[0], number, self.default[self.space[0].name])
        drawn = quasi_random(self.space, number - 1, [self.tuning_seeds[0]], [self.default])
        return [self.default, *drawn]

    def second_round(self, number: int) -> list[Values]:
        """Return points near the best trial, or beyond the edge of the space if it is at one.

        Every search gets `number` of them, at an edge or not, so the budgets stay equal. The list
        is empty if no trial has a result.
        """
        ranked = self.ranked()
        if not ranked or not number:
            return []
        best = ranked[0].params
        nearby = [
            each.nearby(best[each.name]) if each.name in best else each for each in self.space
        ]
        seed = [self.tuning_seeds[0], 1]
        if len(nearby) == 1 and nearby[0].kind != "choice":
            drawn = stratified(nearby[0], number, seed)
        else:
            drawn = quasi_random(nearby, number, seed, [trial.params for trial in self.trials])
        for values in drawn:
            self.space = [each.extended_to(values[each.name]) for each in self.space]
        return drawn

    def ranked(self, num_epochs: int | None = None) -> list[TrialRow]:
        """Return one trial for each set of values, sorted by mean score, best first.

        Only values with the largest number of tuning seeds are ranked: after the final round, these
        are the finalists.

        Args:
            num_epochs: epochs of the rung; None for full runs.
        """
        by_values: dict[str, list[TrialRow]] = {}
        for trial in self.trials:
            if trial.num_epochs == num_epochs:
                by_values.setdefault(str(trial.params), []).append(trial)
        most = max(map(len, by_values.values()), default=0)
        scores = [
            (score, rows[0])
            for rows in by_values.values()
            if len(rows) == most and (score := mean_score(rows, self.chance_accuracy)) is not None
        ]
        return [row for _, row in sorted(scores, key=lambda pair: -pair[0])]

    def winner(self) -> WinnerRow | None:
        """Return the values with the best mean validation accuracy; None without a result."""
        ranked = self.ranked()
        if not ranked:
            return None
        best = ranked[0]
        rows = [row for row in self.trials if row.params == best.params and row.num_epochs is None]
        values = {**vars(best), "val_accuracy": mean_score(rows, self.chance_accuracy)}
        return WinnerRow(
            **values,
            tuning_seeds=[row.tuning_seed for row in rows if row.tuning_seed is not None],
            num_trials=len(self.trials),
            edge=[
                each.name
                for each in self.space
                if each.name in best.params and each.at_edge(best.params[each.name])
            ],
            seeds=[*self.fresh_seeds],
        )


class Trial(NamedTuple):
    """A trial to run for a search."""

    search: Search
    values: Values
    seed: int
    num_epochs: int | None = None  # of a rung of successive halving; None for a whole run


def rounds(searches: Sequence[Search], extra_trials: int, finalists: int) -> Iterator[list[Trial]]:
    """Yield the trials of all searches, round by round.

    Add the rows of a round to `Search.trials` before the next one is generated.
    """
    yield [
        Trial(search, values, search.tuning_seeds[0], search.rungs[0][1])
        for search in searches
        for values in search.first_round()
    ]
    for rung in range(1, max(len(search.rungs) for search in searches)):
        yield [
            Trial(search, row.params, search.tuning_seeds[0], search.rungs[rung][1])
            for search in searches
            if rung < len(search.rungs)
            for row in search.ranked(search.rungs[rung - 1][1])[: search.rungs[rung][0]]
        ]
    yield [
        Trial(search, values, search.tuning_seeds[0])
        for search in searches
        for values in search.second_round(extra_trials)
    ]
    yield [
        Trial(search, row.params, seed)
        for search in searches
        for row in search.ranked()[:finalists]
        for seed in search.tuning_seeds[1:]
    ]


def mean_score(trials: Iterable[TrialRow], chance_accuracy: float) -> float | None:
    """Return the mean validation accuracy; None without a finished trial.

    As in the ranking of a report, a diverged trial counts with chance accuracy, and a failed one
    does not count.
    """
    rows = list(trials)
    values = [row.val_accuracy for row in rows if row.val_accuracy is not None]
    num_diverged = sum(row.status == "diverged" for row in rows)
    if not values:
        return None
    return (math.fsum(values) + num_diverged * chance_accuracy) / (len(values) + num_diverged)


def halving(trials: int, max_epochs: int) -> list[tuple[int, int | None]]:
    """Return trials and epochs of each rung of successive halving; the last has whole runs (None).

    A third of the trials is promoted to three times the epochs, so each rung costs about the same.
    Source: Jamieson and Talwalkar 2016, arXiv:1502.07943, algorithm 1, with 1/3 in place of 1/2.

    Raises:
        ValueError: if a third of the epochs or of the trials is less than one.
    """
    if min(trials, max_epochs) < REDUCTION_FACTOR:
        raise ValueError(
            f"hydra.sweeper.schedule=halving needs at least {REDUCTION_FACTOR} trials and "
            f"{REDUCTION_FACTOR} epochs, but there are {trials} trials and trainer.max_epochs is "
            f"{max_epochs}.\n\nhint: raise them, or use hydra.sweeper.schedule=full"
        )
    number = int(math.log(min(trials, max_epochs), REDUCTION_FACTOR) + 1e-9)
    shorter = [
        (trials // REDUCTION_FACTOR**rung, max_epochs // REDUCTION_FACTOR ** (number - rung))
        for rung in range(number)
    ]
    return [*shorter, (trials // REDUCTION_FACTOR**number, None)]
