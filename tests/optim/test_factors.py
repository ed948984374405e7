"""Factors against tables worked out by hand, and against torch's schedulers where they exist."""

from collections.abc import Callable

import pytest
import torch
from torch.optim import lr_scheduler

from optlab.optim import factors


@pytest.mark.parametrize(
    ("factor", "options", "table"),
    [
        (
            factors.step_decay,
            {"drop_every_steps": 3, "gamma": 0.1},
            {0: 1, 2: 1, 3: 0.1, 5: 0.1, 6: 0.01, 9: 0.001},
        ),
        # a drop that falls between two steps acts from the later one
        (factors.step_decay, {"drop_every_steps": 2.5, "gamma": 0.5}, {2: 1, 3: 0.5, 5: 0.25}),
        (
            factors.exponential,
            {"total_steps": 4, "final_factor": 0.0001},
            {0: 1, 1: 0.1, 2: 0.01, 4: 0.0001},
        ),
        # cos(0) = 1, cos(pi/4) = 0.70711, cos(pi/2) = 0, cos(pi) = -1
        (
            factors.cosine,
            {"total_steps": 8, "final_factor": 0.0},
            {0: 1, 2: 0.853553, 4: 0.5, 6: 0.146447, 8: 0},
        ),
        (factors.cosine, {"total_steps": 8, "final_factor": 0.2}, {0: 1, 4: 0.6, 8: 0.2}),
        (
            factors.warmup_cosine,
            {"warmup_steps": 4, "total_steps": 12, "final_factor": 0.0},
            {0: 0.2, 1: 0.4, 2: 0.6, 3: 0.8, 4: 1, 6: 0.853553, 8: 0.5, 10: 0.146447, 12: 0},
        ),
        (
            factors.warmup_cosine,
            {"warmup_steps": 0, "total_steps": 8, "final_factor": 0.0},
            {0: 1, 4: 0.5, 8: 0},
        ),
        (
            factors.onecycle,
            {
                "warmup_steps": 4,
                "total_steps": 12,
                "initial_factor": 0.2,
                "final_factor": 0.1,
                "anneal": "linear",
            },
            {0: 0.2, 1: 0.4, 2: 0.6, 4: 1, 6: 0.775, 8: 0.55, 12: 0.1},
        ),
        (
            factors.onecycle,
            {
                "warmup_steps": 2,
                "total_steps": 10,
                "initial_factor": 0.0,
                "final_factor": 0.0,
                "anneal": "cosine",
            },
            {0: 0, 1: 0.5, 2: 1, 4: 0.853553, 6: 0.5, 8: 0.146447, 10: 0},
        ),
        # cycles of 4 and 8 steps: half-way at 2 and at 8, restarts at 4 and 12
        (
            factors.warm_restarts,
            {"first_cycle_steps": 4, "cycle_growth": 2, "final_factor": 0.0},
            {0: 1, 2: 0.5, 3: 0.146447, 4: 1, 6: 0.853553, 8: 0.5, 12: 1},
        ),
        (
            factors.warm_restarts,
            {"first_cycle_steps": 2, "cycle_growth": 1, "final_factor": 0.4},
            {0: 1, 1: 0.7, 2: 1, 3: 0.7, 4: 1},
        ),
    ],
)
def test_factor_matches_table(factor: Callable[..., float], options, table):
    measured = {step: factor(step, **options) for step in table}
    assert measured == pytest.approx(table, abs=1e-6)


def torch_factors(make: Callable[..., lr_scheduler.LRScheduler], num_steps: int) -> list[float]:
    """The rates that torch's scheduler gives to an optimizer with peak rate 1."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler = make(optimizer)
    rates = []
    for _ in range(num_steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("factor", "options", "make"),
    [
        (
            factors.step_decay,
            {"drop_every_steps": 7, "gamma": 0.3},
            lambda optimizer: lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.3),
        ),
        (
            factors.exponential,
            {"total_steps": 24, "final_factor": 0.9**24},
            lambda optimizer: lr_scheduler.ExponentialLR(optimizer, gamma=0.9),
        ),
        (
            factors.cosine,
            {"total_steps": 24, "final_factor": 0.1},
            lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, T_max=24, eta_min=0.1),
        ),
        *(
            (
                factors.onecycle,
                {
                    "warmup_steps": 7,
                    "total_steps": 24,
                    "initial_factor": 0.04,
                    "final_factor": 4.0e-6,
                    "anneal": anneal,
                },
                # torch ends on its last step, here the end is one further: 25 steps, peak on 8th
                lambda optimizer, anneal=torch_anneal: lr_scheduler.OneCycleLR(
                    optimizer,
                    max_lr=1.0,
                    total_steps=25,
                    pct_start=8 / 25,
                    cycle_momentum=False,
                    anneal_strategy=anneal,
                ),
            )
            for anneal, torch_anneal in (("cosine", "cos"), ("linear", "linear"))
        ),
        (
            factors.warm_restarts,
            {"first_cycle_steps": 3, "cycle_growth": 2, "final_factor": 0.1},
            lambda optimizer: lr_scheduler.CosineAnnealingWarmRestarts(
                optimizer, T_0=3, T_mult=2, eta_min=0.1
            ),
        ),
    ],
)
def test_factor_equals_torchs_scheduler(factor, options, make):
    ours = [factor(step, **options) for step in range(24)]
    assert ours == pytest.approx(torch_factors(make, 24), abs=1e-9)
