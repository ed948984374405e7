"""Every YAML of every group composes into a run, and README's commands do."""

import re
import shlex
from functools import cache
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from optlab.training.option_names import to_hydra_override
from optlab.training.run_id import GROUPS as IDENTITY_GROUPS
from optlab.training.run_id import NOT_IN_HASH, identity, run_hash
from optlab.training.run_id import OPTIONS as IDENTITY_OPTIONS

ROOT = Path(__file__).parent.parent
CONF = ROOT / "conf"
GROUPS = (
    *(
        "data",
        "model",
        "module",
        "optimizer",
        "scheduler",
        "callbacks",
        "trainer",
        "logger",
        "debug",
    ),
)
OPTIONS = sorted(
    f"{path.parent.relative_to(CONF)}={path.stem}"
    for group in GROUPS
    for path in (CONF / group).rglob("*.yaml")
    if path.parent.name != "shared"
)
REQUIRED = {"data=image_folder": "data.root=/pictures", "model=finetuned": "model.weights=/run"}
# What the machine may lack: it composes everywhere, and is refused in words where it cannot run
NEEDS_MORE = {"trainer=gpu", "logger=wandb", "logger=mlflow"}


def test_every_top_level_option_is_in_the_hash_or_has_a_reason_not_to_be(make_config):
    known = {*IDENTITY_GROUPS, *IDENTITY_OPTIONS, *NOT_IN_HASH}
    assert set(make_config()) == known - {"hydra"}


def test_several_loggers_are_all_there(make_config):
    assert set(make_config("logger=[csv,tensorboard]").logger) == {"csv", "tensorboard"}
    assert set(make_config("logger=many").logger) == {"csv", "tensorboard"}


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "debug").glob("*.yaml")))
def test_debug_trains_again_in_a_study_of_its_own(name, make_config):
    config = make_config(f"debug={name}")
    assert (config.study, config.rerun, config.compile) == ("debug", True, False)
    assert run_hash(config) != run_hash(make_config())


def test_options_were_found():
    found = {option.split("=")[0] for option in OPTIONS}
    assert found == set(GROUPS)
    assert len(OPTIONS) >= 45


@pytest.mark.parametrize("option", OPTIONS)
def test_option_composes_to_a_run_without_gaps(option, make_config):
    from optlab.training.validate import validate_config

    needed = [REQUIRED[option]] if option in REQUIRED else []
    config = make_config(option, *needed)
    resolved = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert resolved["run_dir"].endswith(run_hash(config)[:8])
    assert identity(config).keys() == {*IDENTITY_GROUPS, *IDENTITY_OPTIONS}
    if option not in NEEDS_MORE:
        validate_config(config)


@pytest.mark.parametrize(
    "option", [o for o in OPTIONS if o.split("=")[0] in ("callbacks", "trainer", "logger")]
)
def test_trainer_is_built_with(option, make_config, monkeypatch):
    from optlab.training import build

    if option == "trainer=gpu":
        pytest.skip("needs a GPU")
    if option.startswith("logger="):
        pytest.importorskip({"logger=wandb": "wandb", "logger=mlflow": "mlflow"}.get(option, "os"))
    config = make_config(option, "trainer.accelerator=cpu")
    datamodule = build.build_data(config)
    module = build.build_module(config, build.build_net(config, datamodule), datamodule)
    callbacks, loggers = build.build_callbacks(config, module), build.build_loggers(config)
    trainer = build.build_trainer(config, callbacks, loggers)
    assert trainer.max_epochs == config.trainer.max_epochs
    assert len(trainer.loggers) == len(config.logger)
    classes = {type(callback).__name__ for callback in trainer.callbacks}
    assert classes >= {
        node._target_.rpartition(".")[2] for node in config.callbacks.values() if node is not None
    }


@pytest.mark.parametrize("option", [o for o in OPTIONS if o.startswith("optimizer=")])
def test_optimizer_is_built_from_its_yaml(option, make_config):
    from optlab.optim import param_groups
    from optlab.training import build

    config = make_config(option)
    datamodule = build.build_data(config)
    net = build.build_net(config, datamodule)
    make_optimizer = build.build_module(config, net, datamodule).make_optimizer
    optimizer = make_optimizer(param_groups(net))
    assert optimizer.param_groups[0]["lr"] == pytest.approx(config.optimizer.lr)
    in_groups = sum(len(group["params"]) for group in optimizer.param_groups)
    assert in_groups == len(list(net.parameters()))


def commands(path):
    """The `python train.py ...` lines of a document."""
    found = re.findall(r"(?:python|uv run) train\.py([^\n`|#]*)", path.read_text())
    lines = [line.split("  ")[0].strip() for line in found]
    # A reader's own files, see test_extending.py; and the shell's completion, which composes none
    own = ("optimizer=mine", "--config-dir", "-sc ")
    return [line for line in lines if not any(word in line for word in own)]


DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TRY_LINES = sorted(
    {
        line
        for path in CONF.rglob("*.yaml")
        if path.parent.name != "experiment"  # see test_experiments.py
        for line in commands(path)
    }
)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_of_a_document_compose(document):
    lines = commands(document)
    if not lines:
        pytest.skip(f"{document.name} has no command")
    for line in lines:
        assert_composes(line)


def test_commands_were_found_in_the_yaml_files():
    assert len(TRY_LINES) >= 30


@pytest.mark.slow
@pytest.mark.parametrize("line", TRY_LINES)
def test_command_of_a_yaml_header_composes(line):
    assert_composes(line)


@cache  # documents and headers have many commands in common
def assert_composes(line):
    """The first job of a command composes; what stands for a user's own path is kept as it is."""
    line = line.replace(", then", " ").replace("<hash>", "0123abcd")
    typed = [word for word in shlex.split(line) if "=" in word and "…" not in word]
    words = [to_hydra_override(word) for word in typed]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        parser = OverridesParser.create(GlobalHydra.instance().config_loader())  # for glob(*)
        overrides = []
        for override in parser.parse_overrides(words):
            if override.is_sweep_override():
                value = next(iter(override.sweep_string_iterator()))
                overrides.append(f"{override.get_key_element()}={value}")
            else:
                overrides.append(override.input_line)
        config = compose("train", overrides=overrides, return_hydra_config=True)
    assert OmegaConf.to_container(config.optimizer, resolve=True)["_target_"]
