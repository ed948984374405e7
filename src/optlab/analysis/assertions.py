"""Check the assertions of a script: `adam > sgd`, `adam > sgd - 0.2`.

An assertion holds only where the report would claim as much. For a pair with the configuration that
is ranked first, the table's claim decides. Any other pair is compared with p-values that are
adjusted for all pairs, because the table has not compared them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import combinations

from optlab.analysis.comparisons import MIN_SEEDS, Difference, compare_all, num_common_seeds
from optlab.analysis.formatting import points
from optlab.analysis.looks import look_level
from optlab.analysis.summary import ConfigurationSummary, WorkloadSummary
from optlab.analysis.verdict import interval, outlook

HOLDS, REFUTED, UNDECIDED = "holds", "does not hold", "undecided"
_FORM = re.compile(r"(?P<left>.+?)\s*>\s*(?P<right>.+)")
_MARGIN = re.compile(r"(?P<right>.+?)\s+(?P<sign>[-+])\s*(?P<points>\d+(\.\d+)?)")


@dataclass(frozen=True)
class Assertion:
    """`left` has a higher test accuracy than `right` plus `margin`, in one workload."""

    text: str
    workload: WorkloadSummary
    left: ConfigurationSummary
    right: ConfigurationSummary
    margin: float  # a fraction; negative where `left` may be somewhat lower
    where: str = ""  # names the workload of a study that has several


@dataclass(frozen=True)
class Outcome:
    """The outcome of an assertion, and the figures behind it."""

    assertion: Assertion
    status: str  # HOLDS, REFUTED or UNDECIDED
    reason: str

    def __str__(self) -> str:
        assertion = self.assertion
        return f"{self.status}: {assertion.text}{assertion.where}: {self.reason}"


def read_assertions(text: str, summaries: Sequence[WorkloadSummary]) -> list[Assertion]:
    """Read an assertion, once for each workload that has both configurations.

    Args:
        text: `LEFT > RIGHT`, `LEFT > RIGHT - POINTS` or `LEFT > RIGHT + POINTS`. A configuration is
            called as in the report's table, or by an optimizer that has only one configuration.
        summaries: of all workloads of a study.

    Raises:
        ValueError: for another form, and for names that no workload has together.
    """
    form = _FORM.fullmatch(text.strip())
    if form is None or ">" in form["right"] or form["right"].startswith("="):
        raise ValueError(
            f"the assertion {text!r} is not understood; it must be 'LEFT > RIGHT' or "
            "'LEFT > RIGHT - POINTS'.\n\n"
            "hint: 'adam > sgd - 0.2' asserts that adam is at most 0.2 points lower than sgd"
        )
    found = []
    for summary in summaries:
        left, right = _row(form["left"], summary), _row(form["right"], summary)
        margin = 0.0
        if right is None and (parts := _MARGIN.fullmatch(form["right"])):
            right = _row(parts["right"], summary)
            margin = float(f"{parts['sign']}{parts['points']}") / 100
        if left is not None and right is not None:
            where = f" in {summary.workload.name}" if len(summaries) > 1 else ""
            found.append(Assertion(text.strip(), summary, left, right, margin, where))
    if not found:
        raise ValueError(_unknown(form, summaries))
    if any(each.left is each.right for each in found):
        raise ValueError(
            f"the assertion {text!r} compares a configuration with itself.\n\n"
            "hint: name two configurations"
        )
    return found


def judge(assertion: Assertion) -> Outcome:
    """Decide an assertion by the claims of its workload."""
    rows = (assertion.left, assertion.right)
    for row in rows:
        if not row.num_finished:
            return Outcome(assertion, UNDECIDED, f"{row.label} has no finished run")
    difference = _difference(assertion)
    status = _status(difference, assertion.margin)
    lost = [
        f"{number} of {len(row.configuration.runs)} runs of {row.label} {word} and are not counted"
        for row in rows
        for number, word in ((row.num_diverged, "diverged"), (row.num_failed, "failed"))
        if number
    ]
    further = outlook(difference) if status == UNDECIDED else ""
    reason = "; ".join(filter(None, [_figures(difference), further, *lost]))
    return Outcome(assertion, status, reason)


def _status(difference: Difference, margin: float) -> str:
    """The p-value decides whether there is a difference, the interval how large it is."""
    if difference.num_seeds < MIN_SEEDS:
        return UNDECIDED
    if margin == 0:
        above, below = (difference.conclusion == word for word in ("higher", "lower"))
    else:
        assert difference.low is not None and difference.high is not None
        above, below = difference.low > margin, difference.high < margin
    return HOLDS if above else REFUTED if below else UNDECIDED


def _difference(assertion: Assertion) -> Difference:
    """Left minus right."""
    left, right = assertion.left, assertion.right
    if right.is_best and left.difference is not None:
        return left.difference
    if left.is_best and right.difference is not None:
        return right.difference.flipped
    rows = assertion.workload.finished
    tables = [row.configuration.accuracies("test") for row in rows]
    levels = {
        (i, j): look_level(
            rows[i].configuration, rows[j].configuration, num_common_seeds(tables[i], tables[j])
        )
        for i, j in combinations(range(len(rows)), 2)
    }
    found = compare_all(tables, levels)
    i, j = rows.index(left), rows.index(right)
    return found[i, j] if i < j else found[j, i].flipped


def _figures(difference: Difference) -> str:
    if not difference.differences:
        return "no seed in common"
    text = interval(difference)
    within = [f"{difference.confidence} interval {text}"] if text else []
    p_value = [] if difference.p_value is None else [f"adjusted p {difference.p_value:.2g}"]
    seeds = f"{difference.num_seeds} seed{'s' * (difference.num_seeds != 1)}"
    return f"{points(difference.mean)} points ({', '.join([*within, *p_value, seeds])})"


def _row(name: str, summary: WorkloadSummary) -> ConfigurationSummary | None:
    by_label = [row for row in summary.rows if row.label == name]
    by_optimizer = [row for row in summary.rows if row.configuration.optimizer == name]
    found = by_label or by_optimizer
    return found[0] if len(found) == 1 else None


def _unknown(form: re.Match[str], summaries: Sequence[WorkloadSummary]) -> str:
    labels = list(dict.fromkeys(row.label for summary in summaries for row in summary.rows))
    right = _MARGIN.fullmatch(form["right"])
    names = [form["left"], right["right"] if right else form["right"]]
    for name in names:
        if name not in labels:
            close = get_close_matches(name, labels, n=1)
            suggestion = f" Did you mean {close[0]!r}?" if close else ""
            return (
                f"there is no configuration {name!r} in this study.{suggestion}\n\n"
                f"hint: it has {', '.join(map(repr, labels))}"
            )
    return (
        f"no workload of this study has both {names[0]!r} and {names[1]!r}.\n\n"
        "hint: only configurations on the same data and network are compared"
    )
