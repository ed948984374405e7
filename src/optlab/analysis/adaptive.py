"""Decide which configurations of an adaptive sweep stop after a round.

The decision uses validation accuracy only, with the method of the report (`analysis.comparisons`).
A configuration stops if it is so much lower than the best that the report will most likely find it
lower on test. AdaStop (Mathieu et al. 2023, arXiv:2306.10882) also compares in rounds with a
controlled error; it decides by permutation tests on the scores that it reports.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from optlab.analysis.comparisons import MIN_SEEDS
from optlab.analysis.summary import compare_with_best, rank
from optlab.analysis.workloads import Configuration, Workload
from optlab.runs.study_file import CandidateStatus

# Of a difference on test that is as large as the one on validation. Lower values save more runs,
# but leave more of the stopped configurations without a claim.
CHANCE_OF_CLAIM = 0.9


@dataclass(frozen=True)
class Decision:
    """The decision after a round, for the configurations that were open.

    Attributes:
        stopped: those that get no further seeds, with the reason.
        continuing: the others; empty where only the best one is left.
    """

    stopped: Mapping[Configuration, CandidateStatus]
    continuing: tuple[Configuration, ...]


def decide(workload: Workload) -> Decision:
    """Decide after a round which ones continue.

    Args:
        workload: its configurations have their `progress`, which includes the round. Others of the
            study are compared as well, but never continue.
    """
    ranking = rank(workload)
    open_ones = [one for one in ranking.order if one.progress and one.progress.is_open]
    stopped: dict[Configuration, CandidateStatus] = {
        one: "no result" for one in open_ones if not one.finished
    }
    best, *others = ranking.finished or (None,)
    if best is None:
        return Decision(stopped, ())
    for one, difference in compare_with_best(best, others, "validation").items():
        if one in open_ones and difference.num_seeds >= MIN_SEEDS:
            needed, mean = difference.detectable_with(CHANCE_OF_CLAIM), difference.mean
            assert needed is not None and mean is not None  # there are two seeds or more
            if mean < 0 and -mean >= needed:
                stopped[one] = "lower"
    left = tuple(one for one in open_ones if one not in stopped)
    return Decision(stopped, () if left == (best,) else left)
