"""Evaluation against torchmetrics, batch by batch and for several replicas at once."""

import pytest
import torch
import torch.nn.functional as F
from torchmetrics.functional.classification import multiclass_confusion_matrix

from optlab.training.evaluation import Evaluation


@pytest.mark.parametrize("num_replicas", [1, 3])
def test_sums_over_batches_are_the_metrics_of_the_whole_split(num_replicas):
    torch.manual_seed(0)
    logits, labels = torch.randn(num_replicas, 250, 4), torch.randint(4, (250,))
    evaluation = Evaluation(4, num_replicas)
    for start in (0, 100, 200):  # the last batch is shorter
        part = logits[:, start : start + 100]
        evaluation.update(part[0] if num_replicas == 1 else part, labels[start : start + 100])
    found = evaluation.compute()
    for replica in range(num_replicas):
        expected = multiclass_confusion_matrix(logits[replica], labels, num_classes=4)
        assert bool((found["confusion"].reshape(-1, 4, 4)[replica] == expected).all())
        right = float((logits[replica].argmax(dim=-1) == labels).float().mean())
        assert float(found["accuracy"].reshape(-1)[replica]) == pytest.approx(right)
        loss = float(F.cross_entropy(logits[replica], labels))
        assert float(found["loss"].reshape(-1)[replica]) == pytest.approx(loss, rel=1e-5)
