from functools import partial

import numpy as np
import pytest
import torch

from optlab.numpy_net.optimizers import SGD, Adagrad, Adam
from optlab.numpy_net.surfaces import (
    BEALE,
    QUADRATIC,
    ROSENBROCK,
    ROTATED_QUADRATIC,
    SADDLE,
    follow,
    follow_at_best_rate,
)

SURFACES = (ROSENBROCK, BEALE, QUADRATIC, ROTATED_QUADRATIC, SADDLE)


@pytest.mark.parametrize("surface", SURFACES, ids=lambda surface: surface.name)
def test_gradient_equals_autograd(surface):
    rng = np.random.default_rng(0)
    for point in rng.uniform(-2, 2, size=(20, 2)):
        x, y = torch.tensor(point, requires_grad=True).unbind()
        expected = torch.autograd.grad(surface.value(x, y), (x, y))
        np.testing.assert_allclose(surface.gradient(*point), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("surface", SURFACES, ids=lambda surface: surface.name)
def test_window_shows_start_and_minimum(surface):
    left, right, bottom, top = surface.window
    points = [surface.start] if surface.minimum is None else [surface.start, surface.minimum]
    assert all(left < x < right and bottom < y < top for x, y in points)


@pytest.mark.parametrize("surface", [ROSENBROCK, BEALE, QUADRATIC, ROTATED_QUADRATIC])
def test_minimum_has_value_and_gradient_zero(surface):
    # for all four the least value is 0: Beale at (3, 0.5), Rosenbrock at (1, 1)
    assert surface.value(*surface.minimum) == pytest.approx(0, abs=1e-30)
    np.testing.assert_allclose(surface.gradient(*surface.minimum), 0, atol=1e-14)


def test_values_at_the_classical_starts():
    assert ROSENBROCK.value(-1.2, 1.0) == pytest.approx(24.2)  # 2.2^2 + 100 * 0.44^2
    assert BEALE.value(1.0, 1.0) == pytest.approx(14.203125)  # 1.5^2 + 2.25^2 + 2.625^2


def test_rotated_quadratic_is_the_quadratic_seen_from_45_degrees():
    turn = np.array([[1.0, -1.0], [1.0, 1.0]]) / np.sqrt(2)
    np.testing.assert_allclose(turn @ QUADRATIC.start, ROTATED_QUADRATIC.start)
    for point in np.random.default_rng(0).normal(size=(20, 2)):
        assert ROTATED_QUADRATIC.value(*(turn @ point)) == pytest.approx(QUADRATIC.value(*point))


def test_follow_records_every_point_from_the_start():
    trajectory = follow(SADDLE, lambda point: SGD(point, lr=0.1), num_steps=3)
    # gradient (x, -y): x shrinks by 0.9 a step, y grows by 1.1
    expected = [[-2.0 * 0.9**t, 1e-3 * 1.1**t] for t in range(4)]
    np.testing.assert_allclose(trajectory.points, expected)
    np.testing.assert_allclose(trajectory.values, [(x**2 - y**2) / 2 for x, y in expected])


def test_gradient_descent_does_not_see_the_rotation_and_adagrad_does():
    def best(surface, make_optimizer):
        return follow(surface, make_optimizer, num_steps=100).values

    def sgd(point):
        return SGD(point, lr=0.03)

    def adagrad(point):
        return Adagrad(point, lr=1.0)

    np.testing.assert_allclose(best(QUADRATIC, sgd), best(ROTATED_QUADRATIC, sgd), rtol=1e-9)
    assert best(ROTATED_QUADRATIC, adagrad)[-1] > 100 * best(QUADRATIC, adagrad)[-1]


def test_adam_reaches_the_minimum_of_beale():
    trajectory = follow(BEALE, lambda point: Adam(point, lr=0.1), num_steps=1000)
    np.testing.assert_allclose(trajectory.points[-1], BEALE.minimum, atol=1e-3)


def test_best_rate_is_the_one_whose_path_ends_lowest_and_not_one_that_diverged():
    # along y the quadratic has curvature 50: gradient descent diverges above 2 / 50 = 0.04
    rate, path = follow_at_best_rate(QUADRATIC, SGD, [0.003, 0.03, 0.3, 1e200], num_steps=50)
    assert rate == 0.03
    expected = follow(QUADRATIC, lambda point: SGD(point, lr=0.03), 50)
    np.testing.assert_array_equal(path.points, expected.points)


def test_path_that_flies_over_the_minimum_at_the_end_does_not_win():
    # Nearly without friction a point swings for ever. Stop where a swing passes through its lowest
    # value: the rate must be judged by the swing, not by that moment.
    swinging = partial(SGD, momentum=0.999)
    path = follow(QUADRATIC, partial(swinging, lr=0.005), 200)
    num_steps = 150 + int(path.values[150:].argmin())
    calm = follow(QUADRATIC, partial(swinging, lr=1e-4), num_steps)
    assert path.values[num_steps] < calm.values[-1]  # by its last value, the swing would win

    rate, _ = follow_at_best_rate(QUADRATIC, swinging, [1e-4, 0.005], num_steps)

    assert rate == 1e-4


def test_best_rate_is_refused_when_all_diverge():
    with pytest.raises(ValueError, match=r"\bRosenbrock\b.*rates .*\[1\.0, 2\.0\]"):
        follow_at_best_rate(ROSENBROCK, SGD, [1.0, 2.0], num_steps=50)


def test_path_that_diverges_is_kept_without_a_warning():
    trajectory = follow(ROSENBROCK, lambda point: SGD(point, lr=1.0), num_steps=20)
    assert trajectory.points.shape == (21, 2)
    assert not np.isfinite(trajectory.values[-1])
