"""`plan=true effect=...`: how many seeds find a difference, and what they cost."""

import re
from statistics import stdev

import pytest
from made_records import make_record
from scipy.stats import norm

from optlab import PROTOCOL_VERSION
from optlab.runs.record import Evaluation, Metrics, ModelFacts, write_record
from optlab.training import cli
from optlab.training.plan import Plan
from optlab.training.power import ASSUMED_DEVIATION, required_seeds
from optlab.training.run_id import identity, run_dir


@pytest.fixture
def configs(make_config):
    return [make_config(f"optimizer={name}") for name in ("sgd", "adam", "adamw")]


def record_of(config, accuracy, **changes):
    fields = {
        "protocol_version": PROTOCOL_VERSION,
        "study": config.study,
        "seed": config.seed,
        "config": identity(config),
        "model": ModelFacts(name=config.model.name),
        "test": Evaluation(best=Metrics(accuracy=0.5), last=Metrics(accuracy=accuracy)),
        "train_time_s": 3.0,
        "wall_time_s": 4.0,
        "num_epochs": 2,
    }
    return make_record(**fields | changes)


def records_of(make_config, optimizer, accuracies, *overrides, **changes):
    return [
        record_of(
            make_config(f"optimizer={optimizer}", f"seed={seed}", *overrides), accuracy, **changes
        )
        for seed, accuracy in enumerate(accuracies)
    ]


@pytest.mark.parametrize("effect", [0.1, 0.2, 0.4])
def test_number_of_seeds_is_near_that_of_the_normal_distribution(effect, configs):
    needed = required_seeds("digits-mlp", configs, [], effect)
    assert (needed.deviation, needed.num_measured) == (ASSUMED_DEVIATION, 0)
    # Two comparisons with the best: 5 % / 2 two-sided, 80 % power, twice the variance of a run
    quantiles = norm.ppf(1 - 0.05 / 4) + norm.ppf(0.8)
    expected = 2 * (quantiles * 100 * ASSUMED_DEVIATION / effect) ** 2
    assert needed.num_seeds == pytest.approx(expected, abs=3)
    assert (needed.num_runs, needed.num_done) == (3 * needed.num_seeds, 0)
    assert needed.num_seeds >= 5


def test_more_configurations_and_smaller_effects_need_more_seeds(configs):
    three, two = (required_seeds("digits-mlp", some, [], 0.2) for some in (configs, configs[:2]))
    assert three.num_seeds > two.num_seeds > 5
    assert required_seeds("digits-mlp", configs, [], 0.001).num_seeds is None


def test_deviation_is_that_of_finished_runs_of_the_planned_configurations(configs, make_config):
    ours, others = [0.970, 0.972, 0.977], [0.5, 0.9]
    finished = [
        *records_of(make_config, "sgd", ours),
        *records_of(make_config, "rmsprop", others),
        *records_of(make_config, "adam", [0.1, 0.9], protocol_version=PROTOCOL_VERSION - 1),
    ]
    needed = required_seeds("digits-mlp", configs, finished, 0.5)
    assert needed.deviation == pytest.approx(stdev(ours))
    assert (needed.num_measured, needed.num_done) == (3, 3)
    without_ours = required_seeds("digits-mlp", configs[1:], finished, 20)
    assert without_ours.deviation == pytest.approx(
        ((2 * stdev(ours) ** 2 + stdev(others) ** 2) / 3) ** 0.5
    )


def test_runs_of_another_study_tell_the_noise_and_are_not_done(configs, make_config):
    finished = records_of(make_config, "sgd", [0.970, 0.971], study="another")
    needed = required_seeds("digits-mlp", configs, finished, 0.1)
    assert (needed.num_measured, needed.num_done) == (2, 0)


def test_folds_of_a_seed_are_one_result_and_cost_several_runs(make_config):
    folds = [f"data.fold={fold}" for fold in range(2)]
    configs = [
        make_config("data.num_folds=2", fold, f"optimizer={name}")
        for fold in folds
        for name in ("sgd", "adam")
    ]
    finished = [
        record
        for fold, shift in zip(folds, (0.0, 0.01), strict=True)
        for record in records_of(
            make_config, "sgd", [0.960 + shift, 0.962 + shift], "data.num_folds=2", fold
        )
    ]
    needed = required_seeds("digits-mlp", configs, finished, 0.2)
    assert needed.deviation == pytest.approx(stdev([0.965, 0.967]))
    assert (needed.num_configurations, needed.num_measured) == (2, 2)
    assert needed.num_runs == 2 * 2 * needed.num_seeds


def planned(configs):
    return Plan.of([(config, run_dir(config), "") for config in configs])


def test_plan_prints_seeds_and_their_time(make_config, capsys):
    configs = [
        make_config(f"optimizer={name}", f"seed={seed}", "trainer.max_epochs=4")
        for name in ("sgd", "adam")
        for seed in (0, 1)
    ]
    for seed, accuracy in enumerate((0.970, 0.973)):
        write_record(run_dir(configs[seed]), record_of(configs[seed], accuracy))
    planned(configs).print(num_processes=2, effect=0.5)
    needed = required_seeds(
        "", configs, [record_of(configs[i], 0.97 + 0.003 * i) for i in (0, 1)], 0.5
    )
    printed = " ".join(capsys.readouterr().out.split())
    seeds = needed.num_seeds
    seconds = (2 * seeds - 2) * 4 * (4.0 / 2) / 2  # epochs, seconds each, two at a time
    noise = r"\b0\.21 .*\b2 finished\b"
    runs = rf"\b{2 * seeds} runs\b.*\b2 .*\b{seconds:.0f} s\b.*\b2 "
    assert re.search(
        rf" 0\.5 .*\bdigits-mlp .*\b80 %.*\b2 .*\b{seeds} seeds\b.*{noise}.*"
        rf"'seed=range\({seeds}\)'.*{runs}",
        printed,
    )


def test_networks_with_one_configuration_each_are_compared(make_config, capsys):
    planned([make_config(f"model={model}") for model in ("mlp", "cnn")]).print(1, effect=0.2)
    printed = " ".join(capsys.readouterr().out.split())
    assert re.search(r" digits .*\b80 %.*\b2 configurations\b", printed)


def test_one_configuration_is_compared_with_nothing(make_config, capsys):
    planned([make_config("seed=0"), make_config("seed=1")]).print(1, effect=0.2)
    printed = capsys.readouterr().out
    assert "optimizer=sgd,adam" in printed
    assert "80 %" not in printed


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["effect=0.2"], r"effect .*\bplan=true\b"),
        (["plan=true", "effect=0"], r"effect .*\b0\b.* > 0.*\bnull\b"),
        (["plan=true", "effect=0.2"], r"effect (?s:.*)hint: .*-m optimizer=sgd,adam\b"),
    ],
)
def test_effect_that_would_be_ignored_is_refused(overrides, message, make_config):
    with pytest.raises(ValueError, match=message):
        cli.train(make_config(*overrides))
