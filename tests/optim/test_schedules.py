from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch.optim import lr_scheduler
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau, StepLR

from optlab.optim import schedules

CONF = Path(__file__).parents[2] / "conf" / "scheduler"
RUN = {"total_steps": 700}


def sgd(lr: float = 1.0) -> torch.optim.SGD:
    return torch.optim.SGD([torch.zeros(1)], lr=lr)


def factor_of(scheduler: LambdaLR) -> Callable[[int], float]:
    """The factor on the peak rate after so many steps."""
    assert isinstance(scheduler, LambdaLR)
    (factor,) = scheduler.lr_lambdas
    return factor


def load(name: str) -> DictConfig:
    config = OmegaConf.load(CONF / f"{name}.yaml")
    assert config.pop("name") == name
    return config


def test_every_schedule_of_the_design_has_a_file():
    assert {path.stem for path in CONF.glob("*.yaml")} == {
        "constant",
        "step",
        "exponential",
        "cosine",
        "warmup_cosine",
        "onecycle",
        "plateau",
        "warm_restarts",
        "linear",
        "polynomial",
        "inverse_sqrt",
        "warmup_stable_decay",
    }


def test_constant_rate_needs_no_scheduler():
    assert load("constant")._target_ is None


# with the options of conf/scheduler and a run of 700 steps
@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("step", {0: 1, 237: 1, 238: 0.1, 475: 0.1, 476: 0.01, 699: 0.01}),  # 238 = 0.34 * 700
        ("exponential", {0: 1, 350: 0.1, 700: 0.01}),
        ("cosine", {0: 1, 350: 0.5, 700: 0}),
        # 35 steps of warm-up, 665 of cosine
        ("warmup_cosine", {0: 1 / 36, 17: 0.5, 35: 1, 367: 0.501181, 700: 0}),
        # 210 steps up, 490 down
        ("onecycle", {0: 0.04, 105: 0.52, 210: 1, 455: 0.500002, 700: 4.0e-6}),
        ("linear", {0: 1, 350: 0.5, 525: 0.25, 700: 0}),
        ("polynomial", {0: 1, 350: 0.535887, 630: 0.125893, 700: 0}),  # 0.5^0.9, 0.1^0.9
        # 35 steps of warm-up: 36 / 36, then sqrt(36 / 144), sqrt(36 / 576)
        ("inverse_sqrt", {0: 1 / 36, 17: 0.5, 35: 1, 143: 0.5, 575: 0.25}),
        # 35 steps of warm-up, 140 of decay
        ("warmup_stable_decay", {0: 1 / 36, 17: 0.5, 35: 1, 560: 1, 595: 0.75, 700: 0}),
        # cycles of 100, 200 and 400 steps
        ("warm_restarts", {0: 1, 50: 0.5, 99: 0.000247, 100: 1, 200: 0.5, 300: 1, 500: 0.5}),
    ],
)
def test_schedule_file_gives_the_factors_of_the_table(name, table):
    factor = factor_of(instantiate(load(name))(sgd(), **RUN))
    assert {step: factor(step) for step in table} == pytest.approx(table, abs=1e-6)


def test_sqrt_decay_falls_by_the_root_of_its_share():
    scheduler = schedules.warmup_stable_decay(
        sgd(), total_steps=200, warmup_steps=0, decay_steps=100, anneal="sqrt", final_factor=0.2
    )
    # 0.2 + 0.8 (1 - sqrt(25 / 100)), and 0.2 + 0.8 (1 - sqrt(64 / 100))
    factors = {step: factor_of(scheduler)(step) for step in (100, 125, 164, 200)}
    assert factors == pytest.approx({100: 1, 125: 0.6, 164: 0.36, 200: 0.2})


