"""Answers to the test images: the file, and intervals over seeds and images."""

from dataclasses import replace

import numpy as np
import pytest
from made_records import make_record

from optlab.analysis.comparisons import compare
from optlab.analysis.images import (
    accuracy_by_image,
    image_variance,
    over_images,
    read_answers,
)
from optlab.analysis.records import Run
from optlab.runs.folder import RunFolder


def made_run(folder, seed=0, predicted=(0, 1, 2), labels=(0, 1, 1), weights="last"):
    folder.mkdir(parents=True)
    probabilities = np.eye(3, dtype=np.float16)[list(predicted)]
    path = RunFolder(folder).test_probabilities
    np.savez_compressed(path, labels=np.uint16(labels), **{weights: probabilities})
    return Run(folder, make_record(seed=seed))


def test_answers_are_those_of_the_weights(tmp_path):
    answers = read_answers(made_run(tmp_path / "run"))
    assert answers.is_correct.tolist() == [True, True, False]
    assert (answers.probabilities.dtype, answers.labels.dtype) == (np.float32, np.int64)


def test_run_without_answers_has_none(tmp_path):
    assert read_answers(Run(tmp_path, make_record())) is None
    assert accuracy_by_image([made_run(tmp_path / "run"), Run(tmp_path, make_record())]) is None


@pytest.mark.parametrize("damage", ["cut", "text", "other weights"])
def test_damaged_answers_are_refused_by_their_name(tmp_path, damage):
    run = made_run(tmp_path / "run", weights="best" if damage == "other weights" else "last")
    path = RunFolder(run.folder).test_probabilities
    if damage != "other weights":
        path.write_bytes(path.read_bytes()[:100] if damage == "cut" else b"no archive")
    with pytest.raises(ValueError, match=str(path)):
        read_answers(run)


def test_folds_of_a_seed_are_averaged(tmp_path):
    runs = [made_run(tmp_path / "0"), made_run(tmp_path / "1", predicted=(1, 1, 1))]
    assert accuracy_by_image(runs)[0].tolist() == [0.5, 1.0, 0.5]


def test_variance_of_images_is_that_of_the_mean_squares():
    # Two-way table without replication: the mean square of images is 2, that of the residual 1/2,
    # so var_images = (2 - 1/2) / 2 seeds and the mean over 3 images has a third of it
    differences = np.array([[0.0, 1.0, 3.0], [1.0, 1.0, 2.0]])
    by_image = differences.mean(axis=0)
    mean_square = 2 * by_image.var(ddof=1)
    rest = differences - by_image - differences.mean(axis=1, keepdims=True) + differences.mean()
    residual = (rest**2).sum() / 2
    assert (mean_square, residual) == pytest.approx((2 * 13 / 12, 0.5))
    assert image_variance(differences) == pytest.approx((mean_square - residual) / 2 / 3)


def test_images_that_all_seeds_answer_alike_leave_the_variance_of_a_sample_of_images():
    rng = np.random.default_rng(0)
    of_images = rng.choice([-1.0, 0.0, 1.0], size=400)
    differences = np.tile(of_images, (12, 1))
    assert image_variance(differences) == pytest.approx(of_images.var(ddof=1) / 400)


def answers_of(rng, num_seeds, num_images=500):
    return {seed: (rng.random(num_images) < 0.9).astype(float) for seed in range(num_seeds)}


def means(by_image):
    return {(seed, 0): float(each.mean()) for seed, each in by_image.items()}


def test_interval_over_images_holds_that_over_seeds():
    rng = np.random.default_rng(0)
    ours, reference = answers_of(rng, 10), answers_of(rng, 10)
    (difference,) = compare(means(reference), [means(ours)])
    low, high = over_images(difference, ours, reference)
    assert low <= difference.low + 1e-6
    assert high >= difference.high - 1e-6
    assert over_images(difference.flipped, reference, ours) == pytest.approx((-high, -low))


def test_fewer_than_ten_seeds_have_no_interval_over_images():
    rng = np.random.default_rng(0)
    ours, reference = answers_of(rng, 9), answers_of(rng, 9)
    (difference,) = compare(means(reference), [means(ours)])
    assert over_images(difference, ours, reference) is None
    assert over_images(replace(difference, deviation=None), ours, reference) is None
