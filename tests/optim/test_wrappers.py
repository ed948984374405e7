"""SAM, ASAM and Lookahead against steps by hand, and what a second evaluation must not change."""

import math
import random
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from schedulefree import AdamWScheduleFree
from torch import nn

from optlab.optim import ASAM, SAM, Lookahead

SGD = torch.optim.SGD


def squares(wrapper, values=(1.0, 1.0)):
    """An optimizer of w with the loss w . w, and the points at which the closure is evaluated."""
    weight = nn.Parameter(torch.tensor(values, dtype=torch.float64))
    optimizer, points = wrapper([weight]), []

    def closure():
        optimizer.zero_grad()
        points.append(weight.tolist())
        loss = (weight**2).sum()
        loss.backward()
        return loss.detach()

    return weight, partial(optimizer.step, closure), points


def test_three_steps_of_sam_by_hand():
    # Gradient 2w, so e = 0.5 w / |w| = 0.35355 (1, 1); then w - 0.1 * 2 (w + e) = 0.8 w - 0.2 e:
    # 1 -> 0.8 - 0.070711 -> ...
    weight, step, points = squares(partial(SAM, base=partial(SGD, lr=0.1), rho=0.5))
    e = 0.5 / math.sqrt(2)
    expected, losses = [1.0], [step().item() for _ in range(3)]
    for _ in range(3):
        expected.append(0.8 * expected[-1] - 0.2 * e)
    assert expected[1:] == pytest.approx([0.729289, 0.512721, 0.339466], abs=1e-6)
    assert [point[0] for point in points[0::2]] == pytest.approx(expected[:3], abs=1e-12)
    assert [point[0] for point in points[1::2]] == pytest.approx(
        [value + e for value in expected[:3]], abs=1e-12
    )
    assert losses == pytest.approx([2 * value**2 for value in expected[:3]])  # at w, not at w + e
    assert weight.tolist() == pytest.approx([expected[3]] * 2)


def test_two_steps_of_asam_by_hand():
    # T = |w| + 0.1 = (1.1, 2.1), g = (2, 4): T g = (2.2, 8.4), of norm 8.683317;
    # e = 0.5 T (T g) / norm = (0.139348, 1.015741); w - 0.1 * 2 (w + e) = (0.772130, 1.396852)
    make = partial(ASAM, base=partial(SGD, lr=0.1), rho=0.5, eta=0.1)
    weight, step, points = squares(make, (1.0, 2.0))
    step()
    assert points[1] == pytest.approx([1.139348, 3.015741], abs=1e-6)
    assert weight.tolist() == pytest.approx([0.772130, 1.396852], abs=1e-6)
    step()
    assert points[2] == pytest.approx([0.772130, 1.396852], abs=1e-6)


def test_lookahead_by_hand():
    # Fast: w <- 0.8 w. After two steps 0.64, and the slow weight goes half of the way there: 0.82
    make = partial(Lookahead, base=partial(SGD, lr=0.1), k=2, alpha=0.5)
    weight, step, points = squares(make)
    for _ in range(5):
        step()
    assert [point[0] for point in points] == pytest.approx([1, 0.8, 0.82, 0.656, 0.82**2])
    assert weight[0].item() == pytest.approx(0.8 * 0.82**2)
    optimizer = step.func.__self__
    optimizer.eval()
    optimizer.eval()
    assert weight[0].item() == pytest.approx(0.82**2)  # the slow weights
    optimizer.train()
    assert weight[0].item() == pytest.approx(0.8 * 0.82**2)


def test_lookahead_of_alpha_1_is_its_base():
    base = partial(torch.optim.Adam, lr=0.1)
    ends = []
    for make in (base, partial(Lookahead, base=base, alpha=1.0)):
        weight, step, _ = squares(make)
        for _ in range(7):
            step()
        ends.append(weight.tolist())
    assert ends[0] == ends[1]


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))


