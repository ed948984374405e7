import numpy as np
import torch

from optlab.models import MLP
from optlab.models.probabilities import probabilities


def test_rows_are_softmax_of_the_logits_in_the_order_of_the_batches():
    torch.manual_seed(0)
    net = MLP(1, 4, 3, hidden_sizes=[5]).eval()
    images, labels = torch.rand(7, 1, 4, 4), torch.arange(7) % 3
    batches = [(images[:4], labels[:4]), (images[4:], labels[4:])]
    found, truth = probabilities(net, batches)
    assert found.shape == (7, 3) and found.dtype == np.float64
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(found, net(images).softmax(dim=1).detach().numpy(), atol=1e-6)
    np.testing.assert_array_equal(truth, labels)
