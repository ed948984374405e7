"""Folders of every kind: relative ones, links, names with special characters, a full disk."""

import json
import runpy
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock
from hydra.core.override_parser.overrides_parser import OverridesParser
from made_records import make_record
from omegaconf import OmegaConf

from optlab.runs.folder import RunFolder
from optlab.runs.record import write_record
from optlab.studies import launcher
from optlab.studies.multirun_end import StudyReport
from optlab.training import cli
from optlab.training.commands import quote_override

ROOT = Path(__file__).parents[2]
SMALL = ["data=digits", "trainer=cpu", "logger=csv", "callbacks=none", "trainer.max_epochs=1"]
NASTY = [
    "two words", "größe", "[x]", "{y}", "a,b", "a=b", "$HOME", "it's", 'say "x"', "back\\slash",
    "#1;2&", "%d", "~", "*?", "(a)", " lead", "null", "1e3",
]  # fmt: skip


def records_below(folder):
    return sorted(folder.rglob("record.json"))


@pytest.mark.parametrize("name", ["~", "null", "".join(NASTY)])
def test_outputs_may_have_any_name(name, type_command, without_training, tmp_path):
    outputs = tmp_path / name
    type_command("data=digits", quote_override("outputs", outputs))
    (path,) = outputs.glob("*/*/record.json")
    assert records_below(tmp_path) == [path]


def test_folders_of_the_command_line_may_have_special_characters(
    type_command, without_training, tmp_path, monkeypatch
):
    here = tmp_path / 'größe, [a=b] {it\'s} "$1"'
    (here / "my conf" / "optimizer").mkdir(parents=True)
    own = "_target_: torch.optim.SGD\n_partial_: true\nlr: 0.05\nname: mine\n"
    (here / "my conf" / "optimizer" / "mine.yaml").write_text(own)
    monkeypatch.chdir(here)
    type_command("--config-dir", "my conf", "optimizer=mine", "data=digits", "outputs=out")
    assert len(records_below(here / "out")) == 1


