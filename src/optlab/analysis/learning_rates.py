"""Validation accuracy by learning rate, from a tuning's trials or from a swept study."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from optlab.analysis.summary import validation_score
from optlab.analysis.tuning import Tuning
from optlab.analysis.workloads import Configuration, Workload


@dataclass(frozen=True)
class LRPoint:
    """One run or trial at one learning rate.

    Attributes:
        learning_rate: or the factor on it, where all optimizers share a grid of `lr_multiplier`.
        val_accuracy: None unless the run finished.
        score: what chooses the best learning rate. For a run it is the configuration's score in
            the ranking, which a diverged seed lowers; for a trial its accuracy, 0 unless finished.
        configuration: label of the line, if an optimizer has several lines.
        num_configurations: how many shared this learning rate; the best of them is shown.
    """

    optimizer: str
    learning_rate: float
    val_accuracy: float | None
    status: str
    score: float
    seed: int | None = None
    configuration: str | None = None
    num_configurations: int = 1

    @property
    def label(self) -> str:
        return self.configuration or self.optimizer


def lr_points_of_tuning(tuning: Tuning) -> tuple[list[LRPoint], str, bool]:
    """Return the trials' points, the option they vary, and whether it is the only one.

    A search over several options moves the others along with the learning rate, so its points must
    not be joined into a line.
    """
    by_name = {name.rpartition(".")[2]: name for name in reversed(tuning.options)}
    option = next((name for name in ("lr", "lr_multiplier") if name in by_name), None)
    if option is None:
        return [], "lr", True
    shortest = min((row.num_epochs for row in tuning.rows if row.num_epochs), default=None)
    points = []
    for row in tuning.rows:
        if row.num_epochs != shortest:  # of a halving, the only rung that all of them are on
            continue
        learning_rate = row.params.get(by_name[option])
        if isinstance(learning_rate, int | float) and learning_rate > 0:
            points.append(
                LRPoint(
                    optimizer=row.optimizer,
                    learning_rate=float(learning_rate),
                    val_accuracy=row.val_accuracy,
                    status=row.status,
                    score=row.val_accuracy or 0.0,
                    seed=row.tuning_seed,
                    configuration=tuning.label(row),
                )
            )
    return points, option, len(tuning.options) == 1


def lr_points_of_workload(workload: Workload) -> tuple[list[LRPoint], str]:
    """Return the points of a study that swept the learning rate, and the option that it swept.

    Empty where no optimizer has two learning rates. `lr_multiplier` is the axis where all
    optimizers were run over the same values of it, otherwise the learning rate. Every seed is a
    point. Where other options vary as well, the configuration with the best validation counts.
    """
    grids: dict[str, set[Any]] = {}
    for one in workload.configurations:
        grids.setdefault(one.optimizer, set()).add(one.config.get("lr_multiplier"))
    shared = set.union(*grids.values()) if grids else set()
    by_multiplier = len(shared) > 1 and all(
        isinstance(value, int | float) and value > 0 for value in shared
    )
    by_multiplier = by_multiplier and all(grid == shared for grid in grids.values())
    candidates: dict[tuple[str, float], list[Configuration]] = {}
    for one in workload.configurations:
        lr = one.config["lr_multiplier"] if by_multiplier else one.runs[0].lr
        if lr is not None and lr > 0:
            candidates.setdefault((one.optimizer, float(lr)), []).append(one)
    points = []
    for (optimizer, lr), configurations in sorted(candidates.items()):
        scores = [validation_score(one, workload.num_classes) or 0.0 for one in configurations]
        best = scores.index(max(scores))
        points += [
            LRPoint(
                optimizer=optimizer,
                learning_rate=lr,
                val_accuracy=run.metric("validation") if run.is_finished else None,
                status=run.status,
                score=scores[best],
                seed=run.seed,
                num_configurations=len(configurations),
            )
            for run in configurations[best].runs
            if run.status != "failed"
        ]
    drawn = {(point.optimizer, point.learning_rate) for point in points}
    if len(drawn) == len({optimizer for optimizer, _ in drawn}):
        return [], "lr"
    return points, "lr_multiplier" if by_multiplier else "lr"


def lr_table(points: Sequence[LRPoint], option: str) -> pd.DataFrame:
    """The points of a sensitivity figure, the learning rate under its option's name."""
    return pd.DataFrame(
        [
            {
                "optimizer": point.optimizer,
                "configuration": point.label,
                option: point.learning_rate,
                "val_accuracy": point.val_accuracy,
                "status": point.status,
                "seed": point.seed,
            }
            for point in points
        ]
    )
