"""The answers of runs to each test image, and whether a difference holds for other images.

An interval over seeds holds for these test images only: every run uses them, so no number of seeds
shows what other images would give. Seeds and images are crossed random effects: the difference
d[s, i] of seed s on image i is a mean, an effect of the seed, one of the image, and a residual. The
mean over n seeds and m images has the variance

    var_seeds / n + var_images / m + var_residual / (n m)

estimated from mean squares (Searle, Casella and McCulloch 1992, Variance Components, section 4.4).
The first and the last term are the variance of an interval over seeds; this module adds the second.
"""

import math
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from optlab.analysis.comparisons import Difference, simultaneous_quantile
from optlab.analysis.records import Run
from optlab.runs.folder import RunFolder

MIN_SEEDS_FOR_IMAGES = 10  # fewer seeds do not tell an image's effect from the residual


@dataclass(frozen=True, eq=False)
class Answers:
    """The answers of a run's weights: classes `labels` and `predicted` (N,).

    `probabilities` (N, num_classes) is None for runs of a study archive, which has the classes
    only.
    """

    labels: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray | None = None

    @property
    def is_correct(self) -> np.ndarray:
        """Whether each image was recognized, bool (N,)."""
        return np.asarray(self.predicted == self.labels)


@contextmanager
def open_arrays(path: Path, what: str) -> Iterator[Mapping[str, np.ndarray]]:
    """Open a file of arrays that a run has kept.

    Raises:
        ValueError: the file is damaged, or has not what is asked for in the context.
    """
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            yield arrays
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} is damaged ({error}).\n\nhint: delete it to do without {what}, or repeat "
            "the run with rerun=true"
        ) from error


def read_answers(run: Run, weights: str | None = None) -> Answers | None:
    """Return what a run answered at the `best` or `last` weights, by default the judged ones.

    None for a run that kept no answers: one over several devices, or of an earlier version.

    Raises:
        ValueError: the file is damaged.
    """
    files = RunFolder(run.folder)
    path = (
        files.test_probabilities if files.test_probabilities.is_file() else files.test_predictions
    )
    if not path.is_file():
        return None
    with open_arrays(path, "the answers") as arrays:
        labels, found = (arrays[name] for name in ("labels", weights or run.judged_weights))
        if path == files.test_predictions:
            return Answers(labels.astype(np.int64), found.astype(np.int64))
        return Answers(labels.astype(np.int64), found.argmax(axis=1), found.astype(np.float32))


def read_all_answers(runs: Iterable[Run]) -> list[Answers]:
    """Return the answers of all runs at the judged weights; empty if one kept none."""
    found = []
    for run in runs:
        answers = read_answers(run)
        if answers is None:
            return []
        found.append(answers)
    return found


def accuracy_by_image(runs: Iterable[Run]) -> dict[int, np.ndarray] | None:
    """Return for each seed the share of its folds that recognize each test image, (N,).

    None if a run kept no answers.
    """
    by_seed: dict[int, list[np.ndarray]] = {}
    for run in runs:
        answers = read_answers(run)
        if answers is None:
            return None
        by_seed.setdefault(run.seed, []).append(answers.is_correct)
    return {seed: np.mean(folds, axis=0) for seed, folds in by_seed.items()}


def over_images(
    difference: Difference,
    ours: Mapping[int, np.ndarray],
    reference: Mapping[int, np.ndarray],
) -> tuple[float, float] | None:
    """Return the simultaneous interval of a mean difference over seeds and test images.

    Args:
        difference: over seeds; the interval returned is never narrower than its own.
        ours: `accuracy_by_image` of the one configuration.
        reference: the same of the other.

    Returns:
        The two ends, in accuracy; None with fewer than `MIN_SEEDS_FOR_IMAGES` common seeds.
    """
    seeds = sorted(ours.keys() & reference.keys())
    deviation, df, mean = difference.deviation, difference.degrees_of_freedom, difference.mean
    if len(seeds) < MIN_SEEDS_FOR_IMAGES or deviation is None or df is None or mean is None:
        return None
    by_image = np.stack([ours[seed] - reference[seed] for seed in seeds])  # (seeds, images)
    of_images, num_images = image_variance(by_image), by_image.shape[1]
    of_seeds = deviation**2 / len(seeds)
    total = of_seeds + of_images
    if not total:
        return mean, mean
    # Satterthwaite 1946, doi:10.2307/3002019
    joint_df = total**2 / (of_seeds**2 / df + of_images**2 / (num_images - 1))
    quantile = simultaneous_quantile(difference.num_comparisons, joint_df, difference.level)
    half_width = quantile * math.sqrt(total)
    return mean - half_width, mean + half_width


def image_variance(differences: np.ndarray) -> float:
    """Return the variance of the mean of (seeds, images) differences that comes from the images."""
    num_seeds, num_images = differences.shape
    of_seed = differences.mean(axis=1, keepdims=True)
    of_image = differences.mean(axis=0, keepdims=True)
    residual = differences - of_seed - of_image + differences.mean()
    mean_square = (residual**2).sum() / ((num_seeds - 1) * (num_images - 1))
    variance = (of_image.var(ddof=1) - mean_square / num_seeds) / num_images
    return max(0.0, float(variance))