def test_run_in_its_own_folder_finds_relative_paths(type_command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    type_command(*SMALL, "outputs=out")
    (first,) = records_below(tmp_path)
    run = first.parent.relative_to(tmp_path)
    for further in ([f"ckpt_path={run}/checkpoints/last.ckpt", "trainer.max_epochs=2"],
                    ["model=finetuned", f"model.weights={run}"]):  # fmt: skip
        type_command(*SMALL, *further, "outputs=out", "hydra.job.chdir=true")
    assert {path.parents[2] for path in records_below(tmp_path)} == {tmp_path / "out"}
    assert len(records_below(tmp_path)) == 3


@pytest.mark.parametrize("typed", ["outputs=größe", "outputs=a#b", "outputs=[x]y"])
def test_value_that_hydra_cannot_read_is_refused_with_its_quoted_form(typed, type_command):
    with pytest.raises(SystemExit) as refused:
        type_command(typed, "data=digits")
    hint = shlex.split(str(refused.value).rpartition(": ")[2])
    assert hint == [f"outputs='{typed.removeprefix('outputs=')}'"]


def test_study_whose_runs_have_their_own_folder_finds_their_records(
    type_command, without_training, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    study = ["-m", "optimizer=sgd,adam", "data=digits", "outputs=out"]
    type_command(*study, "hydra.job.chdir=true", "hydra/launcher=basic")
    assert {path.parents[2] for path in records_below(tmp_path)} == {tmp_path / "out"}


def test_home_folder_is_expanded(type_command, without_training, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    type_command("data=digits", "outputs=~/out")
    (path,) = records_below(tmp_path)
    assert path.parents[2] == tmp_path / "home" / "out"
    assert (path.parent / "train.log").is_file()
    assert list((tmp_path / "here").iterdir()) == []


def test_outputs_may_be_a_link(type_command, without_training, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    type_command("data=digits", f"outputs={tmp_path / 'link'}")
    assert len(records_below(tmp_path / "disk")) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["hydra.run.dir=logs"],
        ["-m", "hydra.sweep.dir=logs", "hydra.sweep.subdir=${hydra.job.num}", "seed=0",
         "hydra/launcher=basic"],
        ["hydra.run.dir=logs", "hydra/job_logging=none"],
    ],
    ids=["run", "sweep", "no log"],
)  # fmt: skip
def test_log_that_a_failure_names_is_there(arguments, type_command, tmp_path, monkeypatch, capsys):
    def fail(config):
        raise RuntimeError("the images are upside down")

    monkeypatch.setattr(cli, "_import_run", lambda: fail)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"^1$"):
        type_command(*arguments, "data=digits", "outputs=out")
    lines = [line.split() for line in capsys.readouterr().err.splitlines()]
    logs = [Path(words[1]) for words in lines if words[:1] == ["log:"]]
    if "hydra/job_logging=none" in arguments:
        assert logs == []
    else:
        (log,) = (path for path in logs if path != Path("/dev/null"))  # which is pytest's
        assert "upside down" in log.read_text()
        assert tmp_path / "logs" in log.parents


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a file that is always full")
def test_full_disk_is_refused_with_the_file_that_could_not_be_written(
    type_command, tmp_path, capsys
):
    (tmp_path / "logs" / ".hydra").mkdir(parents=True)
    full = tmp_path / "logs" / ".hydra" / "config.yaml"
    full.symlink_to("/dev/full")
    arguments = ["data=digits", f"outputs={tmp_path}", f"hydra.run.dir={tmp_path / 'logs'}"]
    with pytest.raises(SystemExit, match=rf"No space left on device.*{full}"):
        type_command(*arguments)


@pytest.mark.parametrize("name", NASTY)
def test_page_hands_its_folder_to_training(name, tmp_path):
    serve = runpy.run_path(str(ROOT / "scripts" / "serve.py"), run_name="serve")
    python, script, *arguments = shlex.split(serve["train_command"](tmp_path / name))
    assert (python, script) == ("python", "train.py")
    parsed = OverridesParser.create().parse_overrides(
        [argument for argument in arguments if argument != "-m"]
    )
    values = {override.key_or_group: override.value() for override in parsed}
    assert OmegaConf.create({"outputs": values["outputs"]}).outputs == str(tmp_path / name)


def test_study_keeps_the_result_of_a_run_that_another_command_trains_again(tmp_path):
    folder = tmp_path / "study" / "run"
    write_record(folder, make_record())
    job = SimpleNamespace(
        folder=folder, runs=[(None, folder)], config=OmegaConf.create({"rerun": True}),
        tag_runs=lambda: None,
    )  # fmt: skip
    started = SimpleNamespace(Process=lambda **_: SimpleNamespace(start=lambda: None))
    with FileLock(folder / ".lock"):
        launcher._start(started, job, None)
    assert (folder / "record.json").is_file()
    launcher._start(started, job, None)  # nobody trains it: killed now, it has no result
    assert not (folder / "record.json").exists()


def test_study_exits_with_1_where_another_command_trains_one_of_its_runs(tmp_path, capsys):
    for name in ("ours", "theirs"):
        RunFolder(tmp_path / "study" / name).tag("command")
        write_record(tmp_path / "study" / name, make_record())
    report = StudyReport()
    report.command_id = "command"
    hydra = {"overrides": {"hydra": [], "task": []}, "job": {"name": "mine"}}
    config = OmegaConf.create(
        {"plan": False, "outputs": str(tmp_path), "published": None, "title": None, "hydra": hydra}
    )
    with FileLock(tmp_path / "study" / "theirs" / ".lock"), pytest.raises(SystemExit, match=r"^1$"):
        report.on_multirun_end(config)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.split()[0] == "theirs:"
    assert json.loads((tmp_path / "study" / "study.json").read_text())["commands"] == []
