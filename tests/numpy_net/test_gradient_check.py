import numpy as np
import pytest

from optlab.numpy_net.activations import ACTIVATIONS
from optlab.numpy_net.gradient_check import central_differences, largest_relative_error
from optlab.numpy_net.network import MLP


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_backward_agrees_with_central_differences(activation):
    rng = np.random.default_rng(0)
    network = MLP((6, 5, 4, 3), activation, rng=rng, dtype=np.float64)
    images, labels = rng.normal(size=(10, 6)), rng.integers(0, 3, 10)
    before = network.flatten()

    estimates = central_differences(network, images, labels)

    _, gradients = network.loss_and_gradients(images, labels)
    assert largest_relative_error(gradients, estimates) < 1e-7
    np.testing.assert_array_equal(network.flatten(), before)


def test_a_wrong_gradient_is_found():
    rng = np.random.default_rng(0)
    network = MLP((6, 5, 3), "tanh", rng=rng, dtype=np.float64)
    images, labels = rng.normal(size=(10, 6)), rng.integers(0, 3, 10)
    _, gradients = network.loss_and_gradients(images, labels)
    gradients[1] = gradients[1] * 1.01
    error = largest_relative_error(gradients, central_differences(network, images, labels))
    assert error == pytest.approx(0.01, rel=1e-3)
