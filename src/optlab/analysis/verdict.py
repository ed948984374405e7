"""State the outcome of a comparison in sentences that claim no more than the numbers support."""

import math
from dataclasses import dataclass
from shlex import quote

from optlab.analysis.comparisons import MAX_SEEDS, MIN_SEEDS, Difference
from optlab.analysis.formatting import (
    MINUS,
    MOST_NAMED,
    count,
    join_first,
    joined,
    percent_estimate,
    points,
    seconds,
)
from optlab.analysis.next_step import NextStep, next_step
from optlab.analysis.summary import ConfigurationSummary, WorkloadSummary
from optlab.analysis.target import accuracy_target
from optlab.analysis.target_order import MIN_SIGNS


@dataclass(frozen=True)
class Verdict:
    """`lead` answers the question; `remarks` say how sure that is and what else to know."""

    lead: str
    remarks: tuple[str, ...]


def make_verdict(summary: WorkloadSummary, *, is_tuned: bool = False) -> Verdict:
    """Return the verdict on a workload; `is_tuned` if a fair sweep chose its configurations."""
    best = summary.best
    if best is None:
        return Verdict("No run finished, so there is no result.", tuple(_failures(summary)))
    remarks = [
        *_rounds(summary),
        *_certainty(summary, best, is_tuned),
        *_shared_tuning(summary),
        *_other_weights(summary),
        *_missing_seeds(summary),
        *_edited_code(summary),
        *_failures(summary),
        *_target(summary),
        *_clocks(summary),
    ]
    return Verdict(_lead(summary, best), tuple(remarks))


def _lead(summary: WorkloadSummary, best: ConfigurationSummary) -> str:
    name = best.name
    on_validation = best.accuracy("validation")
    on_test = best.accuracy("test")
    assert on_validation is not None and on_test is not None  # finished runs have both
    over = f" ({best.num_finished} runs)" if best.num_finished > 1 else ""
    validation = f"{percent_estimate(on_validation)} %"
    test = f"{percent_estimate(on_test)} %"
    if len(summary.finished) == 1:
        return (
            f"{name} reaches {validation} on validation and {test} on test{over}; "
            "no other configuration finished to compare it with."
        )
    if len(summary.tied) > 1:
        tied = join_first([row.name for row in summary.tied])
        return f"{tied} tie on validation with {validation}{over}."
    return f"{name} leads on validation with {validation}; its test accuracy is {test}{over}."


def _certainty(summary: WorkloadSummary, best: ConfigurationSummary, is_tuned: bool) -> list[str]:
    name = best.name
    by_conclusion: dict[str, list[tuple[ConfigurationSummary, Difference]]] = {}
    for row, difference in summary.compared():
        by_conclusion.setdefault(difference.conclusion, []).append((row, difference))
    remarks = [
        f"{words} {_named(by_conclusion[conclusion])}."
        for conclusion, words in (
            ("no significant difference", f"No significant difference from {name} on test:"),
            ("lower", f"Lower than {name} on test:"),
            (
                "higher",
                f"Higher than {name} on test, although not ranked before it by validation:",
            ),
        )
        if conclusion in by_conclusion
    ]
    too_few = by_conclusion.get("too few seeds", [])
    step = next_step(summary, is_tuned=is_tuned)
    if too_few and step and all(row.num_finished == 1 for row in summary.finished):
        remarks.append(
            "Each configuration has one seed, so there are no confidence intervals and the order "
            f"may be due to chance. To test it, add {_quoted(step)}."
        )
    elif too_few:
        remarks.append(
            f"Fewer than {MIN_SEEDS} seeds in common with {name}, too few for a claim on test: "
            f"{_named(too_few)}."
        )
    without = [row.name for row in summary.rows if _shares_no_seed(row)]
    if without:
        remarks.append(
            f"No seed in common with {name}, so not compared with it on test: "
            f"{join_first(without)}."
        )
    return [*remarks, *_looks(summary), *_new_images(summary), *_power(summary, step)]


