import numpy as np
import pytest
from sklearn.datasets import load_digits

from optlab.numpy_net.full_batch import minimize_full_batch
from optlab.numpy_net.network import MLP


@pytest.fixture(scope="module")
def digits():
    images, labels = load_digits(return_X_y=True)
    return images / 16, labels  # pixels are 0..16


@pytest.mark.parametrize("method", ["L-BFGS-B", "CG"])
def test_full_batch_decreases_and_fits_the_digits(digits, method):
    images, labels = digits[0][:1000], digits[1][:1000]
    network = MLP((64, 16, 10), "tanh", rng=np.random.default_rng(0), dtype=np.float64)
    start = network.loss(images, labels)

    history = minimize_full_batch(network, images, labels, method=method, max_iterations=30)

    assert history.costs[0] == start
    assert len(history.costs) == len(history.evaluations) == 31
    assert history.evaluations[0] == 0 and (np.diff(history.evaluations) >= 1).all()
    assert not history.converged and "iterations" in history.message.lower()
    assert (np.diff(history.costs) < 0).all()
    assert history.costs[-1] < 0.05
    assert network.accuracy(images, labels) > 0.99
    assert network.loss(images, labels) == pytest.approx(history.costs[-1], rel=1e-12)


def test_methods_find_the_same_minimum_of_a_convex_cost():
    # Without hidden layers the cost is convex. Overlapping classes have a finite minimum.
    rng = np.random.default_rng(0)
    images = rng.normal(size=(200, 2))
    labels = (images[:, 0] + rng.normal(size=200) > 0).astype(int)
    costs = []
    for method in ("L-BFGS-B", "CG"):
        network = MLP((2, 2), rng=np.random.default_rng(1), dtype=np.float64)
        history = minimize_full_batch(network, images, labels, method=method, max_iterations=200)
        assert history.converged
        _, gradients = network.loss_and_gradients(images, labels)
        assert max(np.abs(gradient).max() for gradient in gradients) < 1e-4
        costs.append(history.costs[-1])
    assert costs[0] == pytest.approx(costs[1], abs=1e-6)


def test_network_ends_with_the_best_weights_when_the_line_search_fails():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(200, 2))
    labels = (images[:, 0] + rng.normal(size=200) > 0).astype(int)
    network = MLP((2, 5, 2), rng=np.random.default_rng(1), dtype=np.float64)
    history = minimize_full_batch(network, images, labels, method="CG", max_iterations=300)
    # relu's kinks stop conjugate gradients; the last weights it tried are not the ones it returns
    assert not history.converged and "precision loss" in history.message
    assert network.loss(images, labels) == history.costs[-1] == history.costs.min()


def test_float32_network_stays_float32(digits):
    network = MLP((64, 8, 10), rng=np.random.default_rng(0))
    held = list(network.parameters)
    history = minimize_full_batch(network, digits[0][:200], digits[1][:200], max_iterations=20)
    assert history.costs[-1] < history.costs[0] / 2
    assert all(a is b for a, b in zip(held, network.parameters, strict=True))
    assert {parameter.dtype for parameter in network.parameters} == {np.dtype(np.float32)}


def test_unknown_method_is_refused():
    network = MLP((2, 2), rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"method .*\bNewton\b.* L-BFGS-B, CG\b"):
        minimize_full_batch(network, np.ones((1, 2)), np.zeros(1, int), method="Newton")
