"""Summarize a workload: rank its configurations by validation, and compare them on the test set."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import median

import numpy as np

from optlab.analysis.comparisons import Difference, compare, num_common_seeds
from optlab.analysis.images import MIN_SEEDS_FOR_IMAGES, accuracy_by_image, over_images
from optlab.analysis.labels import as_text, display_name
from optlab.analysis.looks import level_of_next_look, look_level, looks_at
from optlab.analysis.records import Run
from optlab.analysis.statistics import Estimate, bounded, mean_interval
from optlab.analysis.target import (
    Reached,
    accuracy_target,
    median_with_misses,
    time_to_target,
)
from optlab.analysis.target_order import StepsClaim, steps_claims
from optlab.analysis.workloads import Configuration, Workload, shared_config
from optlab.runs.record import Device

STOPPED, FEW_RUNS = 1, 2  # tiers of a ranking
MAX_SPEED_RATIO = 1.5  # between runs of one network whose times are comparable
# Parts of a config on which the time of a forward and backward pass does not depend
NOT_OF_THE_NETWORK = (
    *("optimizer", "scheduler", "callbacks", "lr_multiplier", "data.seed", "data.fold"),
    *("trainer.max_", "trainer.min_", "trainer.val_check", "trainer.check_val"),
)


@dataclass(frozen=True, eq=False)
class ConfigurationSummary:
    """Means and intervals over the finished runs of one configuration, and counts of the others."""

    configuration: Configuration
    rank: int
    is_best: bool
    difference: Difference | None  # test accuracy minus the best's; None for the best itself
    score: float | None = None  # what it is ranked by; None without a finished run
    tier: int = 0  # a lower tier ranks first; see `Ranking`
    targets_agree: bool = True  # whether all configurations have the same target

    @property
    def label(self) -> str:
        return self.configuration.label

    @property
    def name(self) -> str:
        """The label with the optimizer as its authors write it, for readers."""
        return display_name(self.label)

    @property
    def has_few_runs(self) -> bool:
        """Whether it has too few runs next to the others to lead."""
        return self.tier == FEW_RUNS

    @property
    def num_finished(self) -> int:
        return len(self.configuration.finished)

    @property
    def num_diverged(self) -> int:
        return len(self.configuration.diverged)

    @property
    def num_failed(self) -> int:
        return len(self.configuration.failed)

    def accuracy(self, split: str, weights: str | None = None) -> Estimate | None:
        """Return the mean accuracy at `weights`, by default the judged ones; within [0, 1]."""
        return bounded(mean_interval([*self.configuration.accuracies(split, weights).values()]))

    @cached_property
    def gap(self) -> Estimate | None:
        """Generalization gap, train minus test accuracy at the judged weights."""
        train, test = self.configuration.accuracies("train"), self.configuration.accuracies("test")
        return mean_interval([train[key] - test[key] for key in sorted(train.keys() & test.keys())])

    @cached_property
    def reached(self) -> tuple[Reached, ...]:
        """Time to target of each finished or diverged run.

        Empty without a target or curves, or if other configurations have another target.
        """
        if not self.targets_agree:
            return ()
        times = map(time_to_target, self.configuration.runs)
        return tuple(time for time in times if time is not None)

    @property
    def num_reached(self) -> int:
        return sum(not time.is_miss for time in self.reached)

    @property
    def epochs_to_target(self) -> float | None:
        return median_with_misses([time.epoch for time in self.reached])

    @property
    def steps_to_target(self) -> float | None:
        return median_with_misses([time.step for time in self.reached])

    @property
    def time_to_target_s(self) -> float | None:
        return median_with_misses([time.train_time_s for time in self.reached])

    def median(self, number: Callable[[Run], float | None]) -> float | None:
        """Return the median of a number over the finished runs."""
        values = [number(run) for run in self.configuration.finished]
        return median_with_misses([value for value in values if value is not None])

    def mean(self, number: Callable[[Run], float | None]) -> float | None:
        """Return the mean of a number over the finished runs that have it."""
        values = [number(run) for run in self.configuration.finished]
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if known else None

    def mean_of_record(self, name: str) -> float | None:
        """Return the mean of a field of the record over the finished runs that have it."""
        return self.mean(lambda run: getattr(run.record, name))

    @property
    def verdict(self) -> str:
        """The outcome in words, divergences first."""
        outcome = "best by validation" if self.is_best else self.difference_in_words
        return "; ".join([*self._failures, outcome] if self.num_finished else self._failures)

    @property
    def _failures(self) -> list[str]:
        total = len(self.configuration.runs)
        if total == 1 and not self.num_finished:
            return ["diverged" if self.num_diverged else "failed"]
        return [
            f"{number} of {total} {word}" if number < total else f"all {total} {word}"
            for number, word in ((self.num_diverged, "diverged"), (self.num_failed, "failed"))
            if number
        ]

    @property
    def difference_in_words(self) -> str:
        return self.difference.conclusion if self.difference else "nothing to compare with"


@dataclass(frozen=True, eq=False)
class WorkloadSummary:
    """All configurations of a workload in the order of their rank."""

    workload: Workload
    rows: tuple[ConfigurationSummary, ...]

    @property
    def best(self) -> ConfigurationSummary | None:
        """Best by validation; None when nothing finished."""
        return next((row for row in self.rows if row.is_best), None)

    @property
    def finished(self) -> tuple[ConfigurationSummary, ...]:
        """Rows with at least one finished run."""
        return tuple(row for row in self.rows if row.num_finished)

    @property
    def targets(self) -> list[float]:
        """The distinct targets of the runs; one, unless the study is inconsistent."""
        values = {accuracy_target(run) for run in self.workload.runs}
        return sorted(value for value in values if value is not None)

    @property
    def target(self) -> float | None:
        return self.targets[0] if len(self.targets) == 1 else None

    @property
    def by_steps_to_target(self) -> list[ConfigurationSummary]:
        """Rows with times to the target, the fewest median steps first."""
        return sorted(
            (row for row in self.rows if row.reached),
            key=lambda row: (row.steps_to_target, -row.num_reached, row.rank),
        )

    @property
    def tied(self) -> tuple[ConfigurationSummary, ...]:
        """The best configuration and those with the same score."""
        best = self.best
        if best is None or best.score is None:
            return ()
        return tuple(
            row
            for row in self.finished
            if row.score is not None
            and math.isclose(row.score, best.score, rel_tol=1e-9)
            and row.tier == best.tier
        )

    @cached_property
    def over_images(self) -> dict[str, tuple[float, float]]:
        """Interval of each row's difference over seeds and test images, by label, if it has one.

        Raises:
            ValueError: if a run's file of test predictions is damaged.
        """
        compared = [
            (row, difference)
            for row, difference in self.compared()
            if difference.num_seeds >= MIN_SEEDS_FOR_IMAGES
        ]
        if self.best is None or not compared:
            return {}
        reference = accuracy_by_image(self.best.configuration.finished)
        if reference is None:
            return {}
        intervals: dict[str, tuple[float, float]] = {}
        for row, difference in compared:
            ours = accuracy_by_image(row.configuration.finished)
            interval = None if ours is None else over_images(difference, ours, reference)
            if interval is not None:
                intervals[row.label] = interval
        return intervals

    def interval_over_images(
        self, row: ConfigurationSummary
    ) -> tuple[float, float] | tuple[None, None]:
        """Return both ends of a row's interval in `over_images`; None and None if it has none."""
        return self.over_images.get(row.label, (None, None))

    @property
    def order_by_best_epoch(self) -> tuple[ConfigurationSummary, ...]:
        """Finished rows as their best epochs would rank them; empty if in the same order."""
        num_classes = self.workload.num_classes

        def order(row: ConfigurationSummary) -> tuple[int, float]:
            score = validation_score(row.configuration, num_classes, "best") or 0.0
            return row.tier, -round(score, 12)

        by_best = tuple(sorted(self.finished, key=order))
        return () if by_best == self.finished else by_best

    @property
    def seeds_differ(self) -> bool:
        """Whether configurations have results for different seeds or folds."""
        seeds = {
            frozenset(
                (run.seed, run.fold) for run in row.configuration.runs if run.status != "failed"
            )
            for row in self.finished
        }
        return len(seeds) > 1

    @cached_property
    def steps_claims(self) -> list[StepsClaim]:
        """Tests of who reached the target in fewer steps; empty without a single target."""
        if self.target is None:
            return []
        return steps_claims([row.configuration for row in self.rows if row.reached])

    @cached_property
    def unlike_clocks(self) -> str:
        """How the runs' machines differ, so that times are not comparable; empty if they do not.

        Replicas share their time: each counts its part of it. If runs of one network differ in
        speed, at least one of them probably shared its machine with other work.
        """
        runs = [run for run in self.workload.runs if run.status != "failed"]
        devices = [run.record.device or Device() for run in runs]
        num_replicas = [run.record.replica.of if run.record.replica else 1 for run in runs]
        for what, values in (
            ("devices", {str(device.name) for device in devices}),
            ("numbers of devices", {str(device.num_devices) for device in devices}),
            ("numbers of replicas trained together", {str(number) for number in num_replicas}),
        ):
            if len(values) > 1:
                return f"different {what} ({', '.join(sorted(values))})"
        ratio = speed_ratio(self.workload.runs)
        if ratio > MAX_SPEED_RATIO:
            return (
                f"speeds that differ by a factor of {ratio:.1f} for the same model, which suggests "
                "a busy machine"
            )
        return ""

    def looks(self, row: ConfigurationSummary) -> tuple[int, ...]:
        """Return at how many seeds reports have compared a row with the best, including now."""
        if self.best is None or row.difference is None:
            return ()
        return looks_at(self.best.configuration, row.configuration, row.difference.num_seeds)

    def compared(self) -> list[tuple[ConfigurationSummary, Difference]]:
        """Return the rows that have a difference from the best, each with that difference."""
        return [
            (row, row.difference)
            for row in self.rows
            if row.difference is not None and row.difference.num_seeds
        ]


