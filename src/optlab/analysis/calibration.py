"""Calibration: whether predictions with a confidence of 90 % are correct in 90 % of cases."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from optlab.analysis.images import Answers
from optlab.analysis.statistics import Estimate, bounded, mean_interval
from optlab.analysis.summary import ConfigurationSummary

NUM_BINS = 15


@dataclass(frozen=True, eq=False)
class Reliability:
    """Answers in bins of equal width by confidence, the probability of the predicted class.

    Attributes:
        share: (bins,) of all answers.
        confidence: (bins,) mean of a bin, nan where it is empty.
        accuracy: (bins,) share of right answers, nan where it is empty.
    """

    share: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error (Guo et al. 2017, arXiv:1706.04599, equation 3)."""
        return float(np.nansum(self.share * np.abs(self.accuracy - self.confidence)))


def measure_reliability(answers: Sequence[Answers], num_bins: int = NUM_BINS) -> Reliability:
    """Return the reliability of all answers together, which are one or more with probabilities."""
    probabilities = [each.probabilities for each in answers if each.probabilities is not None]
    confidence = np.concatenate([each.max(axis=1) for each in probabilities])
    is_correct = np.concatenate([each.is_correct for each in answers])
    bins = np.minimum((confidence * num_bins).astype(int), num_bins - 1)
    counts, sums, right = (
        np.bincount(bins, weights=weights, minlength=num_bins)
        for weights in (None, confidence, is_correct)
    )
    filled = np.where(counts > 0, counts, np.nan)
    return Reliability(counts / len(bins), sums / filled, right / filled)


@dataclass(frozen=True, eq=False)
class Calibration:
    """One configuration's calibration on test at the judged weights."""

    row: ConfigurationSummary
    error: Estimate  # of a run, a fraction: mean over runs
    reliability: Reliability  # of all runs together


def measure_calibration(
    row: ConfigurationSummary, answers: Sequence[Answers]
) -> Calibration | None:
    """Return the calibration of a configuration; None unless its runs kept their probabilities."""
    if any(each.probabilities is None for each in answers):
        return None
    error = bounded(mean_interval([measure_reliability([each]).error for each in answers]))
    return Calibration(row, error, measure_reliability(answers)) if error else None


def calibration_table(found: Sequence[Calibration]) -> pd.DataFrame:
    """Calibration errors and test losses as plain numbers, a row for each configuration."""
    return pd.DataFrame(
        [
            {
                "label": each.row.label,
                "calibration_error": each.error.mean,
                "low": each.error.low,
                "high": each.error.high,
                "test_loss": mean_test_loss(each.row),
                "num_runs": each.error.num_runs,
            }
            for each in found
        ]
    )


def mean_test_loss(row: ConfigurationSummary) -> float | None:
    """Return the mean cross-entropy on test at the judged weights, in nats per image."""
    return row.mean(lambda run: run.metric("test", quantity="loss"))
