"""Correct for repeated looks (interim analyses).

Adding seeds until a difference is significant inflates the error rate. So the k-th look at growing
seeds has 1/k of the error rate: its p-values are multiplied by k. The first look has all of it, so
a study that is planned and read once loses nothing.

A look is a report on two configurations with at least `MIN_SEEDS` seeds in common. A report on the
same runs is not a new look, and neither is one on further configurations. Looks are in study.json.
"""

from optlab.analysis.comparisons import ERROR_RATE, MIN_SEEDS
from optlab.analysis.workloads import Configuration


def looks_at(ours: Configuration, theirs: Configuration, num_seeds: int) -> tuple[int, ...]:
    """Return at how many common seeds two configurations were compared so far, now included.

    Both have to have been compared at a number: with whom, study.json does not say. The rounds of
    an adaptive sweep are one look, whose share of the error rate the plan has divided.

    Args:
        num_seeds: that they have in common now; too few for a claim are no look.
    """
    earlier = ours.looks & theirs.looks
    if is_planned(ours, theirs):
        return (*sorted(earlier), num_seeds)
    now = {num_seeds} if num_seeds >= MIN_SEEDS else set()
    return tuple(sorted(earlier | now))


def is_planned(ours: Configuration, theirs: Configuration) -> bool:
    """Whether an adaptive sweep has planned when the two are compared."""
    return ours.progress is not None and theirs.progress is not None


def look_level(ours: Configuration, theirs: Configuration, num_seeds: int) -> float:
    """Return the share of the error rate that a comparison has at this look.

    Of two configurations in an adaptive sweep, the one that stopped first decides.
    """
    share = ERROR_RATE
    if ours.progress and theirs.progress:
        share = min(ours.progress, theirs.progress, key=lambda each: each.num_rounds).level
    return share / max(1, len(looks_at(ours, theirs, num_seeds)))


def level_of_next_look(ours: Configuration, theirs: Configuration, num_seeds: int) -> float:
    """Return the share that it will have with more seeds, which a plan has only in a new study."""
    if is_planned(ours, theirs):
        return ERROR_RATE
    return ERROR_RATE / (len(looks_at(ours, theirs, num_seeds)) + 1)
