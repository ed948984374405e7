import numpy as np
import pytest
import torch

from optlab.numpy_net.activations import ACTIVATIONS

TORCH_FUNCTIONS = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "gelu": torch.nn.functional.gelu,
    "sigmoid": torch.sigmoid,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_and_derivative_equal_torch(name):
    # 0 is relu's kink; +-100 is where exp alone would overflow in float32.
    z = np.array([-100.0, -3.0, -1e-3, 0.0, 1e-3, 0.5, 3.0, 100.0])
    tensor = torch.tensor(z, requires_grad=True)
    expected = TORCH_FUNCTIONS[name](tensor)
    expected.sum().backward()

    a = ACTIVATIONS[name].forward(z)

    np.testing.assert_allclose(a, expected.detach(), rtol=0, atol=1e-14)
    derivative = ACTIVATIONS[name].derivative(z, a)
    np.testing.assert_allclose(derivative, tensor.grad, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activation_keeps_dtype_and_shape(name, dtype):
    z = np.linspace(-200, 200, 12, dtype=dtype).reshape(3, 4)
    a = ACTIVATIONS[name].forward(z)
    derivative = ACTIVATIONS[name].derivative(z, a)
    assert (a.dtype, a.shape) == (dtype, (3, 4))
    assert (derivative.dtype, derivative.shape) == (dtype, (3, 4))
    assert np.isfinite(a).all() and np.isfinite(derivative).all()


def test_gelu_at_one_is_the_normal_distribution_function():
    # Phi(1) = 0.841344746..., from a table of the normal distribution
    assert ACTIVATIONS["gelu"].forward(np.array([1.0]))[0] == pytest.approx(0.8413447460685429)
