"""The outcome of a comparison in sentences that claim no more than the figures carry."""

import math
from dataclasses import dataclass

from optlab.results.display import (
    MINUS,
    MOST_NAMED,
    count,
    joined,
    percent_estimate,
    points,
    seconds,
    some,
)
from optlab.results.palette import display_name
from optlab.results.statistics import (
    MIN_PAIRS,
    PairedDifference,
    chance_of_a_false_separation,
)
from optlab.results.summary import GroupSummary, ProblemSummary
from optlab.results.target import target_of


@dataclass(frozen=True)
class Verdict:
    """`lead` answers the question; `remarks` say how sure that is and what else to know."""

    lead: str
    remarks: tuple[str, ...]


def verdict_of(summary: ProblemSummary, *, is_tuned: bool = False) -> Verdict:
    """The outcome of one problem; `is_tuned` where a fair sweep has chosen its settings."""
    best = summary.best
    if best is None:
        return Verdict("No run finished, so nothing can be said.", tuple(_mishaps(summary)))
    remarks = [
        *_certainty(summary, best, is_tuned),
        *_missing_seeds(summary),
        *_edited_code(summary),
        *_mishaps(summary),
        *_target(summary),
    ]
    return Verdict(_lead(summary, best), tuple(remarks))


def _lead(summary: ProblemSummary, best: GroupSummary) -> str:
    name = display_name(best.label)
    on_validation = best.accuracy("validation")
    on_test = best.accuracy("test")
    assert on_validation is not None and on_test is not None  # finished runs have both
    over = f" ({best.num_finished} runs)" if best.num_finished > 1 else ""
    validation = f"{percent_estimate(on_validation)} %"
    test = f"{percent_estimate(on_test)} %"
    if len(summary.finished) == 1:
        return (
            f"{name} reaches {validation} on validation and {test} on test{over}; "
            "no other setting finished to compare it with."
        )
    if len(summary.tied) > 1:
        tied = some([display_name(row.label) for row in summary.tied])
        return f"{tied} tie on validation with {validation}{over}."
    return f"{name} leads on validation with {validation}; its test accuracy is {test}{over}."


def _certainty(summary: ProblemSummary, best: GroupSummary, is_tuned: bool) -> list[str]:
    compared = summary.compared()
    remarks = []
    name = display_name(best.label)
    single = [(row, diff) for row, diff in compared if diff.num_pairs == 1]
    few = [(row, diff) for row, diff in compared if "too few" in diff.verdict]
    for words, members in (
        (f"On test, {name} is not separable from", _with_verdict(compared, "not separable")),
        (f"Lower than {name} on test:", _with_verdict(compared, "lower")),
        (f"Higher than {name} on test, although not ranked before it by validation:",
         _with_verdict(compared, "higher")),
        (f"Fewer than {MIN_PAIRS} pairs, too few to separate from {name} on test:", few),
    ):  # fmt: skip
        if members:
            remarks.append(f"{words} {_named(members)}.")
    apart = [display_name(row.label) for row in summary.rows if _shares_no_pair(row)]
    if apart:
        remarks.append(
            f"No seed in common with {name}, so not compared with it on test: {some(apart)}."
        )
    if single and all(row.num_finished == 1 for row in summary.finished):
        more = "hydra.sweeper.seeds=5" if is_tuned else "seed=0,1,2,3,4"
        remarks.append(
            "One seed each: no interval, so the order is a hint and no finding. "
            f"Repeat with {more} to know more."
        )
    elif single:
        names = some([display_name(row.label) for row, _ in single])
        remarks.append(f"One seed in common with {name}, so no interval: {names}.")
    claims = [diff.num_pairs for _, diff in compared if diff.num_pairs >= MIN_PAIRS]
    if len(claims) > 1:
        chance = round(100 * chance_of_a_false_separation(claims))
        remarks.append(
            f"Each interval stands for itself: with {len(claims)} comparisons the chance that at "
            f"least one separates what is equal is about {chance} %. {name} was chosen on the same "
            "runs, which flatters it a little."
        )
    return remarks


def _missing_seeds(summary: ProblemSummary) -> list[str]:
    remarks = []
    if summary.pairs_differ:
        remarks.append(
            "The settings have results for different seeds: the rank takes into account which, the "
            "means in the table do not."
        )
    for why, rows in (
        ("With far fewer runs than the others", [r for r in summary.rows if r.has_few_runs]),
        (
            "Without a seed in common with the others, even through a third",
            [row for row in summary.rows if row.is_apart],
        ),
    ):
        if rows:
            listed = some([f"{display_name(row.label)} ({row.num_finished})" for row in rows])
            remarks.append(f"{why}, and so ranked after them: {listed}.")
    return remarks


