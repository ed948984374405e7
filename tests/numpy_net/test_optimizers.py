import numpy as np
import pytest
import torch

from optlab.numpy_net.optimizers import OPTIMIZERS, SGD, Adam, AdamW, RMSprop

NUM_STEPS = 100

CASES = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 1e-2}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-2}),
    ("Adam", {}),
    ("Adam", {"lr": 0.02, "betas": [0.8, 0.95], "eps": 1e-4, "weight_decay": 1e-2}),
    ("Adam", {"lr": 0.02, "amsgrad": True}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.02, "betas": (0.8, 0.95), "weight_decay": 0.3, "amsgrad": True}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.01, "alpha": 0.9, "eps": 1e-3, "weight_decay": 1e-2}),
    ("RMSprop", {"lr": 0.01, "momentum": 0.9, "centered": True, "eps": 1e-3}),
    ("Adagrad", {}),
    (
        "Adagrad",
        {"lr": 0.1, "lr_decay": 0.05, "weight_decay": 1e-2, "initial_accumulator_value": 0.1},
    ),
]


def case_id(case):
    name, options = case
    return "-".join([name, *(f"{option}={value}" for option, value in options.items())])


def problem():
    """Two parameters and a cost with a minimum; its gradients are noisy, as a minibatch's are."""
    rng = np.random.default_rng(0)
    starts = [rng.normal(size=(4, 3)), rng.normal(size=4)]
    targets = [rng.normal(size=(4, 3)), rng.normal(size=4)]
    noise = [[0.3 * rng.normal(size=s.shape) for s in starts] for _ in range(NUM_STEPS)]
    return starts, targets, noise


def run_both(name, options, schedule=lambda step: 1.0):
    """Largest difference over all elements, after every step: (num_steps,)."""
    starts, targets, noise = problem()
    thetas = [start.copy() for start in starts]
    tensors = [torch.tensor(start, requires_grad=True) for start in starts]
    ours = OPTIMIZERS[name](thetas, **options)
    # foreach=False is torch's plain loop over parameters: the one that its documentation shows
    theirs = getattr(torch.optim, name)(tensors, foreach=False, **options)
    peak_lr, differences = ours.lr, []
    for step in range(NUM_STEPS):
        ours.lr = theirs.param_groups[0]["lr"] = peak_lr * schedule(step)
        # each side takes the gradient at its own point: a difference would feed on itself
        ours.step([th - t + e for th, t, e in zip(thetas, targets, noise[step], strict=True)])
        for tensor, target, epsilon in zip(tensors, targets, noise[step], strict=True):
            tensor.grad = tensor.detach() - torch.tensor(target) + torch.tensor(epsilon)
        theirs.step()
        pairs = zip(thetas, tensors, strict=True)
        differences.append(max(np.abs(a - b.detach().numpy()).max() for a, b in pairs))
    moved = max(np.abs(a - b).max() for a, b in zip(thetas, starts, strict=True))
    assert moved > 0.02  # else the comparison would be between two that stand still
    return np.array(differences)


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_every_one_of_100_steps_equals_torch(case):
    # float64 rounds at 1e-16 of numbers near 1; 100 steps leave a few of those
    assert run_both(*case).max() < 1e-13


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_steps_equal_torch_while_a_schedule_changes_the_rate(case):
    warmup_and_fall = [(step + 1) / 20 if step < 20 else 20 / (step + 1) for step in range(100)]
    assert run_both(*case, schedule=warmup_and_fall.__getitem__).max() < 1e-13


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_defaults_are_those_of_torch(name):
    import inspect

    theirs = inspect.signature(getattr(torch.optim, name)).parameters
    ours = inspect.signature(OPTIMIZERS[name]).parameters
    options = {option: p.default for option, p in ours.items() if option != "parameters"}
    assert len(options) >= 5
    assert {option: theirs[option].default for option in options} == options


def test_sgd_on_numbers_worked_by_hand():
    theta = np.array([1.0])
    optimizer = SGD([theta], lr=0.1, momentum=0.5)
    optimizer.step([np.array([2.0])])  # v = 2, theta = 1 - 0.2
    np.testing.assert_allclose(theta, [0.8])
    optimizer.step([np.array([1.0])])  # v = 0.5 * 2 + 1 = 2, theta = 0.8 - 0.2
    np.testing.assert_allclose(theta, [0.6])


def test_nesterov_is_the_paper_s_point_looking_ahead():
    """Sutskever et al. 2013, eq. 3 and 4, as printed, on f(theta) = 3 theta^2 / 2."""
    lr, mu = 0.05, 0.9
    paper, velocity = 2.0, 0.0
    ours = np.array([2.0])
    optimizer = SGD([ours], lr=lr, momentum=mu, nesterov=True)
    for _ in range(50):
        velocity = mu * velocity - lr * 3 * (paper + mu * velocity)
        paper = paper + velocity
        optimizer.step([3 * ours])
        np.testing.assert_allclose(ours, paper + mu * velocity, rtol=0, atol=1e-14)


