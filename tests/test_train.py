"""train.py as a program: what it prints, how it ends, that it answers before torch is loaded."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def command(tmp_path):
    def run(*arguments, python_flags=()):
        return subprocess.run(
            [sys.executable, *python_flags, str(ROOT / "train.py"), *arguments],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")},
            capture_output=True,
            text=True,
            timeout=280,
        )

    return run


@pytest.mark.parametrize("flags", [["--help"], ["--cfg", "job", "data=digits"]], ids=" ".join)
def test_command_answers_without_loading_torch(flags, command):
    done = command(*flags, python_flags=["-X", "importtime"])
    assert done.returncode == 0
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert {"hydra", "optlab.training.cli"} <= imported
    assert not imported & {"torch", "lightning", "torchvision", "matplotlib", "pandas", "sklearn"}


def test_help_lists_groups_options_and_examples(command):
    text = command("--help").stdout
    for group, option in (
        ("data", "digits"),
        ("model", "resnet18"),
        ("optimizer", "schedule_free"),
        ("scheduler", "warmup_cosine"),
        ("callbacks", "early_stopping"),
        ("trainer", "ddp"),
        ("logger", "tensorboard"),
        ("module", "classifier"),
        ("debug", "fast_dev_run"),
    ):
        (line,) = [line for line in text.splitlines() if line.startswith(f"{group}:")]
        assert option in line
    assert "python train.py -m optimizer=sgd,adam,rmsprop,adagrad,adamw" in text
    groups = {line.partition(":")[0] for line in text.splitlines() if ": " in line[:20]}
    assert not groups & {"search_space", "data/shared", "experiment/shared"}


def test_run_tells_its_result_and_a_repetition_tells_it_again(command, tmp_path):
    arguments = ["data=digits", "trainer.max_epochs=1", "outputs='two words'"]
    first = command(*arguments)
    assert first.returncode == 0, first.stderr
    assert first.stderr == ""  # no warning of any library
    (record,) = (tmp_path / "two words").glob("*/*/record.json")
    assert json.loads(record.read_text())["status"] == "finished"
    assert str(record.parent.name) in first.stdout.splitlines()[-1]
    assert "test " in first.stdout.splitlines()[-1]
    names = {path.name for path in record.parent.iterdir()}
    assert names >= {
        ".hydra", "train.log", "checkpoints", "epochs.csv", "steps.csv", "figures",
        "classification_report.json", "classification_report.txt", "record.json",
    }  # fmt: skip
    assert any(name.startswith("events.out.tfevents") for name in names)
    again = command(*arguments, python_flags=["-X", "importtime"])
    folder, _, outcome = first.stdout.splitlines()[-1].partition(": ")
    assert re.match(rf"{re.escape(folder)}: .*{re.escape(outcome)}", again.stdout)
    assert "rerun=true" in again.stdout
    assert " torch\n" not in again.stderr  # told from the record alone


def test_fair_sweep_without_a_study_is_refused(command, tmp_path):
    done = command("data=digits", "hydra/sweeper=fair", f"outputs={tmp_path / 'outputs'}")
    assert done.returncode == 1
    assert re.search(r"^error: hydra/sweeper=fair .*\n\nhint: .*-m\b", done.stderr, re.MULTILINE)
    assert list(tmp_path.rglob("record.json")) == []


def test_typo_ends_in_one_explanation(command, tmp_path):
    done = command("data=digits", "trainer.max_epoch=1")
    assert done.returncode == 1
    assert re.match(r"error: .*trainer\.max_epoch\b(?s:.*)\btrainer\.max_epochs\b", done.stderr)
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_option_that_nothing_reads_ends_in_one_explanation_and_no_folder(command, tmp_path):
    done = command("data=digits", "+lable_smoothing=0.3")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "module.label_smoothing" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_null_for_a_group_is_taken(command):
    arguments = ("scheduler=null", "callbacks=null", "logger=null")
    done = command("data=digits", *arguments, "--cfg", "job")
    assert done.returncode == 0, done.stderr
    assert "scheduler:" in done.stdout


@pytest.mark.slow
def test_experiment_that_is_a_sweep_needs_no_flag_to_be_one(command):
    planned = command("experiment=cifar10_callbacks", "seed=0", "plan=true").stdout
    assert re.search(r"\b5 .*\btrain", planned)


@pytest.mark.slow
def test_two_processes_agree_with_one(command, tmp_path, train):
    # 1,293 images: the last batch has a single one, of which the second process has no share
    overrides = ["data=digits", "data.batch_size=68", "trainer.max_epochs=2"]
    overrides += ["model=cnn", "model.dropout=0"]
    done = command(*overrides, "trainer=ddp", "trainer.accelerator=cpu", "outputs=ddp")
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "ddp").glob("*/*/")
    alone = train(*overrides)
    assert folder.name == alone.folder.name
    together = type(alone)(folder)
    assert list(together.steps["train/loss"]) == pytest.approx(
        list(alone.steps["train/loss"]), rel=1e-3
    )
    assert together.record["test"]["last"]["loss"] == pytest.approx(
        alone.record["test"]["last"]["loss"], rel=1e-3
    )
    assert together.record["device"]["num_devices"] == 2
