from itertools import pairwise

import numpy as np
import pytest
import torch

from optlab.numpy_net.activations import ACTIVATIONS
from optlab.numpy_net.network import MLP

TORCH_ACTIVATIONS = {
    "relu": torch.nn.ReLU,
    "tanh": torch.nn.Tanh,
    "gelu": torch.nn.GELU,
    "sigmoid": torch.nn.Sigmoid,
}
DEPTHS = [(12, 5), (12, 9, 5), (12, 9, 8, 5), (12, 9, 8, 7, 6, 5)]


def torch_twin(sizes, activation, dtype=torch.float64):
    """A torch network of the same layers, with torch's own initial weights."""
    torch.manual_seed(0)
    modules = []
    for num_inputs, num_outputs in pairwise(sizes):
        modules += [torch.nn.Linear(num_inputs, num_outputs), TORCH_ACTIVATIONS[activation]()]
    return torch.nn.Sequential(*modules[:-1]).to(dtype)


def weights_of(twin):
    return [parameter.detach().numpy() for parameter in twin.parameters()]


def batch(sizes, num_images=16):
    rng = np.random.default_rng(1)
    return rng.normal(size=(num_images, sizes[0])), rng.integers(0, sizes[-1], num_images)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("sizes", DEPTHS, ids=lambda sizes: f"{len(sizes) - 1}_layers")
def test_loss_and_gradients_equal_autograd_to_one_in_a_million(activation, sizes):
    twin = torch_twin(sizes, activation)
    network = MLP(sizes, activation, weights=weights_of(twin), dtype=np.float64)
    images, labels = batch(sizes)

    loss, gradients = network.loss_and_gradients(images, labels)

    expected = torch.nn.functional.cross_entropy(twin(torch.tensor(images)), torch.tensor(labels))
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-12)
    references = [parameter.grad.numpy() for parameter in twin.parameters()]
    assert [g.shape for g in gradients] == [r.shape for r in references]
    for gradient, reference in zip(gradients, references, strict=True):
        assert np.abs(reference).max() > 1e-6  # else the next line would compare nothing
        np.testing.assert_allclose(gradient, reference, rtol=1e-6, atol=1e-14)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_float32_network_calculates_in_float32_throughout(activation):
    network = MLP((12, 9, 5), activation, rng=np.random.default_rng(0))
    images, labels = batch((12, 9, 5))
    forward_pass = network.forward(images)
    _, gradients = network.loss_and_gradients(images, labels)
    arrays = [*forward_pass.layer_inputs, *forward_pass.layer_outputs, *gradients]
    assert len(arrays) == 8
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}


def test_same_generator_seed_gives_same_weights_and_other_seed_others():
    first, second, other = (MLP((6, 4, 3), rng=np.random.default_rng(s)) for s in (0, 0, 1))
    np.testing.assert_array_equal(first.flatten(), second.flatten())
    assert not np.array_equal(first.flatten(), other.flatten())


def test_given_weights_are_copied():
    weights = [np.ones((3, 2)), np.ones(3)]
    network = MLP((2, 3), weights=weights)
    network.parameters[0][...] = 7
    np.testing.assert_array_equal(weights[0], 1)


def test_load_keeps_the_arrays_that_an_optimizer_holds():
    network = MLP((2, 3), rng=np.random.default_rng(0))
    held = list(network.parameters)
    network.load([np.full((3, 2), 5.0), np.full(3, 6.0)])
    assert all(a is b for a, b in zip(held, network.parameters, strict=True))
    np.testing.assert_array_equal(held[0], 5)


def test_unflatten_inverts_flatten():
    network = MLP((4, 3, 2), rng=np.random.default_rng(0), dtype=np.float64)
    vector = network.flatten()
    # 4 * 3 + 3 + 3 * 2 + 2
    assert vector.shape == (23,)
    for array, parameter in zip(network.unflatten(vector), network.parameters, strict=True):
        np.testing.assert_array_equal(array, parameter)


def test_parameter_count_of_the_published_mnist_network():
    # 784 * 128 + 128 + 128 * 64 + 64 + 64 * 10 + 10, the figure of the network shown in E1
    assert MLP((784, 128, 64, 10), rng=np.random.default_rng(0)).flatten().shape == (109_386,)


def test_predictions_and_accuracy_agree():
    network = MLP((12, 9, 5), rng=np.random.default_rng(0))
    images, labels = batch((12, 9, 5), num_images=40)
    hits = sum(int(p == label) for p, label in zip(network.predict(images), labels, strict=True))
    assert network.accuracy(images, labels) == hits / 40


def test_forward_leaves_images_alone():
    images, _ = batch((12, 9, 5))
    before = images.copy()
    MLP((12, 9, 5), rng=np.random.default_rng(0), dtype=np.float64).forward(images)
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sizes": (5,)}, r"sizes .*\[5\].*\n\nhint: .*sizes=\["),
        ({"sizes": (5, 0, 2)}, r"sizes .*\[5, 0, 2\].*\n\nhint: .*sizes=\["),
        ({"activation": "swish"}, r"activation .*\bswish\b.* relu, tanh, gelu, sigmoid"),
        ({"dtype": np.int64}, r"dtype .*\bint64\b.* float32, float64"),
        ({"rng": None}, r"\brng\b.*\bweights\b.*\n\nhint: .*\brng="),
        ({"weights": [np.zeros((2, 5))]}, r"\brng\b.*\bweights\b.*\n\nhint: .*\brng="),
        (
            {"rng": None, "weights": [np.zeros((5, 2)), np.zeros(2)]},
            r"weights .*\[\(5, 2\), \(2,\)\].*sizes=\[5, 2\].*\[\(2, 5\), \(2,\)\]",
        ),
    ],
)
def test_constructor_refuses(arguments, message):
    valid = {"sizes": (5, 2), "rng": np.random.default_rng(0)}
    with pytest.raises(ValueError, match=message):
        MLP(**(valid | arguments))