def speed_ratio(runs: Iterable[Run]) -> float:
    """Return the largest ratio of two finished runs' speeds on one network, 1 without two.

    The speed is that of forward and backward passes, in images per second, without the time of the
    optimizer itself. Runs are compared only if their configs agree in all else that takes time.
    """
    speeds: dict[str, list[float]] = {}
    for run in runs:
        record = run.record
        if run.is_finished and record.images_per_s:
            passes = record.images_per_s * (record.evaluations_per_step or 1.0)
            network = {
                key: value
                for key, value in shared_config(run).items()
                if not key.startswith(NOT_OF_THE_NETWORK)
            }
            speeds.setdefault(as_text(network), []).append(
                passes / (1 - (record.optimizer_share or 0.0))
            )
    return max((max(each) / min(each) for each in speeds.values()), default=1.0)


def validation_score(
    configuration: Configuration, num_classes: int, weights: str | None = None
) -> float | None:
    """Return the mean validation accuracy of a configuration; None without a finished run.

    It is measured at `weights`, by default the judged ones.

    A diverged run counts with chance accuracy. Otherwise the mean would be over the seeds that
    survived, and divergence would not lower the rank. A failed run (out of memory, an exception)
    says nothing about the optimizer and is left out here. Runs of other configurations do not
    enter, so no configuration can change the order of two others.
    """
    values = list(configuration.accuracies("validation", weights).values())
    if not values:
        return None
    chance_accuracy = 1 / num_classes if num_classes else 0.0
    num_diverged = len(configuration.diverged)
    return (math.fsum(values) + num_diverged * chance_accuracy) / (len(values) + num_diverged)


