"""A problem in numbers: one row for each group, ranked by validation, compared on test."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median

from optlab.results.groups import Group, Problem
from optlab.results.records import Run
from optlab.results.statistics import (
    Estimate,
    PairedDifference,
    adjusted_means,
    linked_sets,
    mean_interval,
    paired_difference,
)
from optlab.results.target import (
    Reached,
    median_with_misses,
    target_of,
    time_to_target,
)


@dataclass(frozen=True, eq=False)
class GroupSummary:
    """One group's figures: means and intervals over its finished runs, diverged ones counted."""

    group: Group
    rank: int
    is_best: bool
    difference: PairedDifference | None  # test accuracy against the best; None for itself
    score: float | None = None  # what it is ranked by; None without a finished run
    has_few_runs: bool = False  # too few beside the others to lead
    is_apart: bool = False  # shares no seed with the others, not even through a third: cannot lead
    targets_agree: bool = True  # with those of the other groups

    @property
    def label(self) -> str:
        return self.group.label

    @property
    def num_finished(self) -> int:
        return len(self.group.finished)

    @property
    def num_diverged(self) -> int:
        return len(self.group.diverged)

    @property
    def num_failed(self) -> int:
        return len(self.group.failed)

    def accuracy(self, split: str, weights: str = "best") -> Estimate | None:
        return mean_interval(list(self.group.accuracies(split, weights).values()))

    @cached_property
    def gap(self) -> Estimate | None:
        """Generalisation gap, train minus test accuracy at the best-validation weights."""
        train, test = self.group.accuracies("train"), self.group.accuracies("test")
        return mean_interval([train[key] - test[key] for key in sorted(train.keys() & test.keys())])

    @cached_property
    def reached(self) -> tuple[Reached, ...]:
        """Time to target of each finished or diverged run.

        Empty without target or curves, or where others have another target.
        """
        if not self.targets_agree:
            return ()
        times = (time_to_target(run) for run in self.group.runs if run.status != "failed")
        return tuple(time for time in times if time is not None)

    @property
    def num_reached(self) -> int:
        return sum(not time.is_miss for time in self.reached)

    @property
    def epochs_to_target(self) -> float | None:
        return median_with_misses([time.epoch for time in self.reached])

    @property
    def time_to_target_s(self) -> float | None:
        return median_with_misses([time.train_time_s for time in self.reached])

    def median(self, number: Callable[[Run], float | None]) -> float | None:
        """Median of a figure over the finished runs."""
        values = [number(run) for run in self.group.finished]
        return median_with_misses([value for value in values if value is not None])

    def mean(self, number: Callable[[Run], float | None]) -> Estimate | None:
        """Mean of a figure over the finished runs, with its interval."""
        values = [number(run) for run in self.group.finished]
        return mean_interval([value for value in values if value is not None])

    @property
    def verdict(self) -> str:
        """The outcome in words, divergences first."""
        outcome = "best by validation" if self.is_best else self.difference_in_words
        return "; ".join([*self._mishaps, outcome] if self.num_finished else self._mishaps)

    @property
    def brief_verdict(self) -> str:
        """`verdict` without counts, for a narrow column."""
        brief = self.verdict.replace(" in the mean,", ",").replace(": no interval", "")
        return brief.replace(" are too few to tell", ": too few")

    @property
    def _mishaps(self) -> list[str]:
        total = len(self.group.runs)
        if total == 1 and not self.num_finished:
            return ["diverged" if self.num_diverged else "failed"]
        return [
            f"{number} of {total} {word}" if number < total else f"all {total} {word}"
            for number, word in ((self.num_diverged, "diverged"), (self.num_failed, "failed"))
            if number
        ]

    @property
    def difference_in_words(self) -> str:
        return self.difference.verdict if self.difference else "nothing to compare with"


@dataclass(frozen=True, eq=False)
class ProblemSummary:
    """All groups of a problem in the order of their rank."""

    problem: Problem
    rows: tuple[GroupSummary, ...]

    @property
    def best(self) -> GroupSummary | None:
        """Best by validation; None when nothing finished."""
        return next((row for row in self.rows if row.is_best), None)

    @property
    def finished(self) -> tuple[GroupSummary, ...]:
        """Rows with at least one finished run."""
        return tuple(row for row in self.rows if row.num_finished)

    @property
    def targets(self) -> list[float]:
        """The distinct targets of the runs; one, unless the study is inconsistent."""
        values = {target_of(run) for run in self.problem.runs}
        return sorted(value for value in values if value is not None)

    @property
    def target(self) -> float | None:
        return self.targets[0] if len(self.targets) == 1 else None

    @property
    def tied(self) -> tuple[GroupSummary, ...]:
        """The best, and whoever has the same score."""
        best = self.best
        if best is None or best.score is None:
            return ()
        return tuple(
            row
            for row in self.finished
            if row.score is not None
            and math.isclose(row.score, best.score, rel_tol=1e-9)
            and (row.is_apart, row.has_few_runs) == (best.is_apart, best.has_few_runs)
        )

    @property
    def pairs_differ(self) -> bool:
        """Whether settings that are ranked together have results for different seeds or folds."""
        together = (row for row in self.finished if not row.is_apart)
        return len({frozenset(_scored(row.group, 0)) for row in together}) > 1

    @property
    def unlike_clocks(self) -> str:
        """In what the runs' machines differ, so that seconds do not compare; empty if in nothing.

        Replicas share their seconds: each counts its part of the common time.
        """
        runs = [run for run in self.problem.runs if run.status != "failed"]
        devices = [run.record.get("device") or {} for run in runs]
        together = [(run.record.get("replica") or {}).get("of", 1) for run in runs]
        for what, values in (
            ("devices", {str(device.get("name")) for device in devices}),
            ("numbers of devices", {str(device.get("num_devices", 1)) for device in devices}),
            ("numbers of replicas trained together", {str(number) for number in together}),
        ):
            if len(values) > 1:
                return f"different {what} ({', '.join(sorted(values))})"
        return ""

    def compared(self) -> list[tuple[GroupSummary, PairedDifference]]:
        """Rows that have a difference to the best, each with it."""
        return [
            (row, row.difference)
            for row in self.rows
            if row.difference is not None and row.difference.num_pairs
        ]