def _edited_code(summary: ProblemSummary) -> list[str]:
    edited = [display_name(row.label) for row in summary.finished if row.group.mixes_code]
    if not edited:
        return []
    return [
        f"A class was edited between the runs of {some(edited)}: they are no repeats of one "
        "setting. Repeat them with rerun=true."
    ]


def _shares_no_pair(row: GroupSummary) -> bool:
    return row.difference is not None and not row.difference.num_pairs


def _with_verdict(
    compared: list[tuple[GroupSummary, PairedDifference]], word: str
) -> list[tuple[GroupSummary, PairedDifference]]:
    return [(row, diff) for row, diff in compared if diff.verdict == word]


def _named(members: list[tuple[GroupSummary, PairedDifference]]) -> str:
    return some(
        [
            f"{display_name(row.label)} ({points(diff.mean)} points, {interval_in_words(diff)})"
            for row, diff in members
        ]
    )


def interval(difference: PairedDifference) -> str:
    """`-0.12 to +0.08`, in points; empty without one."""
    if difference.low is None or difference.high is None:
        return ""
    return f"{points(difference.low)} to {points(difference.high)}".replace("-", MINUS)


def interval_in_words(difference: PairedDifference) -> str:
    """The interval by its right name: with few pairs it is no more than their range."""
    if 0 < difference.num_pairs < MIN_PAIRS:
        return f"its {difference.num_pairs} pairs from {interval(difference)}"
    return f"95 % interval {interval(difference)}"


def _mishaps(summary: ProblemSummary) -> list[str]:
    remarks = []
    for word in ("diverged", "failed"):
        rows = [row for row in summary.rows if getattr(row, f"num_{word}")]
        texts = [
            f"{display_name(row.label)} ({getattr(row, f'num_{word}')} of {len(row.group.runs)})"
            for row in rows[: 2 * MOST_NAMED]
        ]
        if len(rows) > len(texts):
            texts.append(f"{len(rows) - len(texts)} more")
        if texts:
            remarks.append(f"{word.capitalize()}: {joined(texts)}.")
    if any(row.num_diverged and row.num_finished for row in summary.rows):
        remarks.append(
            "Means of a setting with diverged runs are over the runs that finished; "
            "for its rank a diverged run counts as guessing."
        )
    return remarks


def _target(summary: ProblemSummary) -> list[str]:
    if len(summary.targets) > 1:
        listed = ", ".join(f"{100 * value:g} %" for value in summary.targets)
        return [f"The runs have different targets ({listed}), so no time to target is compared."]
    rows = [row for row in summary.rows if row.reached]
    if summary.target is None or not rows:
        return []
    target = f"{100 * summary.target:g} % validation accuracy"
    if not any(row.num_reached for row in rows):
        return [f"None reached {target}."]
    unlike = summary.unlike_clocks
    costs = [(row.epochs_to_target if unlike else row.time_to_target_s, row) for row in rows]
    hits = sorted(
        ((cost, row) for cost, row in costs if cost is not None and cost < math.inf),
        key=lambda pair: pair[0],
    )
    remarks = []
    if hits:
        time, first = hits[0]
        # Their seconds differ from command to command: who is first among them is no finding
        alike = [row for _, row in hits if row.epochs_to_target == first.epochs_to_target]
        median = "in the median " if len(first.reached) > 1 else ""
        epoch = f"epoch {count(first.epochs_to_target)}"
        names = [display_name(row.label) for row in alike]
        when = f"in {epoch}"
        if not unlike and len(alike) == 1:
            when = f"after {seconds(time)} of training {median}({epoch})"
        elif not unlike:
            names = [
                f"{display_name(row.label)} ({seconds(row.time_to_target_s)})" for row in alike
            ]
        remarks.append(f"First at the target of {target}: {some(names)}, {when}.")
    if unlike:
        remarks.append(f"Seconds do not compare: the runs had {unlike}.")
    in_part = [
        f"{display_name(row.label)} ({row.num_reached} of {len(row.reached)})"
        for row in rows
        if row.num_reached and row.epochs_to_target == math.inf
    ]
    if in_part:
        none = f"In the median none reached {target}; some runs did"
        remarks.append(f"{'Reached it in some runs' if hits else none}: {some(in_part)}.")
    missed = [display_name(row.label) for row in rows if not row.num_reached]
    if missed:
        remarks.append(f"Missed it: {some(missed)}.")
    return remarks


def target_origin(summary: ProblemSummary) -> str:
    """Where the target's value comes from, as the records say."""
    for run in summary.problem.runs:
        if target_of(run) is not None:
            return str((run.record.get("target") or {}).get("origin") or "")
    return ""
