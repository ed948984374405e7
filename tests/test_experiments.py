"""Every file of conf/experiment: its command gives the runs of its table, ready to be trained."""

import re
import shlex
from functools import cache
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import InstantiationException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import OmegaConf

from optlab.analysis.workloads import flatten
from optlab.studies.compose import StudyConfigLoader
from optlab.training.option_names import unknown_top_level_options
from optlab.training.run_id import identity, run_dir
from optlab.training.validate import validate_config

CONF = Path(__file__).parents[1] / "conf"
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
ASKED_FOR = {
    "mnist_optimizers",
    "mnist_sequential_vs_resnet18",
    "cifar10_architectures",
    "cifar10_regularization",
    "cifar10_learning_rates",
    "cifar10_optimizers",
    "cifar10_batch_sizes",
    "cifar10_callbacks",
    "mnist_numpy_vs_torch",
    "mnist_cnn",
    "cifar10_cnn",
    "cifar10_resnet18",
    "mnist_ensemble",
}
TABLES = [name for name in EXPERIMENTS if name.startswith("cifar10_")] + [
    "mnist_sequential_vs_resnet18"
]


@cache
def hydra_of(*overrides):
    """The node of Hydra of `python train.py ...`."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", overrides=list(overrides), return_hydra_config=True).hydra


def overrides_of_runs(*typed):
    """What `python train.py -m ...` would give to each run."""
    parser = OverridesParser.create()
    single = [
        one.input_line for one in parser.parse_overrides(list(typed)) if not one.is_sweep_override()
    ]
    sweeper = instantiate(hydra_of(*single).sweeper)
    task = [override for override in typed if not override.startswith("hydra.")]
    parsed = parser.parse_overrides([*sweeper._parse_config(), *task])
    (runs,) = sweeper.split_arguments(parsed, None)
    return runs


@cache
def study():
    loader = StudyConfigLoader(create_config_search_path(str(CONF)))
    return loader, loader.load_configuration("train", [], RunMode.MULTIRUN)


def configs_of_runs(*typed):
    """With the node of Hydra: the rows of a table refer to helper values of its file."""
    loader, base = study()
    return [loader.load_sweep_config(base, run) for run in overrides_of_runs(*typed)]


@cache
def runs_of(name):
    """The configs of one seed of a table."""
    weights = ["weights=outputs/a/run"] if name == "mnist_transfer" else []
    return configs_of_runs(f"experiment={name}", "seed=0", *weights)


def flat(config):
    return flatten(identity(config))


def header(name):
    text = (CONF / "experiment" / f"{name}.yaml").read_text()
    lines = text.splitlines()
    assert lines[0] == "# @package _global_"
    return [line.removeprefix("#").strip() for line in lines[1:] if line.startswith("#")]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment_that_is_a_sweep_needs_no_flag(name):
    hydra = hydra_of(f"experiment={name}", "seed=0")
    is_sweep = bool(hydra.sweeper.rows or hydra.sweeper.params)
    assert (hydra.mode is not None and hydra.mode.name == "MULTIRUN") == is_sweep
    run_lines = [line for line in header(name) if f"train.py experiment={name}" in line]
    assert run_lines
    assert not any("train.py -m experiment" in line for line in header(name))


def test_helper_value_of_an_experiment_is_known_to_every_row():
    for config in runs_of("mnist_transfer"):
        assert list(unknown_top_level_options(config)) == []


def test_every_table_asked_for_has_a_file():
    assert set(EXPERIMENTS) >= ASKED_FOR


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_runs_differ_and_contradict_nothing(name):
    runs = runs_of(name)
    assert len({run_dir(config) for config in runs}) == len(runs)
    for config in runs:
        config.trainer.accelerator = "cpu"  # a table that wants a GPU is right without one
        validate_config(config)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_study_has_a_title_and_the_name_of_its_file(name):
    for config in runs_of(name):
        assert config.study.startswith(name)
        assert config.title


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_header_says_command_and_cost(name):
    lines = header(name)
    assert any(line.startswith("Run: ") for line in lines)
    assert any(line.startswith("Cost: ") or "Needs a GPU" in line for line in lines)


def commands():
    for name in EXPERIMENTS:
        for line in header(name):
            found = re.search(r"python train\.py (.*)", line.replace("<hash>", "0123abcd"))
            if found:
                yield pytest.param(found[1], id=f"{name}: {found[1][:60]}")


@pytest.mark.parametrize("command", list(commands()))
def test_command_in_a_header_composes(command):
    typed = [part for part in shlex.split(command) if part != "-m"]
    assert overrides_of_runs(*typed)


@pytest.mark.parametrize("name", TABLES)
def test_each_published_row_matches_one_run(name):
    runs = runs_of(name)
    published = runs[0].published
    if published is None:
        pytest.skip("nothing is published for it")
    assert published.metric in ("test/accuracy", "val/accuracy")
    rows = OmegaConf.to_container(published.rows)
    matched = [
        [
            index
            for index, config in enumerate(runs)
            if all(flat(config).get(key, ...) == value for key, value in row["match"].items())
        ]
        for row in rows
    ]
    assert all(len(indices) == 1 for indices in matched), matched
    assert len({indices[0] for indices in matched}) == len(runs)
    assert all(0 < row["value"] < 1 for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in TABLES if name.startswith("cifar10_")])
def test_table_matches_from_a_folder_of_images_as_well(name, tmp_path):
    typed = [f"experiment={name}", "seed=0", "data=image_folder", f"data.root={tmp_path}"]
    for config, other in zip(runs_of(name), configs_of_runs(*typed), strict=True):
        mine, theirs = flat(config), flat(other)
        assert theirs["data.name"] == "image_folder"
        changed = {key for key in mine.keys() | theirs.keys() if mine.get(key) != theirs.get(key)}
        of_the_set = {"name", "root", "title", "image_size", "preparation"}
        assert changed <= {f"data.{option}" for option in of_the_set}


def num_parameters(config, in_channels, image_size):
    node = OmegaConf.to_container(config.model, resolve=True)
    del node["name"]
    net = instantiate(node)(in_channels=in_channels, image_size=image_size, num_classes=10)
    return (
        sum(parameter.numel() for parameter in net.parameters()),
        sum(buffer.numel() for buffer in net.buffers() if buffer.ndim),
    )


def test_architectures_have_the_parameters_that_their_layers_make():
    counts = [num_parameters(config, 3, 32)[0] for config in runs_of("cifar10_architectures")]
    # 3072 inputs: sums of (in + 1) * out; 222,986 and 362,378 are stated for the second and fourth
    assert counts == [99_722, 209_802, 427_658, 828_490]


def test_combined_network_has_the_published_parameters():
    parameters, statistics = num_parameters(runs_of("cifar10_learning_rates")[0], 3, 32)
    assert parameters + statistics == 830_282  # published, batch-norm statistics included
    assert runs_of("cifar10_regularization")[-1].model == runs_of("cifar10_callbacks")[0].model


def test_combined_row_is_the_network_of_the_other_tables():
    combined = flat(runs_of("cifar10_regularization")[-1])
    assert combined == flat(runs_of("cifar10_optimizers")[0])
    assert combined == flat(runs_of("cifar10_callbacks")[0])


def test_mnist_networks_have_their_parameters():
    sequential = runs_of("mnist_sequential_vs_resnet18")[0]
    assert num_parameters(sequential, 1, 28)[0] == 109_386  # ~101,770 are stated
    assert num_parameters(runs_of("mnist_cnn")[0], 1, 28)[0] == 206_922  # as published


def test_scratch_row_of_transfer_is_the_network_of_cifar10_cnn():
    (cnn,) = runs_of("cifar10_cnn")
    scratch = next(c for c in runs_of("mnist_transfer") if c.run_name == "scratch-seed0")
    assert scratch.model == cnn.model


def test_all_rows_of_a_table_come_before_the_second_seed():
    runs = configs_of_runs("experiment=cifar10_callbacks", "seed=3,4")
    assert [config.seed for config in runs] == [3] * 5 + [4] * 5


def test_only_chooses_rows():
    runs = configs_of_runs(
        "experiment=cifar10_callbacks", "seed=0", "hydra.sweeper.only=[cosine,none]"
    )
    assert {config.run_name for config in runs} == {"cosine-seed0", "none-seed0"}


def test_a_row_that_does_not_exist_is_named_with_those_that_do():
    with pytest.raises(InstantiationException, match=r"only .*\bcosin\b") as refused:
        overrides_of_runs("experiment=cifar10_callbacks", "hydra.sweeper.only=[cosin]")
    assert "none, early_stopping, plateau, cosine" in str(refused.value)


def test_what_is_typed_wins_over_the_row():
    runs = configs_of_runs("experiment=cifar10_callbacks", "seed=0", "trainer.max_epochs=2")
    assert {config.trainer.max_epochs for config in runs} == {2}


def test_targets_are_validation_fractions_with_an_origin():
    targets = OmegaConf.load(CONF / "targets.yaml").targets
    assert "mnist-mlp" in targets
    for problem, target in targets.items():
        data, _, model = problem.partition("-")
        assert (CONF / "data" / f"{data}.yaml").is_file(), problem
        assert (CONF / "model" / f"{model}.yaml").is_file(), problem
        assert target.metric == "val/accuracy"
        assert 0 < target.value < 1
        assert target.origin
