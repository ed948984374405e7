"""Smoothing of per-step losses, and thinning of lines that have more points than pixels."""

import numpy as np


def window_for(num_steps: int) -> int:
    """Steps in a smoothing window: about a 25th of the run, odd, at most 801."""
    return int(min(max(num_steps // 25, 1), 801)) // 2 * 2 + 1


def centred_mean(values: np.ndarray, window: int, sharp_end: bool = False) -> np.ndarray:
    """Mean over `window` values around each one.

    Near the start the window shrinks on both sides, so the first fall of a loss is not delayed
    or blunted. Near the end it is cut on the right alone, so the end is not one noisy batch. With
    `sharp_end` the last half window stays as it is, so a divergence stands where it happened.
    """
    values = np.asarray(values, dtype=float)
    if sharp_end:
        settled = max(len(values) - window // 2, 0)
        return np.concatenate([centred_mean(values[:settled], window), values[settled:]])
    index = np.arange(len(values))
    half = np.minimum(window // 2, index)
    high = np.minimum(index + half, len(values) - 1)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    low = index - half
    return (sums[high + 1] - sums[low]) / (high + 1 - low)


def thin(num_points: int, most: int = 400) -> np.ndarray:
    """Indices of at most `most` of the points, evenly, both ends included."""
    if num_points <= most:
        return np.arange(num_points)
    return np.unique(np.linspace(0, num_points - 1, most).round().astype(int))


def envelope(values: np.ndarray, most: int = 600) -> np.ndarray:
    """Indices of the smallest and largest value in each of `most` / 2 stretches.

    A line through them looks like the line through all points, at the resolution of a page.
    """
    if len(values) <= most:
        return np.arange(len(values))
    length = len(values) // (most // 2)
    num = len(values) // length
    blocks = np.asarray(values[: num * length]).reshape(num, length)
    starts = np.arange(num) * length
    picked = np.concatenate([starts + blocks.argmin(axis=1), starts + blocks.argmax(axis=1)])
    return np.unique(np.append(picked, len(values) - 1))
