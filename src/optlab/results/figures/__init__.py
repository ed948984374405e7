"""Figures of runs and studies. Each one holds arrays; `plot(ax=None)` draws it and returns it.

    picture = LossCurves.from_groups(problem.groups).plot()
    picture.save("loss_comparison.png")

`picture.ax` and `picture.artists` hold what was drawn.
"""

from optlab.results.figures.classes import ConfusionMatrices, ConfusionMatrix, PerClassF1
from optlab.results.figures.comparisons import (
    GeneralisationGap,
    PairedDifferences,
    TrainingCost,
)
from optlab.results.figures.curves import AccuracyCurves, LossCurves
from optlab.results.figures.images import FirstLayerFilters, SamplePredictions
from optlab.results.figures.one_run import LossAndAccuracy
from optlab.results.figures.sensitivity import LRSensitivity
from optlab.results.figures.targets import PerformanceProfile, TimeToTarget

__all__ = [
    "AccuracyCurves",
    "ConfusionMatrices",
    "ConfusionMatrix",
    "FirstLayerFilters",
    "GeneralisationGap",
    "LRSensitivity",
    "LossAndAccuracy",
    "LossCurves",
    "PairedDifferences",
    "PerClassF1",
    "PerformanceProfile",
    "SamplePredictions",
    "TimeToTarget",
    "TrainingCost",
]
