"""Confusion matrices (rows: true class, columns: predicted) and what they say about each class."""

import numpy as np

from optlab.analysis.workloads import Configuration


def confusion_matrices(configuration: Configuration) -> list[np.ndarray]:
    """Test confusion matrices of the finished runs, those of the right shape."""
    matrices = []
    for run in configuration.finished:
        size = len(run.class_names)
        try:
            matrix = np.asarray(run.record.confusion_matrix, dtype=int)
        except (TypeError, ValueError):
            continue
        if size and matrix.shape == (size, size):
            matrices.append(matrix)
    return matrices


def precision_recall_f1(matrix: np.ndarray) -> np.ndarray:
    """Return three rows of shape (num_classes,): NaN for a class that has no images.

    A class that was never predicted has precision 0.
    """
    matrix = np.asarray(matrix, dtype=float)
    hits, predicted = np.diag(matrix), matrix.sum(axis=0)
    true = np.where(matrix.any(axis=1), matrix.sum(axis=1), np.nan)
    precision = np.where(np.isnan(true), np.nan, hits / np.maximum(predicted, 1))
    return np.stack([precision, hits / true, 2 * hits / (predicted + true)])


def most_confused(matrix: np.ndarray, count: int = 3) -> list[tuple[int, int, int]]:
    """The most frequent mistakes as (true, predicted, number), the worst first."""
    errors = np.array(matrix, dtype=int)
    np.fill_diagonal(errors, 0)
    order = np.argsort(-errors, axis=None, kind="stable")[:count]
    pairs = [divmod(int(index), errors.shape[1]) for index in order]
    return [(row, column, int(errors[row, column])) for row, column in pairs if errors[row, column]]