# Worked out by hand, beyond the last step of the run where a decay or a cycle ends
@pytest.mark.parametrize(
    ("make", "options", "table"),
    [
        (
            schedules.step,
            {"total_steps": 10, "drop_every_steps": 3},
            {0: 1, 2: 1, 3: 0.1, 5: 0.1, 6: 0.01, 9: 0.001},
        ),
        # a drop that falls between two steps acts from the later one
        (
            schedules.step,
            {"total_steps": 10, "drop_every_fraction": 0.25, "gamma": 0.5},
            {2: 1, 3: 0.5, 5: 0.25},
        ),
        (
            schedules.exponential,
            {"total_steps": 4, "final_factor": 0.0001},
            {0: 1, 1: 0.1, 2: 0.01, 4: 0.0001},
        ),
        # cos(0) = 1, cos(pi/4) = 0.70711, cos(pi/2) = 0, cos(pi) = -1
        (schedules.cosine, {"total_steps": 8}, {0: 1, 2: 0.853553, 4: 0.5, 6: 0.146447, 8: 0}),
        (schedules.cosine, {"total_steps": 8, "final_factor": 0.2}, {0: 1, 4: 0.6, 8: 0.2}),
        (
            schedules.warmup_cosine,
            {"total_steps": 12, "warmup_steps": 4},
            {0: 0.2, 1: 0.4, 2: 0.6, 3: 0.8, 4: 1, 6: 0.853553, 8: 0.5, 10: 0.146447, 12: 0},
        ),
        (schedules.warmup_cosine, {"total_steps": 8, "warmup_steps": 0}, {0: 1, 4: 0.5, 8: 0}),
        (
            partial(schedules.onecycle, anneal="linear", initial_factor=0.2, final_factor=0.1),
            {"total_steps": 12, "warmup_steps": 4},
            {0: 0.2, 1: 0.4, 2: 0.6, 4: 1, 6: 0.775, 8: 0.55, 12: 0.1},
        ),
        (
            partial(schedules.onecycle, initial_factor=0.0, final_factor=0.0),
            {"total_steps": 10, "warmup_steps": 2},
            {0: 0, 1: 0.5, 2: 1, 4: 0.853553, 6: 0.5, 8: 0.146447, 10: 0},
        ),
        # cycles of 4 and 8 steps: half-way at 2 and at 8, restarts at 4 and 12
        (
            schedules.warm_restarts,
            {"total_steps": 12, "num_cycles": 2},
            {0: 1, 2: 0.5, 3: 0.146447, 4: 1, 6: 0.853553, 8: 0.5, 12: 1},
        ),
        (
            partial(schedules.warm_restarts, cycle_growth=1.0, final_factor=0.4),
            {"total_steps": 4, "num_cycles": 2},
            {0: 1, 1: 0.7, 2: 1, 3: 0.7, 4: 1},
        ),
    ],
)
def test_schedule_has_the_factors_of_the_table(make, options, table):
    factor = factor_of(make(sgd(), **options))
    assert {step: factor(step) for step in table} == pytest.approx(table, abs=1e-6)


@pytest.mark.parametrize(
    ("ours", "of_torch"),
    [
        (
            partial(schedules.step, total_steps=24, drop_every_steps=7, gamma=0.3),
            partial(lr_scheduler.StepLR, step_size=7, gamma=0.3),
        ),
        (
            partial(schedules.exponential, total_steps=24, final_factor=0.9**24),
            partial(lr_scheduler.ExponentialLR, gamma=0.9),
        ),
        (
            partial(schedules.cosine, total_steps=24, final_factor=0.1),
            partial(lr_scheduler.CosineAnnealingLR, T_max=24, eta_min=0.1),
        ),
        (
            partial(schedules.polynomial, total_steps=24, warmup_steps=0, power=1.7),
            partial(lr_scheduler.PolynomialLR, total_iters=24, power=1.7),
        ),
        *(
            (
                partial(schedules.onecycle, total_steps=24, warmup_steps=7, anneal=anneal),
                # torch ends on its last step, here the end is one further: 25 steps, peak on 8th
                partial(
                    lr_scheduler.OneCycleLR,
                    max_lr=1.0,
                    total_steps=25,
                    pct_start=8 / 25,
                    cycle_momentum=False,
                    anneal_strategy=torch_anneal,
                ),
            )
            for anneal, torch_anneal in (("cosine", "cos"), ("linear", "linear"))
        ),
        (  # cycles of 3, 6 and 12 steps
            partial(schedules.warm_restarts, total_steps=21, final_factor=0.1),
            partial(lr_scheduler.CosineAnnealingWarmRestarts, T_0=3, T_mult=2, eta_min=0.1),
        ),
    ],
)
def test_schedule_has_the_rates_of_torchs_own(ours, of_torch):
    def rates(make: Callable[..., lr_scheduler.LRScheduler]) -> list[float]:
        optimizer = sgd()
        scheduler = make(optimizer)
        found = []
        for _ in range(24):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        return found

    assert rates(ours) == pytest.approx(rates(of_torch), abs=1e-9)


