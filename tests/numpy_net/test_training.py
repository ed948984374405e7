import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from optlab.numpy_net.network import MLP
from optlab.numpy_net.optimizers import OPTIMIZERS, SGD, Adam
from optlab.numpy_net.training import minibatches, train

SIZES = (64, 32, 16, 10)


@pytest.fixture(scope="module")
def digits():
    images, labels = load_digits(return_X_y=True)
    return images / 16, labels  # pixels are 0..16


def torch_twin(dtype):
    torch.manual_seed(0)
    layers = [
        torch.nn.Linear(64, 32),
        torch.nn.ReLU(),
        torch.nn.Linear(32, 16),
        torch.nn.ReLU(),
        torch.nn.Linear(16, 10),
    ]
    return torch.nn.Sequential(*layers).to(dtype)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-5)], ids=["float64", "float32"]
)
def test_twenty_losses_equal_torch_from_torch_s_initial_weights(digits, name, dtype, tolerance):
    twin = torch_twin(torch.float64 if dtype is np.float64 else torch.float32)
    weights = [parameter.detach().numpy() for parameter in twin.parameters()]
    network = MLP(SIZES, weights=weights, dtype=dtype)
    batches = list(minibatches(*digits, batch_size=64, num_epochs=1, rng=np.random.default_rng(0)))[
        :20
    ]

    losses = train(network, OPTIMIZERS[name](network.parameters, lr=1e-2), batches)

    optimizer = getattr(torch.optim, name)(twin.parameters(), lr=1e-2)
    expected = []
    for images, labels in batches:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(
            twin(torch.tensor(images.astype(dtype))), torch.tensor(labels)
        )
        loss.backward()
        optimizer.step()
        expected.append(loss.item())
    assert len(losses) == 20
    assert losses[-1] < losses[0]
    np.testing.assert_allclose(losses, expected, rtol=tolerance)


def test_adam_learns_the_digits(digits):
    order = np.random.default_rng(0).permutation(1797)
    images, labels = digits[0][order], digits[1][order]
    network = MLP(SIZES, rng=np.random.default_rng(0))
    batches = minibatches(
        images[:1500], labels[:1500], batch_size=32, num_epochs=25, rng=np.random.default_rng(0)
    )
    losses = train(network, Adam(network.parameters, lr=3e-3), batches)
    assert len(losses) == 25 * 47  # 1500 / 32 = 46.9: the short batch counts
    assert losses[:10].mean() > 2 and losses[-40:].mean() < 0.1
    # 0.960 to 0.983 over ten seeds of weights and order, measured
    assert network.accuracy(images[1500:], labels[1500:]) > 0.93


def test_losses_are_of_the_weights_before_each_step():
    network = MLP((3, 2), weights=[np.zeros((2, 3)), np.zeros(2)], dtype=np.float64)
    images, labels = np.ones((4, 3)), np.array([0, 0, 0, 1])
    losses = train(network, SGD(network.parameters, lr=1.0), [(images, labels)])
    np.testing.assert_allclose(
        losses, [np.log(2)]
    )  # zero weights: both classes are equally probable


def test_diverging_run_shows_in_the_loss_without_a_warning(digits):
    network = MLP(SIZES, rng=np.random.default_rng(0))
    batches = minibatches(*digits, batch_size=64, num_epochs=4, rng=np.random.default_rng(0))
    losses = train(network, SGD(network.parameters, lr=1e12), batches)
    assert not np.isfinite(losses[-1])
    assert len(losses) == 4 * 29  # 1797 / 64 = 28.1


def test_no_batches_give_no_losses():
    network = MLP((3, 2), rng=np.random.default_rng(0))
    losses = train(network, SGD(network.parameters), [])
    assert losses.shape == (0,)


def test_minibatches_show_every_image_once_per_epoch_in_a_new_order():
    images, labels = np.arange(10)[:, None], np.arange(10)
    seen = list(
        minibatches(images, labels, batch_size=4, num_epochs=2, rng=np.random.default_rng(0))
    )
    assert [len(batch_labels) for _, batch_labels in seen] == [4, 4, 2, 4, 4, 2]
    assert all((batch_images[:, 0] == batch_labels).all() for batch_images, batch_labels in seen)
    first, second = (np.concatenate([b for _, b in seen[i : i + 3]]) for i in (0, 3))
    assert sorted(first) == sorted(second) == list(range(10))
    assert list(first) != list(second)