def train(net, optimizer, num_steps=1):
    """Take steps; return what each evaluation drew: torch's, NumPy's and Python's numbers."""
    images, labels = torch.randn(16, 6), torch.randint(3, (16,))
    drawn = []

    def closure():
        optimizer.zero_grad()
        drawn.append((torch.rand(()).item(), np.random.rand(), random.random()))
        loss = F.cross_entropy(net(images), labels)
        loss.backward()
        return loss

    for _ in range(num_steps):
        optimizer.step(closure)
    return drawn


def test_both_passes_draw_the_same_numbers_and_steps_do_not(net):
    drawn = train(net, SAM(net.parameters(), partial(SGD, lr=0.1)), num_steps=2)
    assert drawn[0] == drawn[1]
    assert drawn[2] == drawn[3]
    assert all(first != second for first, second in zip(drawn[0], drawn[2], strict=True))


def test_second_pass_leaves_batch_norm_alone(net):
    optimizer = SAM(net.parameters(), partial(SGD, lr=0.1))
    optimizer.watch(net)
    torch.manual_seed(1)
    train(net, optimizer)
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    torch.manual_seed(1)
    train(plain, SGD(plain.parameters(), lr=0.1))  # one pass, from the same weights
    for buffer, expected in zip(net.buffers(), plain.buffers(), strict=True):
        assert torch.equal(buffer, expected)
    assert net[1].num_batches_tracked == 1


@pytest.mark.parametrize("make", [SAM, ASAM, Lookahead])
def test_wrapper_shares_groups_and_state_with_its_base(make, net):
    optimizer = make(net.parameters(), partial(torch.optim.Adam, betas=(0.8, 0.9)), lr=0.02)
    assert optimizer.param_groups[0]["lr"] == 0.02
    torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.1)
    optimizer.param_groups[0]["lr"] = 0.0  # as a scheduler sets it
    before = net[0].weight.detach().clone()
    train(net, optimizer)
    assert torch.equal(net[0].weight, before)
    optimizer.load_state_dict(optimizer.state_dict())
    assert optimizer.param_groups is optimizer.base_optimizer.param_groups
    assert optimizer.state is optimizer.base_optimizer.state
    assert optimizer.state[net[0].weight]["exp_avg"].any()


def test_wrapper_evaluates_where_its_base_does(net):
    assert not hasattr(SAM(net.parameters(), partial(SGD, lr=0.1)), "eval")
    optimizer = SAM(net.parameters(), AdamWScheduleFree)
    optimizer.train()
    train(net, optimizer, num_steps=3)
    trained = net[0].weight.detach().clone()
    optimizer.eval()
    assert not torch.equal(net[0].weight, trained)
    optimizer.train()
    torch.testing.assert_close(net[0].weight, trained)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(SAM, rho=0.0), r"optimizer\.rho .*\b0\.0\b"),
        (partial(SAM, rho=math.nan), r"optimizer\.rho .*\bnan\b"),
        (partial(ASAM, eta=-1.0), r"optimizer\.eta .*-1\.0\b"),
        (partial(Lookahead, k=0), r"optimizer\.k .*\b0\b"),
        (partial(Lookahead, alpha=1.5), r"optimizer\.alpha .*\b1\.5\b"),
    ],
)
def test_option_out_of_range_is_refused(make, message, net):
    with pytest.raises(ValueError, match=message):
        make(net.parameters(), base=partial(SGD, lr=0.1))


@pytest.mark.parametrize("base", [torch.optim.LBFGS, partial(SAM, base=SGD)])
def test_base_that_evaluates_several_times_is_refused(base, net):
    with pytest.raises(ValueError, match=r"optimizer\.base .*\b(LBFGS|SAM)\b.*\bLookahead\b"):
        Lookahead(net.parameters(), base)


def test_sam_without_a_closure_is_refused(net):
    with pytest.raises(ValueError, match=r"SAM .*closure"):
        SAM(net.parameters(), SGD).step()
