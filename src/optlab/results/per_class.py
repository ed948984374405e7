"""Per-class figures from a confusion matrix (rows: true class, columns: predicted)."""

import numpy as np


def precision_recall_f1(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three arrays of shape (num_classes,); a class with nothing to divide by counts 0."""
    matrix = np.asarray(matrix, dtype=float)
    hits = np.diag(matrix)
    predicted, true = matrix.sum(axis=0), matrix.sum(axis=1)
    precision = np.divide(hits, predicted, out=np.zeros_like(hits), where=predicted > 0)
    recall = np.divide(hits, true, out=np.zeros_like(hits), where=true > 0)
    total = predicted + true
    f1 = np.divide(2 * hits, total, out=np.zeros_like(hits), where=total > 0)
    return precision, recall, f1


def most_confused(matrix: np.ndarray, count: int = 3) -> list[tuple[int, int, int]]:
    """The most frequent mistakes as (true, predicted, number), the worst first."""
    errors = np.array(matrix, dtype=int)
    np.fill_diagonal(errors, 0)
    order = np.argsort(-errors, axis=None, kind="stable")[:count]
    pairs = [divmod(int(index), errors.shape[1]) for index in order]
    return [(row, column, int(errors[row, column])) for row, column in pairs if errors[row, column]]
