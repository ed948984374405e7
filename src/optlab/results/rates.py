"""Validation accuracy by learning rate, from a tuning's trials or from a swept study."""

from dataclasses import dataclass
from typing import Any

from optlab.results.groups import Group, Problem
from optlab.results.records import Run
from optlab.results.summary import validation_score
from optlab.results.tuning import Tuning


@dataclass(frozen=True)
class RatePoint:
    """One run or trial: `val_accuracy` is None unless it finished.

    `score` chooses the best rate: for a run that of its setting in the ranking, which a diverged
    seed lowers; for a trial its accuracy, 0 unless it finished. `setting` is the line that it
    belongs to where one optimizer has several: one line each. `num_settings` shared its rate, and
    the best of them stands.
    """

    optimizer: str
    rate: float
    val_accuracy: float | None
    status: str
    score: float
    seed: int | None = None
    setting: str | None = None
    num_settings: int = 1

    @property
    def label(self) -> str:
        return self.setting or self.optimizer


def rates_of_tuning(tuning: Tuning) -> tuple[list[RatePoint], str, bool]:
    """The trials' points, the knob they vary, and whether it is the only one.

    A search over whole spaces moves other knobs along with the rate, so its points must not be
    joined into a line.
    """
    knobs = tuning.knobs
    knob = next((name for name in knobs if name.rpartition(".")[2] == "lr"), None)
    knob = knob or next(
        (name for name in knobs if name.rpartition(".")[2] == "lr_multiplier"), None
    )
    if knob is None:
        return [], "lr", True
    points = []
    for row in tuning.rows:
        rate = (row.get("params") or {}).get(knob)
        if isinstance(rate, int | float) and rate > 0:
            accuracy = _fraction(row.get("val_accuracy"))
            points.append(
                RatePoint(
                    str(row.get("optimizer")),
                    float(rate),
                    accuracy,
                    str(row.get("status")),
                    accuracy or 0.0,
                    row.get("tuning_seed"),
                    tuning.label(row),
                )
            )
    return points, knob.rpartition(".")[2], len(knobs) == 1


def rates_of_problem(problem: Problem) -> tuple[list[RatePoint], str]:
    """The points of a study that swept the rate; empty when no optimizer has two rates.

    Where all optimizers were run over the same `lr_multiplier` values that is the common axis;
    otherwise the rate itself is. Seeds of one rate are separate points. Where other knobs vary as
    well, the configuration with the best validation stands for its rate.
    """
    scales: dict[str, set[Any]] = {}
    for group in problem.groups:
        scales.setdefault(group.optimizer, set()).add(group.config.get("lr_multiplier"))
    shared = set.union(*scales.values()) if scales else set()
    by_scale = len(shared) > 1 and all(isinstance(s, int | float) and s > 0 for s in shared)
    by_scale = by_scale and all(values == shared for values in scales.values())
    at_rate: dict[tuple[str, float], list[Group]] = {}
    for group in problem.groups:
        rate = group.config["lr_multiplier"] if by_scale else group.runs[0].lr
        if rate is not None and rate > 0:
            at_rate.setdefault((group.optimizer, float(rate)), []).append(group)
    points = []
    for (_, rate), groups in sorted(at_rate.items()):
        scores = [validation_score(group, problem.num_classes) or 0.0 for group in groups]
        score = max(scores)
        best = groups[scores.index(score)]
        points += [
            _point(run, rate, score, len(groups)) for run in best.runs if run.status != "failed"
        ]
    rates: dict[str, set[float]] = {}
    for point in points:
        rates.setdefault(point.optimizer, set()).add(point.rate)
    if all(len(values) < 2 for values in rates.values()):
        return [], "lr"
    return points, "lr_multiplier" if by_scale else "lr"


def _point(run: Run, rate: float, score: float, num_settings: int) -> RatePoint:
    accuracy = run.metric("validation") if run.is_finished else None
    return RatePoint(
        run.optimizer, rate, accuracy, run.status, score, run.seed, num_settings=num_settings
    )


def _fraction(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and 0 <= value <= 1 else None