def _rounds(summary: WorkloadSummary) -> list[str]:
    """Say which configurations of an adaptive sweep stopped, and after which round."""
    progress = {row: row.configuration.progress for row in summary.rows}
    planned = {row: found for row, found in progress.items() if found is not None}
    if not planned:
        return []
    plan = next(iter(planned.values()))
    stopped: dict[tuple[int, str], list[str]] = {}
    continuing: dict[int, list[str]] = {}
    for row, found in planned.items():
        if found.is_open:
            continuing.setdefault(found.num_seeds, []).append(row.name)
        else:
            key = found.num_seeds, found.status
            stopped.setdefault(key, []).append(row.name)
    sentences = [f"Seeds were added in rounds of {joined([*map(str, plan.rounds)])}."]
    for (num_seeds, status), names in sorted(stopped.items()):
        why = {"lower": "lower on validation", "no result": "without a finished run"}[status]
        sentences.append(f"After {num_seeds} seeds {join_first(names)} stopped ({why}).")
    for num_seeds, names in sorted(continuing.items()):
        who = "The others have" if stopped else "All have"
        sentences.append(f"{who} {num_seeds} seeds: {join_first(names)}.")
        if len(names) > 1 and num_seeds < plan.rounds[-1]:
            sentences.append("The sweep has not ended; the same command resumes it.")
    if stopped:
        sentences.append("Configurations that stopped are ranked after the others.")
    shares = joined([f"{100 * level:.3g}" for level in plan.levels])
    sentences.append(f"The rounds share the error rate of 5 %: {shares} %.")
    return [" ".join(sentences)]


def _looks(summary: WorkloadSummary) -> list[str]:
    """Say which comparisons were reported before, with fewer seeds."""
    by_looks: dict[tuple[int, ...], list[str]] = {}
    for row, _ in summary.compared():
        by_looks.setdefault(summary.looks(row), []).append(row.name)
    remarks = []
    for looks, names in by_looks.items():
        if len(looks) > 1:
            whose = "" if len(by_looks) == 1 else f" on {join_first(names)}"
            remarks.append(
                f"The claims{whose} were tested before, with fewer seeds "
                f"({joined([str(number) for number in looks[:-1]])}). Each look is one more chance "
                "of a false claim, so their p-values are multiplied by "
                f"{len(looks)}, the number of looks."
            )
    return remarks


def _new_images(summary: WorkloadSummary) -> list[str]:
    """Say which claims hold for other test images too."""
    by_answer: dict[bool, list[str]] = {True: [], False: []}
    for row, difference in summary.compared():
        interval = summary.over_images.get(row.label)
        if difference.is_significant and interval is not None:
            by_answer[interval[0] > 0 or interval[1] < 0].append(row.name)
    return [
        f"{words}: {join_first(names)}."
        for words, names in (
            ("With other test images the difference holds as well", by_answer[True]),
            (
                "Shown for these test images only; other images could change the difference",
                by_answer[False],
            ),
        )
        if names
    ]


def _shared_tuning(summary: WorkloadSummary) -> list[str]:
    """Say which claims are only about the options that a single tuning found."""
    shared = [row for row in summary.finished if row.configuration.shared_tuning]
    if not shared:
        return []
    names = join_first([row.name for row in shared])
    those = "each optimizer" if len(shared) == len(summary.finished) else names
    seeds = sorted({seed for row in shared for seed in row.configuration.shared_tuning})
    return [
        f"The hyperparameters of {those} were tuned on seed{'s' * (len(seeds) > 1)} "
        f"{joined([str(seed) for seed in seeds])} only. The p-values ignore that other tuning "
        "seeds could select other hyperparameters; hydra.sweeper.tune=each_seed includes this."
    ]