def test_scheduler_multiplies_the_peak_rate_by_its_factor():
    optimizer = sgd(lr=0.2)
    scheduler = schedules.cosine(optimizer, total_steps=4)
    rates = []
    for _ in range(4):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    # (1 + cos(pi step / 4)) / 2 of 0.2: cos(pi / 4) = 0.70711
    assert rates == pytest.approx([0.2, 0.170711, 0.1, 0.029289], abs=1e-6)


def test_length_of_the_run_is_given_to_a_scheduler_that_takes_it_and_has_none():
    short = schedules.build_scheduler(schedules.cosine, sgd(), 10)
    assert factor_of(short)(5) == pytest.approx(0.5)
    own = schedules.build_scheduler(partial(schedules.cosine, total_steps=20), sgd(), 10)
    assert factor_of(own)(5) == pytest.approx(0.853553, abs=1e-6)  # a quarter of 20
    of_torch = schedules.build_scheduler(partial(StepLR, step_size=3), sgd(), 10)
    assert isinstance(of_torch, StepLR)


def test_plateau_file_halves_the_rate_after_five_epochs_without_progress():
    optimizer = sgd(lr=0.1)
    scheduler = instantiate(load("plateau"))(optimizer)
    assert isinstance(scheduler, ReduceLROnPlateau)
    rates = []
    for _ in range(7):
        scheduler.step(1.0)  # a validation loss that never improves
        rates.append(optimizer.param_groups[0]["lr"])
    # the first is the best so far; patience bears four more; the fifth halves
    assert rates == [0.1, 0.1, 0.1, 0.1, 0.1, 0.05, 0.05]


def test_plateau_stops_at_its_floor():
    optimizer = sgd(lr=3.0e-6)
    scheduler = schedules.plateau(optimizer, patience=0)
    for _ in range(5):
        scheduler.step(1.0)
    assert optimizer.param_groups[0]["lr"] == 1.0e-6