def validation_score(group: Group, num_classes: int) -> float | None:
    """Mean best validation accuracy of a group over its own seeds; None without a finished run.

    A diverged run counts with the accuracy of guessing, so that divergence costs rank instead of
    leaving the mean to the seeds that survived. A failed run (out of memory, an exception) says
    nothing about the optimizer and is left out here.
    """
    values = list(_scored(group, num_classes).values()) if group.finished else []
    return math.fsum(values) / len(values) if values else None


def _scored(group: Group, num_classes: int) -> dict[tuple[int, int], float]:
    """(seed, fold) to validation accuracy, a diverged run's being that of guessing."""
    guessing = 1 / num_classes if num_classes else 0.0
    diverged = {(run.seed, run.fold): guessing for run in group.diverged}
    return {**diverged, **group.accuracies("validation")}


def summarize(problem: Problem) -> ProblemSummary:
    """Rank the groups by validation and compare their test accuracy with the best one's.

    Where groups have different seeds they are ranked by means adjusted for that. What shares no
    seed with the largest set of linked groups comes after it, and so does a group with less than
    half the runs that are usual in the study: it may be last because it is new, but cannot be what
    all others are compared with.
    """
    finished = [group for group in problem.groups if group.accuracies("validation")]
    tables = [_scored(group, problem.num_classes) for group in finished]
    scores: dict[Group, float] = {}
    apart: set[Group] = set()
    for members in _largest_first(tables):
        if scores:
            apart |= {finished[i] for i in members}
        means = adjusted_means([tables[i] for i in members])
        scores |= zip([finished[i] for i in members], means, strict=True)
    usual = median(map(len, tables)) if tables else 0
    few = {group for group, table in zip(finished, tables, strict=True) if len(table) < usual / 2}
    targets_agree = len({target for run in problem.runs if (target := target_of(run))}) <= 1

    def order(group: Group) -> tuple[bool, bool, float, int, str]:
        score = round(scores.get(group, -math.inf), 12)
        return (group in apart, group in few, -score, -len(group.diverged), group.label)

    ranked = sorted(problem.groups, key=lambda group: (group not in scores, order(group)))
    best = ranked[0] if ranked and ranked[0] in scores else None
    rows = []
    for rank, group in enumerate(ranked, start=1):
        difference = None
        if best is not None and group is not best and group.finished:
            difference = paired_difference(group.accuracies("test"), best.accuracies("test"))
        row = GroupSummary(
            group,
            rank,
            is_best=group is best,
            difference=difference,
            score=scores.get(group),
            has_few_runs=group in few,
            is_apart=group in apart,
            targets_agree=targets_agree,
        )
        rows.append(row)
    return ProblemSummary(problem, tuple(rows))


def _largest_first(tables: Sequence[Mapping[tuple[int, int], float]]) -> list[list[int]]:
    """The sets of linked tables, those with most runs first; of as many, the best first."""

    def size(members: list[int]) -> tuple[int, float]:
        values = [list(tables[i].values()) for i in members]
        return sum(map(len, values)), max(math.fsum(each) / len(each) for each in values)

    return sorted(linked_sets(tables), key=size, reverse=True)


def rows_for_curves(rows: Sequence[GroupSummary], most: int = 12) -> tuple[list[GroupSummary], str]:
    """Rows whose curves one figure can show, best first, and a remark where some are left out.

    Args:
        rows: in the order of their rank.
        most: lines that can still be told apart.
    """
    optimizers = {row.group.optimizer for row in rows}
    if len(rows) > 8 and 1 < len(optimizers) < len(rows):
        best_first: dict[str, GroupSummary] = {}
        for row in rows:
            best_first.setdefault(row.group.optimizer, row)
        best = list(best_first.values())
        if len(best) > most:
            remark = (
                f"the {most} best of {len(best)} optimizers by validation, each at its best setting"
            )
            return best[:most], remark
        return best, "the best setting of each optimizer by validation"
    if len(rows) > most:
        return list(rows)[:most], f"the {most} best of {len(rows)} by validation"
    return list(rows), ""