def _power(summary: WorkloadSummary, step: NextStep | None) -> list[str]:
    """Say which difference the study could have detected, where it found none."""
    undecided = {
        row.name: difference
        for row, difference in summary.compared()
        if difference.num_seeds >= MIN_SEEDS and not difference.is_significant
    }
    sizes = [difference.detectable for difference in undecided.values()]
    detectable = [size for size in sizes if size is not None]
    if not detectable:
        return []
    num_seeds = min(difference.num_seeds for difference in undecided.values())
    text = (
        f"With {num_seeds} seeds this study finds a difference of {_size(max(detectable))} points "
        "with a probability of 80 %."
    )
    needed = {name: difference.seeds_needed for name, difference in undecided.items()}
    listed = [f"{name} {count(number)}" for name, number in needed.items() if number]
    if listed and step:
        text += (
            f" Seeds that the observed differences need, if they are real: {join_first(listed)}."
        )
        members = [row.name for row in summary.finished if row.label in step.labels]
        only = f", with only {join_first(members)}" if len(members) < len(summary.finished) else ""
        text += f" Next{only}: {_quoted(step)}."
    return [text]


def _quoted(step: NextStep) -> str:
    return " ".join(quote(each) for each in step.overrides)


def outlook(difference: Difference) -> str:
    """Say which difference the seeds can detect, and how many seeds the observed one needs.

    Empty for a difference that is decided, and without a seed in common.
    """
    if difference.is_significant or not difference.num_seeds:
        return ""
    if difference.detectable is None:
        return f"{MIN_SEEDS} seeds or more can tell"
    num_seeds = max(difference.num_seeds, MIN_SEEDS)
    text = f"{num_seeds} seeds find {_size(difference.detectable)} points"
    if not difference.mean:
        return text
    needed = difference.seeds_needed
    number = count(needed) if needed else f"more than {count(MAX_SEEDS)}"
    return f"{text}, {_size(difference.mean)} needs {number}"


def _size(fraction: float) -> str:
    """Return the size of a difference in points, without its sign."""
    return points(abs(fraction)).removeprefix("+")


def _other_weights(summary: WorkloadSummary) -> list[str]:
    """Say how the ranking depends on the judged weights."""
    remarks = []
    stopped = [row for row in summary.finished if row.configuration.judged_weights == "best"]
    if 0 < len(stopped) < len(summary.finished):
        names = join_first([row.name for row in stopped])
        remarks.append(
            f"Judged at the best epoch, because of early stopping: {names}. That flatters them on "
            "validation; the others are judged at their last weights."
        )
    if order := summary.order_by_best_epoch:
        names = join_first([row.name for row in order])
        remarks.append(f"Ranked by the best epoch of each run, the order would be {names}.")
    return remarks


def _missing_seeds(summary: WorkloadSummary) -> list[str]:
    remarks = []
    if summary.seeds_differ:
        remarks.append(
            "The configurations have results for different seeds: each mean is over its own seeds, "
            "and differences are over the seeds in common."
        )
    few = [row for row in summary.rows if row.has_few_runs]
    if few:
        listed = join_first([f"{row.name} ({row.num_finished})" for row in few])
        remarks.append(f"With far fewer runs than the others, and so ranked after them: {listed}.")
    return remarks


def _edited_code(summary: WorkloadSummary) -> list[str]:
    edited = [row.name for row in summary.finished if row.configuration.mixes_code]
    if not edited:
        return []
    return [
        f"A class was edited between the runs of {join_first(edited)}, so they do not repeat one "
        "configuration. Train them again with rerun=true."
    ]


def _shares_no_seed(row: ConfigurationSummary) -> bool:
    return row.difference is not None and not row.difference.num_seeds


def _named(members: list[tuple[ConfigurationSummary, Difference]]) -> str:
    names = []
    for row, difference in members:
        text = interval(difference)
        text = f", {difference.confidence} interval {text}" if text else ""
        names.append(f"{row.name} ({points(difference.mean)} points{text})")
    return join_first(names)


def interval(difference: Difference) -> str:
    """Return the interval in points, such as `-0.12 to +0.08`; empty without one."""
    return between(difference.low, difference.high)


def between(low: float | None, high: float | None) -> str:
    """Return an interval in points from its two ends; empty without them."""
    if low is None or high is None:
        return ""
    return f"{points(low)} to {points(high)}".replace("-", MINUS)


