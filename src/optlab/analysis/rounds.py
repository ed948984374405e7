"""The rounds of an adaptive sweep: how many seeds count, at what share of the error rate.

The rounds and their levels are in study.json before the first run. A configuration that stops after
round k is compared on the seeds of that round, at the level of that round, whenever the report is
made. The levels add up to `ERROR_RATE`, and that bounds the error whatever decides who stops when:
a false claim about a configuration needs p <= level_k / m at the round k where it stopped (m
comparisons), so at some round; the probabilities of that over all rounds add up to at most
ERROR_RATE / m, which is all that Holm's procedure asks of a p-value.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from optlab.analysis.comparisons import ERROR_RATE
from optlab.runs.study_file import AdaptiveRows, CandidateRow, CandidateStatus, StudyFile

LAST_SHARE = 0.8  # of the error rate for the last round, which distinguishes close configurations


def round_levels(num_rounds: int) -> list[float]:
    """Return the share of the error rate of each round; the earlier ones share theirs equally."""
    if num_rounds == 1:
        return [ERROR_RATE]
    last = round(LAST_SHARE * ERROR_RATE, 12)
    earlier = round((ERROR_RATE - last) / (num_rounds - 1), 12)  # 0.005, not 0.00500...1
    return [earlier] * (num_rounds - 1) + [last]


@dataclass(frozen=True)
class Progress:
    """The progress of an adaptive sweep with a configuration.

    Attributes:
        rounds: planned seeds of a configuration by the end of each round.
        levels: the share of the error rate of each round.
        num_rounds: that the configuration has taken part in, at least 1.
        status: whether it continues, and why not.
    """

    rounds: tuple[int, ...]
    levels: tuple[float, ...]
    num_rounds: int
    status: CandidateStatus = "open"

    @property
    def num_seeds(self) -> int:
        return self.rounds[self.num_rounds - 1]

    @property
    def level(self) -> float:
        return self.levels[self.num_rounds - 1]

    @property
    def is_open(self) -> bool:
        return self.status == "open"


@dataclass(frozen=True, eq=False)
class Rounds:
    """An adaptive sweep's part of study.json."""

    plan: AdaptiveRows

    @classmethod
    def from_file(cls, file: StudyFile) -> "Rounds | None":
        """Return the rounds of a study; None unless it has some."""
        return cls(file.adaptive) if file.adaptive and file.adaptive.candidates else None

    def is_planned(self, run_hash: str) -> bool:
        """Whether a run belongs to one of the rounds, finished or not."""
        return any(run_hash in row.runs for row in self.plan.candidates)

    def is_pending(self, run_hash: str) -> bool:
        """Whether a run belongs to a round that has not ended."""
        return any(
            run_hash in row.runs and run_hash not in self._finished(row) and row.status == "open"
            for row in self.plan.candidates
        )

    def counts(self, run_hash: str) -> bool:
        """Whether a run belongs to a round that its configuration has finished."""
        return any(run_hash in self._finished(row) for row in self.plan.candidates)

    def progress(self, run_hashes: Iterable[str]) -> Progress | None:
        """Return how far the configuration of these runs has come; None if not one is planned."""
        found = set(run_hashes)
        for row in self.plan.candidates:
            if row.num_rounds and not found.isdisjoint(row.runs):
                rounds, levels = tuple(self.plan.rounds), tuple(self.plan.levels)
                return Progress(rounds, levels, row.num_rounds, row.status)
        return None

    def _finished(self, row: CandidateRow) -> list[str]:
        return row.runs[: self.plan.rounds[row.num_rounds - 1]] if row.num_rounds else []
