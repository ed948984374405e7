import math

import numpy as np
import pytest
import torch

from optlab.numpy_net.cost import cross_entropy, cross_entropy_gradient, log_softmax, softmax


def test_softmax_cross_entropy_on_numbers_worked_by_hand():
    # exp gives 1, 2, 5 (sum 8) and 3, 1, 4 (sum 8)
    logits = np.log([[1.0, 2.0, 5.0], [3.0, 1.0, 4.0]])
    labels = np.array([2, 0])
    np.testing.assert_allclose(softmax(logits), [[1 / 8, 2 / 8, 5 / 8], [3 / 8, 1 / 8, 4 / 8]])
    # the labels have probability 5/8 and 3/8: (log(8/5) + log(8/3)) / 2
    assert cross_entropy(logits, labels) == pytest.approx(math.log(64 / 15) / 2, abs=1e-15)
    # (p - y) / 2
    np.testing.assert_allclose(
        cross_entropy_gradient(logits, labels),
        [[1 / 16, 2 / 16, -3 / 16], [-5 / 16, 1 / 16, 4 / 16]],
    )


def test_equal_logits_cost_the_logarithm_of_the_number_of_classes():
    assert cross_entropy(np.full((4, 10), 7.0), np.arange(4)) == pytest.approx(math.log(10))


def test_log_softmax_survives_logits_that_would_overflow_exp():
    logits = np.array([[1e4, 0.0, -1e4]], np.float32)
    np.testing.assert_array_equal(log_softmax(logits), [[0.0, -1e4, -2e4]])
    assert cross_entropy(logits, np.array([2])) == 2e4
    np.testing.assert_array_equal(cross_entropy_gradient(logits, np.array([2])), [[1.0, 0.0, -1.0]])


def test_cost_and_gradient_equal_torch():
    rng = np.random.default_rng(0)
    logits, labels = 5 * rng.normal(size=(32, 10)), rng.integers(0, 10, 32)
    tensor = torch.tensor(logits, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(tensor, torch.tensor(labels))
    expected.backward()
    assert cross_entropy(logits, labels) == pytest.approx(expected.item(), abs=1e-13)
    np.testing.assert_allclose(cross_entropy_gradient(logits, labels), tensor.grad, atol=1e-15)


def test_gradient_of_each_image_sums_to_zero_and_leaves_logits_alone():
    logits = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    before = logits.copy()
    gradient = cross_entropy_gradient(logits, np.zeros(5, int))
    np.testing.assert_allclose(gradient.sum(axis=1), 0, atol=1e-7)
    np.testing.assert_array_equal(logits, before)
    assert gradient.dtype == np.float32
