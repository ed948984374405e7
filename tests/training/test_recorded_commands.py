"""Recorded commands: typed again, each plans exactly the runs that it is recorded for."""

import contextlib
import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from optlab.analysis import read_run
from optlab.training.commands import quote_override
from optlab.training.run import run
from optlab.training.run_id import run_dir

ROOT = Path(__file__).parents[2]
MINE = "name: mine\n_target_: torch.optim.SGD\n_partial_: true\nlr: 0.05\nweight_decay: 0.0\n"
STUDY = """
defaults: [train, _self_]
data: {batch_size: 32}
hydra:
  mode: MULTIRUN
  sweeper: {params: {optimizer: "sgd,adam"}}
"""


@pytest.fixture
def typed(type_command, without_training, tmp_path, monkeypatch) -> Callable[..., Any]:
    """Type a command in a folder with a config folder; return its records by folder."""
    mine = tmp_path / "my conf"
    (mine / "optimizer").mkdir(parents=True)
    (mine / "optimizer" / "mine.yaml").write_text(MINE)
    (mine / "mystudy.yaml").write_text(STUDY)
    monkeypatch.chdir(tmp_path)

    def command(*arguments: str) -> dict[Path, dict[str, Any]]:
        type_command(*arguments, "outputs='my out'")
        records = (tmp_path / "my out").glob("*/*/record.json")
        return {path.parent: json.loads(path.read_text()) for path in records}

    return command


@pytest.fixture
def planned_by(type_command, tmp_path) -> Callable[[str], set[Path]]:
    """Type a recorded command into a shell in another folder; return the folders of its plan."""
    (tmp_path / "elsewhere").mkdir()

    def again(command: str) -> set[Path]:
        words = shlex.split(command)
        with contextlib.chdir(tmp_path / "elsewhere"):
            if words[0] == "cd":
                os.chdir(words[1])
                words = words[words.index("&&") + 1 :]
            assert words[0] == "python"
            assert Path(words[1]).resolve() == ROOT / "train.py"
            return type_command(*words[2:], "plan=true")

    return again


@pytest.mark.parametrize(
    "arguments",
    [
        [
            "optimizer=sgd", "seed=1", "~scheduler", "+trainer.profiler=simple", "callbacks=null",
            "run_name=${model.name}-${seed}", "title='größer, [als] {alles} = \"x\\'s\" $1'",
            "model.hidden_sizes=[32,16]", "data.augment={crop_padding:2,horizontal_flip:true}",
        ],
        ["optimizer=mine", "-cd", "my conf", "hydra.job.chdir=true", "hydra.run.dir=logs",
         "num_replicas=2"],
        ["--config-dir", "my conf", "--config-name", "mystudy", "hydra.mode=RUN"],
        ["--config-path", "HERE/my conf", "-cn", "mystudy", "hydra.searchpath=['file://CONF']",
         "hydra.mode=RUN"],
        ["hydra.searchpath=['file://my conf']", "optimizer=mine", "hydra.job.name=mine",
         "experiment=mnist_cnn", "hydra.mode=RUN"],
    ],
    ids=["overrides", "-cd", "--config-name", "--config-path", "experiment"],
)  # fmt: skip
def test_command_of_a_run_plans_that_run(arguments, typed, planned_by, tmp_path):
    places = {"HERE": str(tmp_path), "CONF": str(ROOT / "conf")}
    for name, place in places.items():
        arguments = [each.replace(name, place) for each in arguments]
    found = typed(*arguments, "data=digits")
    assert found
    for command in {record["command"] for record in found.values()}:
        assert planned_by(command) == set(found)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["run_name=${optimizer.name}", "title='${study}, a=b'", "-m", "~scheduler", "seed=0,1",
         "hydra.sweep.subdir=${hydra.job.num}", "hydra.job.chdir=true"],
        ["--config-dir", "my conf", "-cn", "mystudy"],
        ["--multirun", "experiment=mnist_cnn", "seed=0,1", "optimizer=mine",
         "hydra.searchpath=['file://my conf']"],
        ["experiment=cifar10_callbacks", "seed=0", "hydra.sweeper.only=[cosine,plateau]"],
        ["-m", "optimizer=sgd", "hydra/sweeper=fair", "hydra.sweeper.trials=2",
         "hydra.sweeper.seeds=1", "hydra.sweeper.extra_trials=0", "hydra.sweeper.finalists=0"],
    ],
    ids=["overrides", "--config-name", "experiment", "table", "fair"],
)  # fmt: skip
def test_commands_of_a_study_and_of_its_runs_plan_them(arguments, typed, planned_by):
    found = typed(*arguments, "data=digits", "hydra/launcher=basic")
    assert len(found) >= 2
    folder, record = max(found.items())  # of one run, which was not the first
    assert "hydra/launcher" not in record["command"]
    assert planned_by(record["command"]) == {folder}
    (study,) = {path.parent for path in found}
    (command,) = json.loads((study / "study.json").read_text())["commands"]
    assert "OPTLAB_COMMAND" not in command
    planned = planned_by(command)
    if "hydra/sweeper=fair" in arguments:  # the trials, which choose the runs of other seeds
        assert planned == {folder for folder in found if found[folder]["seed"] == 0}
    else:
        assert planned == set(found)


def test_command_typed_in_the_project_needs_no_other_folder(
    type_command, without_training, tmp_path, monkeypatch
):
    monkeypatch.chdir(ROOT)
    arguments = ["data=digits", quote_override("outputs", tmp_path)]
    type_command(*arguments)
    (path,) = tmp_path.glob("*/*/record.json")
    command = json.loads(path.read_text())["command"]
    assert shlex.split(command) == ["python", "train.py", *arguments]


def test_further_process_of_ddp_has_the_command_of_the_first(
    type_command, without_training, tmp_path, monkeypatch
):
    monkeypatch.chdir(ROOT)
    arguments = ["hydra.job.chdir=true", "data=digits", quote_override("outputs", tmp_path)]
    added = ['hydra.run.dir="logs"', "hydra.job.name=train_ddp_process_1"]  # by Lightning
    type_command(*arguments, *added, "hydra.output_subdir=null")
    (path,) = tmp_path.glob("*/*/record.json")
    command = json.loads(path.read_text())["command"]
    assert shlex.split(command) == ["python", "train.py", *arguments]


def test_run_that_was_started_from_python_has_no_command(tmp_path):
    GlobalHydra.instance().clear()
    HydraConfig.instance().cfg = None
    overrides = ["data=digits", "callbacks=none", "logger=none", "trainer=cpu"]
    overrides += ["trainer.max_epochs=1", quote_override("outputs", tmp_path)]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("train", overrides=overrides)
    (record,) = run(config)
    assert record.command is None
    assert read_run(run_dir(config)).command.startswith("# ")
    (again,) = run(config)
    assert again == record


@pytest.mark.parametrize(
    "value",
    [
        "two words", " a ", "größe", "日本", "[x]", "{a: b}", "a,b", "a=b", "a:b", "#", "", "~/x",
        "it's", "'", "''", 'say "x"', "back\\slash", "end\\", "\\'", "\\\\'", "'\\", "a\tb", "a\nb",
        "$HOME", "${x}", "\\${x}", "\\\\${x}", "a${", "$${x}'", "null", "1e3", "true", "choices(a)",
    ],
)  # fmt: skip
def test_quoted_override_is_read_back_as_it_was(value):
    parsed = OverridesParser.create().parse_override(quote_override("outputs", value))
    assert parsed.key_or_group == "outputs"
    config = OmegaConf.create({"outputs": None})
    OmegaConf.update(config, "outputs", parsed.value())
    assert config.outputs == value