def _failures(summary: WorkloadSummary) -> list[str]:
    remarks = []
    for word in ("diverged", "failed"):
        rows = [row for row in summary.rows if getattr(row, f"num_{word}")]
        texts = [
            f"{row.name} ({getattr(row, f'num_{word}')} of {len(row.configuration.runs)})"
            for row in rows[: 2 * MOST_NAMED]
        ]
        if len(rows) > len(texts):
            texts.append(f"{len(rows) - len(texts)} more")
        if texts:
            remarks.append(f"{word.capitalize()}: {joined(texts)}.")
    if any(row.num_diverged and row.num_finished for row in summary.rows):
        remarks.append(
            "Means of a configuration with diverged runs are over the runs that finished; "
            "for its rank a diverged run counts with chance accuracy."
        )
    return remarks


def _target(summary: WorkloadSummary) -> list[str]:
    if len(summary.targets) > 1:
        listed = ", ".join(f"{100 * value:g} %" for value in summary.targets)
        return [f"The runs have different targets ({listed}), so no time to target is compared."]
    rows = summary.by_steps_to_target
    if summary.target is None or not rows:
        return []
    target = f"{100 * summary.target:g} % validation accuracy"
    if not any(row.num_reached for row in rows):
        return [f"None reached {target}."]
    reached = [
        f"{row.name} {row.num_reached} of {len(row.reached)}"
        + (f" ({count(row.steps_to_target)})" if row.num_reached else "")
        for row in rows
    ]
    remarks = [f"Runs that reached {target}, and median steps: {join_first(reached)}."]
    if len(rows) > 1:
        remarks.append(_fewest_steps(summary, rows))
    unequal = _unequal_steps(rows)
    if unequal:
        remarks.append(f"Steps are not equal work: {unequal}.")
    timed = [row for row in rows if math.isfinite(row.time_to_target_s or math.inf)]
    if timed and not summary.unlike_clocks:
        times = [f"{row.name} {seconds(row.time_to_target_s)}" for row in timed]
        remarks.append(f"Median seconds until then, reported without a claim: {join_first(times)}.")
    return remarks


def _fewest_steps(summary: WorkloadSummary, rows: list[ConfigurationSummary]) -> str:
    """Say which configuration needs the fewest steps to the target, by paired tests.

    Args:
        rows: two or more, the fewest median steps first.
    """
    if not summary.steps_claims:
        return (
            "Which configuration reaches the target in the fewest steps is not tested: the paired "
            f"test needs {MIN_SEEDS} seeds, or {MIN_SIGNS} if a run missed the target."
        )
    first, name = rows[0], rows[0].name
    later = {
        claim.later
        for claim in summary.steps_claims
        if claim.is_significant and claim.earlier == first.label
    }
    separated = [row.name for row in rows[1:] if row.label in later]
    others = [row.name for row in rows[1:] if row.label not in later]
    if not others:
        return f"{name} needs significantly fewer steps to the target than all others."
    if not later:
        return f"No significant difference in steps to the target between {name} and the others."
    return (
        f"{name} needs significantly fewer steps to the target than {join_first(separated)}, but "
        f"not than {join_first(others)}."
    )


def _unequal_steps(rows: list[ConfigurationSummary]) -> str:
    """Return why steps of the configurations are not equal work; empty if they are."""
    evaluations = {
        row.name: number
        for row in rows
        if (number := row.mean_of_record("evaluations_per_step")) is not None
    }
    more = [
        f"{name} {count(round(number, 1))}" for name, number in evaluations.items() if number > 1
    ]
    if more and len(set(evaluations.values())) > 1:
        return f"evaluations of the loss in a step are more than one for {join_first(more)}"
    options = ("data.batch_size", "trainer.accumulate_grad_batches")
    differ = [
        option
        for option in options
        if len({row.configuration.config.get(option) for row in rows}) > 1
    ]
    return f"{joined(differ)} differ" if differ else ""


def _clocks(summary: WorkloadSummary) -> list[str]:
    if len(summary.finished) < 2 or not summary.unlike_clocks:
        return []
    return [f"Training times are not comparable: the runs had {summary.unlike_clocks}."]


def target_origin(summary: WorkloadSummary) -> str:
    """Return the origin of the target's value, as the records say."""
    for run in summary.workload.runs:
        if accuracy_target(run) is not None:
            return str((run.record.target or {}).get("origin") or "")
    return ""
