"""Metrics against torchmetrics, batch by batch."""

import pytest
import torch
import torch.nn.functional as F
from torchmetrics.functional.classification import multiclass_confusion_matrix

from optlab.training.metrics import ClassificationMetrics


def test_sums_over_batches_are_the_metrics_of_the_whole_split():
    torch.manual_seed(0)
    logits, labels = torch.randn(250, 4), torch.randint(4, (250,))
    metrics = ClassificationMetrics(4)
    for start in (0, 100, 200):  # the last batch is shorter
        metrics.update(logits[start : start + 100], labels[start : start + 100])
    found = metrics.compute()
    expected = multiclass_confusion_matrix(logits, labels, num_classes=4)
    assert torch.equal(found["confusion"], expected)
    right = (logits.argmax(dim=-1) == labels).float().mean().item()
    assert found["accuracy"].item() == pytest.approx(right)
    assert found["loss"].item() == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)


def test_metrics_of_an_earlier_pass_stay_when_the_next_one_begins():
    metrics = ClassificationMetrics(2)
    metrics.update(torch.tensor([[1.0, 0.0]]), torch.tensor([0]))
    first = metrics.compute()
    metrics.reset()
    metrics.update(torch.tensor([[0.0, 1.0]]), torch.tensor([1]))
    assert first["confusion"].tolist() == [[1, 0], [0, 0]]
    assert metrics.compute()["confusion"].tolist() == [[0, 0], [0, 1]]


def test_labels_in_a_byte_count_as_any_others():
    """torch's cross-entropy takes them; 25 times 30 classes is more than a byte holds."""
    logits, labels = torch.eye(30), torch.arange(30)
    metrics = ClassificationMetrics(30)
    metrics.update(logits, labels.byte())
    assert torch.equal(metrics.compute()["confusion"], torch.eye(30, dtype=torch.int64))
