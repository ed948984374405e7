"""Reports about the test of a run."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from made_records import make_record
from sklearn.metrics import f1_score

from optlab.runs.record import DatasetFacts
from optlab.training import evaluate as evaluate_module
from optlab.training.evaluate import TestPredictions as Predictions
from optlab.training.evaluate import write_classification_report, write_mistakes


@pytest.fixture
def report_of(tmp_path):
    """Writes the report of a confusion matrix; returns it as JSON and as text."""

    def write(matrix):
        names = list("abcdefghij")[: len(matrix)]
        dataset = DatasetFacts(name="made", class_names=names)
        record = make_record(confusion_matrix=matrix, dataset=dataset)
        write_classification_report(tmp_path, record)
        report = json.loads((tmp_path / "classification_report.json").read_text())
        return report, (tmp_path / "classification_report.txt").read_text()

    return write


def test_report_is_that_of_scikit_learn(report_of):
    matrix = np.random.default_rng(0).integers(0, 9, (4, 4))
    report, text = report_of(matrix.tolist())
    true, predicted = (np.repeat(index.ravel(), matrix.ravel()) for index in np.indices((4, 4)))
    assert report["macro avg"]["f1-score"] == pytest.approx(
        f1_score(true, predicted, average="macro")
    )
    assert report["accuracy"] == pytest.approx((true == predicted).mean())
    assert report["c"]["support"] == matrix[2].sum()
    assert "without_test_images" not in report
    assert text.splitlines()[-1].startswith("weighted avg ")


def test_class_without_test_images_is_named_and_in_no_average(report_of):
    report, text = report_of([[14, 1, 0], [0, 0, 0], [0, 0, 15]])
    assert report["without_test_images"] == ["b"]
    assert text.splitlines()[-1].split()[-1] == "b"
    # F1 of a: 2 * 14 / (15 + 14); of c: 1
    assert report["macro avg"]["f1-score"] == pytest.approx((28 / 29 + 1) / 2)
    assert "b" not in report


def test_class_that_is_never_predicted_counts_as_zero(report_of):
    report, text = report_of([[10, 0], [5, 0]])
    assert report["b"]["f1-score"] == 0
    assert report["macro avg"]["recall"] == 0.5
    assert "without_test_images" not in report
    assert text.splitlines()[-1].startswith("weighted avg ")


def test_runs_keep_the_same_mistakes_of_every_class(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate_module, "MISTAKES_BYTES", 20 * 4 * 4 + 3)  # of twenty images
    datamodule = SimpleNamespace(
        test_pictures=lambda indices: np.stack([np.full((4, 4), i, np.uint8) for i in indices])
    )
    path = tmp_path / "mistakes.npz"

    def kept(*right):  # by a run that misclassifies all other images of a set sorted by class
        true = np.repeat([0, 1], 100)
        predicted = 1 - true
        predicted[list(right)] = true[list(right)]
        probabilities = np.eye(2, dtype=np.float32)[predicted]
        write_mistakes(path, Predictions(true, probabilities), datamodule)
        with np.load(path) as arrays:
            assert arrays["images"][:, 0, 0].tolist() == arrays["indices"].tolist()
            return arrays["indices"].tolist()

    first = kept()
    assert len(first) == 20
    assert first == sorted(first)
    assert first[0] < 100 <= first[-1]
    assert set(kept(first[3], first[11])) >= {*first} - {first[3], first[11]}
    write_mistakes(path, Predictions(np.zeros(2), np.eye(2)[[1, 1]]), SimpleNamespace())
    assert not path.exists()  # a data module of another kind
