import numpy as np
import torch

from optlab.numpy_net.layers import linear_backward, linear_forward, uniform_fan_in


def test_linear_forward_on_numbers_worked_by_hand():
    inputs = np.array([[1.0, 2.0], [0.0, -1.0]])
    weight = np.array([[3.0, 4.0], [5.0, 6.0], [1.0, 0.0]])  # three outputs, two inputs
    bias = np.array([10.0, 20.0, 30.0])
    # first row: 3 + 8 + 10, 5 + 12 + 20, 1 + 0 + 30; second: -4 + 10, -6 + 20, 0 + 30
    expected = [[21.0, 37.0, 31.0], [6.0, 14.0, 30.0]]
    np.testing.assert_array_equal(linear_forward(inputs, weight, bias), expected)


def test_linear_backward_on_numbers_worked_by_hand():
    inputs = np.array([[1.0, 2.0], [0.0, -1.0]])
    weight = np.array([[3.0, 4.0], [5.0, 6.0]])
    grad_outputs = np.array([[1.0, 0.0], [2.0, -1.0]])
    gradients = linear_backward(grad_outputs, inputs, weight)
    # rows: 1 (3, 4) + 0 (5, 6) and 2 (3, 4) - 1 (5, 6)
    np.testing.assert_array_equal(gradients.inputs, [[3.0, 4.0], [1.0, 2.0]])
    # outputs: 1 (1, 2) + 2 (0, -1) and 0 (1, 2) - 1 (0, -1)
    np.testing.assert_array_equal(gradients.weight, [[1.0, 0.0], [0.0, 1.0]])
    np.testing.assert_array_equal(gradients.bias, [3.0, -1.0])


def test_uniform_fan_in_has_the_distribution_of_torch_linear():
    weight, bias = uniform_fan_in(400, 300, np.random.default_rng(0), np.float32)
    layer = torch.nn.Linear(400, 300)
    assert weight.shape == tuple(layer.weight.shape) and weight.dtype == np.float32
    assert bias.shape == tuple(layer.bias.shape) and bias.dtype == np.float32
    # Uniform within 1/20, whose standard deviation is 1/20/sqrt(3) = 0.02887
    assert 0.0499 < np.abs(weight).max() <= 0.05 and np.abs(bias).max() <= 0.05
    np.testing.assert_allclose(weight.std(), 0.02887, rtol=0.01)
    np.testing.assert_allclose(layer.weight.std().item(), 0.02887, rtol=0.01)