def test_first_step_of_adam_is_the_rate_whatever_the_gradient():
    # m_hat = g and v_hat = g^2, so the step is lr * sign(g)
    theta = np.zeros(3)
    Adam([theta], lr=0.25).step([np.array([1e-3, -5.0, 1e4])])
    np.testing.assert_allclose(theta, [-0.25, 0.25, -0.25], rtol=1e-4)


def test_adamw_decays_beside_the_gradient_and_adam_through_it():
    # With a zero gradient AdamW shrinks theta by lr * weight_decay; Adam normalizes the decay
    # like any gradient, and steps by lr.
    decoupled, coupled = np.array([2.0]), np.array([2.0])
    AdamW([decoupled], lr=0.1, weight_decay=0.5).step([np.zeros(1)])
    Adam([coupled], lr=0.1, weight_decay=0.5).step([np.zeros(1)])
    np.testing.assert_allclose(decoupled, [2.0 - 0.1 * 0.5 * 2.0])
    np.testing.assert_allclose(coupled, [2.0 - 0.1])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weight_decay_per_parameter_equals_torch_groups(name):
    starts, _, noise = problem()
    thetas = [start.copy() for start in starts]
    tensors = [torch.tensor(start, requires_grad=True) for start in starts]
    ours = OPTIMIZERS[name](thetas, lr=0.05, weight_decay=[0.2, 0.0])
    groups = [{"params": [tensors[0]], "weight_decay": 0.2}, {"params": [tensors[1]]}]
    theirs = getattr(torch.optim, name)(groups, lr=0.05, weight_decay=0.0)
    for gradients in noise[:20]:
        ours.step(gradients)
        for tensor, gradient in zip(tensors, gradients, strict=True):
            tensor.grad = torch.tensor(gradient)
        theirs.step()
    for theta, tensor in zip(thetas, tensors, strict=True):
        np.testing.assert_allclose(theta, tensor.detach(), rtol=0, atol=1e-13)


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_resumed_optimizer_goes_on_as_the_one_that_never_stopped(case):
    name, options = case
    starts, _, noise = problem()
    straight = [start.copy() for start in starts]
    optimizer = OPTIMIZERS[name](straight, **options)
    for gradients in noise[:10]:
        optimizer.step(gradients)
    state, resumed = optimizer.state_dict(), [theta.copy() for theta in straight]
    for gradients in noise[10:30]:  # going on must not reach into the saved state
        optimizer.step(gradients)

    later = OPTIMIZERS[name](resumed, **options)
    later.load_state_dict(state)
    for gradients in noise[10:30]:
        later.step(gradients)

    for a, b in zip(straight, resumed, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_step_keeps_float32_and_leaves_gradients_alone(name):
    theta = np.ones((2, 3), np.float32)
    gradient = np.full((2, 3), 0.5, np.float32)
    optimizer = OPTIMIZERS[name]([theta], weight_decay=0.1)
    for _ in range(3):
        optimizer.step([gradient])
    assert theta.dtype == np.float32 and (theta < 1).all()
    np.testing.assert_array_equal(gradient, 0.5)
    arrays = [
        a for value in optimizer.state_dict().values() if isinstance(value, list) for a in value
    ]
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}


def test_gradient_that_would_broadcast_is_refused():
    with pytest.raises(AssertionError):
        SGD([np.ones((2, 3))]).step([np.ones(3)])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("SGD", {"lr": -1.0}, r"lr .*-1.0\b.* >= 0"),
        ("SGD", {"lr": float("nan")}, r"lr .*\bnan\b.* >= 0"),
        ("SGD", {"momentum": -0.1}, r"momentum .*-0.1\b.* >= 0"),
        ("SGD", {"nesterov": True}, r"nesterov .*momentum .*\b0\b.*dampening .*\b0\b"),
        ("SGD", {"weight_decay": -1.0}, r"weight_decay .*\[-1.0\].* >= 0"),
        ("SGD", {"weight_decay": [0.1, 0.1]}, r"weight_decay .*\b2\b.*\b1\b"),
        ("Adam", {"betas": (0.9, 1.0)}, r"betas .*\[0.9, 1.0\].* \[0, 1\)"),
        ("AdamW", {"betas": [0.9]}, r"betas .*\[0.9\].*\b2\b"),
        ("Adam", {"eps": -1e-8}, r"eps .*-1e-08\b.* >= 0"),
        ("RMSprop", {"alpha": 1.0}, r"alpha .*\b1.0\b.* \[0, 1\)"),
        ("Adagrad", {"lr_decay": -1.0}, r"lr_decay .*-1.0\b.* >= 0"),
        ("Adagrad", {"initial_accumulator_value": -1.0}, r"initial_accumulator_value .*-1.0\b"),
    ],
)
def test_optimizer_refuses_option_out_of_range(name, options, message):
    with pytest.raises(ValueError, match=message):
        OPTIMIZERS[name]([np.ones(2)], **options)


def test_unknown_option_is_an_error():
    with pytest.raises(TypeError, match="'foreach'"):
        RMSprop([np.ones(2)], foreach=True)