@pytest.mark.parametrize(
    "make",
    [
        schedules.warmup_cosine,
        schedules.onecycle,
        schedules.polynomial,
        schedules.inverse_sqrt,
        partial(schedules.warmup_stable_decay, decay_fraction=0.1),
    ],
)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"warmup_steps": 700}, r"scheduler.warmup_steps .*\b700\b.*\b700\b"),
        ({"warmup_steps": 9000}, r"hint: .*scheduler.warmup_steps .*\b700\b.*trainer.max_epochs"),
        ({"warmup_fraction": 1.0}, r"scheduler.warmup_fraction .*\b1.0\b.*\b700\b"),
        ({"warmup_fraction": 1.5}, r"scheduler.warmup_fraction .*\b1.5\b.* \[0, 1\]"),
        ({"warmup_steps": -1}, r"scheduler.warmup_steps .*-1\b"),
        ({}, r"warmup_fraction .*\bnull\b.*scheduler.warmup_steps .*\bnull,"),
        ({"warmup_fraction": 0.1, "warmup_steps": 5}, r"fraction .*0.1\b.*steps .*\b5\b"),
    ],
)
def test_warmup_that_cannot_be_is_refused_by_name(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(sgd(), **RUN, **options)


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (schedules.step, {"drop_every_steps": 0}, r"drop_every_steps .*\b0\b.* > 0"),
        (schedules.step, {"drop_every_fraction": 0.0}, r"drop_every_fraction .*\b0.0\b.* > 0"),
        (schedules.step, {"drop_every_steps": 5, "gamma": 1.5}, r"scheduler.gamma .*\b1.5\b"),
        (schedules.step, {}, r"drop_every_fraction .*\bnull\b.*drop_every_steps .*\bnull,"),
        (schedules.exponential, {"final_factor": 0.0}, r"scheduler.final_factor .*\b0.0\b"),
        (schedules.cosine, {"final_factor": -0.1}, r"scheduler.final_factor .*-0.1\b"),
        (
            schedules.onecycle,
            {"warmup_steps": 5, "initial_factor": 2.0},
            r"scheduler.initial_factor .*\b2.0\b",
        ),
        (
            schedules.onecycle,
            {"warmup_steps": 5, "anneal": "cos"},
            r"scheduler.anneal .*\bcos\b.* cosine, linear",
        ),
        (schedules.polynomial, {"warmup_steps": 0, "power": 0.0}, r"scheduler.power .*\b0.0\b"),
        (
            schedules.warmup_stable_decay,
            {"warmup_steps": 300, "decay_steps": 401},
            r"\b300\b.*\b401\b.*\b700\b.*\n\nhint: .*scheduler.decay_steps\b",
        ),
        (
            schedules.warmup_stable_decay,
            {"warmup_steps": 0, "decay_steps": 9, "anneal": "cosine"},
            r"scheduler.anneal .*\bcosine\b.* linear, sqrt",
        ),
        (
            schedules.warmup_stable_decay,
            {"warmup_steps": 0},
            r"decay_fraction .*\bnull\b.*scheduler.decay_steps .*\bnull,",
        ),
        (schedules.warm_restarts, {"num_cycles": 0}, r"scheduler.num_cycles .*\b0\b"),
        (schedules.warm_restarts, {"num_cycles": 701}, r"num_cycles .*\b701\b.* \[1, 700\]"),
        (schedules.warm_restarts, {"cycle_growth": 0.5}, r"scheduler.cycle_growth .*\b0.5\b"),
        (schedules.plateau, {"factor": 1.0}, r"scheduler.factor .*\b1.0\b"),
        (schedules.plateau, {"patience": -1}, r"scheduler.patience .*-1\b"),
        (schedules.plateau, {"threshold": -1.0}, r"scheduler.threshold .*-1.0\b"),
        (schedules.plateau, {"cooldown": -1}, r"scheduler.cooldown .*-1\b"),
        (schedules.plateau, {"min_lr": -1.0}, r"scheduler.min_lr .*-1.0\b"),
    ],
)
def test_option_out_of_range_is_refused_by_name(make, options, message):
    with pytest.raises(ValueError, match=message):
        length = {} if make is schedules.plateau else RUN
        make(sgd(), **length, **options)


@pytest.mark.parametrize("total_steps", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    "name",
    [
        *("step", "exponential", "cosine", "warmup_cosine", "linear", "polynomial"),
        *("inverse_sqrt", "warmup_stable_decay"),
    ],
)
def test_factors_stay_between_0_and_1_whatever_the_length(name, total_steps):
    check_range(name, total_steps)


@pytest.mark.parametrize("total_steps", [3, 7, 1000])
@pytest.mark.parametrize("name", ["onecycle", "warm_restarts"])
def test_cycles_stay_between_0_and_1_whatever_the_length(name, total_steps):
    check_range(name, total_steps)


def check_range(name: str, total_steps: int) -> None:
    factor = factor_of(instantiate(load(name))(sgd(), total_steps=total_steps))
    assert all(0 <= factor(step) <= 1 for step in range(total_steps))


@pytest.mark.parametrize("num_cycles", [1, 2, 3, 5, 6])
def test_restarts_come_as_often_as_there_are_cycles(num_cycles):
    scheduler = schedules.warm_restarts(sgd(), **RUN, num_cycles=num_cycles, cycle_growth=2.0)
    factor = factor_of(scheduler)
    rates = [factor(step) for step in range(700)]
    rises = sum(later > earlier for earlier, later in pairwise(rates))
    assert rises == num_cycles - 1
    assert factor(699) < 0.001
