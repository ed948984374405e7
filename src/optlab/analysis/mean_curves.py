"""Curves of one configuration: means over its runs, epoch by epoch."""

from collections.abc import Sequence

import pandas as pd

from optlab.analysis.records import Run

CURVES = ("train/accuracy", "train/loss", "val/accuracy", "val/loss")


def mean_curves(runs: Sequence[Run]) -> pd.DataFrame:
    """Mean over one or more runs, a row for each epoch that all of them reached.

    Returns:
        Columns `step` (the median over the runs), `train_time_s` and CURVES, indexed by epoch.
    """
    epochs = pd.concat([run.epochs.set_index("epoch") for run in runs])
    by_epoch = epochs.groupby(level="epoch")
    reached = by_epoch.size() == len(runs)
    means = by_epoch[["train_time_s", *CURVES]].mean()
    means.insert(0, "step", by_epoch["step"].median())
    return means[reached]