@dataclass(frozen=True)
class Ranking:
    """The configurations of a workload from best to last, by validation only.

    A configuration that an adaptive sweep has stopped comes after those that continue, because its
    mean is over fewer seeds. One with fewer than half the usual number of runs comes after both, so
    that a newcomer cannot become what all others are compared with. The usual number counts all
    runs, whatever their outcome, so the outcome of one configuration's runs never reorders two
    others.

    Attributes:
        order: all configurations, the best first; those without a finished run come last.
        scores: validation score of each configuration with a finished run.
        tiers: 0, `STOPPED` or `FEW_RUNS`.
    """

    order: tuple[Configuration, ...]
    scores: Mapping[Configuration, float]
    tiers: Mapping[Configuration, int]

    @property
    def finished(self) -> tuple[Configuration, ...]:
        """Configurations with a finished run, the best first."""
        return tuple(one for one in self.order if one in self.scores)


def rank(workload: Workload) -> Ranking:
    """Rank the configurations by validation accuracy."""
    scores = {
        one: score
        for one in workload.configurations
        if (score := validation_score(one, workload.num_classes)) is not None
    }
    lasting = [one for one in workload.configurations if not one.has_stopped]
    usual = median(len(one.runs) for one in lasting or workload.configurations)

    def tier(one: Configuration) -> int:
        if one.has_stopped:
            return STOPPED
        few = one in scores and len(one.finished) + len(one.diverged) < usual / 2
        return FEW_RUNS if few else 0

    def order(one: Configuration) -> tuple[bool, int, float, int, str]:
        score = round(scores.get(one, -math.inf), 12)
        return (one not in scores, tier(one), -score, -len(one.diverged), one.label)

    ranked = tuple(sorted(workload.configurations, key=order))
    return Ranking(ranked, scores, {one: tier(one) for one in ranked})


def summarize(workload: Workload) -> WorkloadSummary:
    """Rank by validation accuracy, and compare test accuracy with that of the best."""
    ranking = rank(workload)
    targets_agree = len({target for run in workload.runs if (target := accuracy_target(run))}) <= 1
    best, *others = ranking.finished or (None,)
    differences = compare_with_best(best, others, "test") if best else {}
    rows = [
        ConfigurationSummary(
            one,
            number,
            is_best=one is best,
            difference=differences.get(one),
            score=ranking.scores.get(one),
            tier=ranking.tiers[one],
            targets_agree=targets_agree,
        )
        for number, one in enumerate(ranking.order, start=1)
    ]
    return WorkloadSummary(workload, tuple(rows))


def compare_with_best(
    best: Configuration, others: Sequence[Configuration], split: str
) -> dict[Configuration, Difference]:
    """Compare accuracies with those of the best, each at the `look_level` of the comparison."""
    reference, tables = best.accuracies(split), [one.accuracies(split) for one in others]
    levels = [
        look_level(best, one, num_common_seeds(reference, table))
        for one, table in zip(others, tables, strict=True)
    ]
    return {
        one: replace(difference, next_level=level_of_next_look(best, one, difference.num_seeds))
        for one, difference in zip(others, compare(reference, tables, levels), strict=True)
    }
