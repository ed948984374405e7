"""Calibration of the answers that runs have kept."""

import numpy as np
import pytest
import torch
from made_studies import summary_of
from torchmetrics.functional.classification import multiclass_calibration_error

from optlab.analysis.calibration import calibration_table, measure_calibration, measure_reliability
from optlab.analysis.images import Answers, read_all_answers
from optlab.runs.folder import RunFolder


def random_answers(seed, num_images=500, num_classes=4):
    rng = np.random.default_rng(seed)
    logits = 3 * rng.standard_normal((num_images, num_classes))
    probabilities = torch.tensor(logits, dtype=torch.float32).softmax(dim=1).numpy()
    labels = rng.integers(0, num_classes, num_images)
    return Answers(labels, probabilities.argmax(axis=1), probabilities)


@pytest.mark.parametrize("num_bins", [5, 15])
def test_error_is_that_of_torchmetrics(num_bins):
    answers = random_answers(0)
    expected = multiclass_calibration_error(
        torch.tensor(answers.probabilities),
        torch.tensor(answers.labels),
        num_classes=4,
        n_bins=num_bins,
    )
    assert measure_reliability([answers], num_bins).error == pytest.approx(
        float(expected), abs=1e-6
    )


def test_answers_that_are_right_as_often_as_they_are_sure_have_no_error():
    probabilities = np.tile(np.float32([0.75, 0.25]), (4, 1))
    found = measure_reliability(
        [Answers(np.array([0, 0, 0, 1]), probabilities.argmax(axis=1), probabilities)]
    )
    assert found.error == pytest.approx(0)
    (bin_,) = np.flatnonzero(found.share)
    assert (found.share[bin_], found.confidence[bin_], found.accuracy[bin_]) == (1, 0.75, 0.75)


def test_certain_answers_are_in_the_last_bin():
    probabilities = np.float32([[1, 0], [1, 0]])
    found = measure_reliability([Answers(np.array([0, 1]), np.array([0, 0]), probabilities)])
    assert found.share[-1] == 1
    assert found.error == pytest.approx(0.5)


def test_configurations_whose_runs_kept_all_answers_are_shown(new_study):
    writer = new_study()
    for optimizer in ("adam", "sgd"):
        for seed in (0, 1):
            folder = writer.run(optimizer, seed)
            if (optimizer, seed) != ("sgd", 1):
                answers = random_answers(seed)
                np.savez(
                    RunFolder(folder).test_probabilities,
                    labels=answers.labels,
                    last=answers.probabilities,
                )
    adam, sgd = (
        measure_calibration(row, read_all_answers(row.configuration.finished))
        for row in sorted(summary_of(writer).rows, key=lambda row: row.label)
    )
    assert sgd is None
    errors = [measure_reliability([random_answers(seed)]).error for seed in (0, 1)]
    assert adam.error.mean == pytest.approx(np.mean(errors))
    (row,) = calibration_table([adam]).to_dict("records")
    assert (row["label"], row["num_runs"]) == ("adam", 2)
    assert row["test_loss"] > 0
