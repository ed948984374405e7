"""scripts/evaluate.py: a checkpoint of a run, evaluated again."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TRAIN = ["data=digits", "trainer=cpu", "callbacks=none", "logger=none", "trainer.max_epochs=2"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's folder, made by a command, which keeps its config."""
    outputs = tmp_path_factory.mktemp("outputs")
    subprocess.run(
        [sys.executable, ROOT / "train.py", *TRAIN, f"outputs={outputs}"], check=True, cwd=outputs
    )
    (folder,) = outputs.glob("digits-mlp/*/")
    return folder


def record(run):
    return json.loads((run / "record.json").read_text())


def evaluate(*arguments):
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "evaluate.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def metrics(done):
    assert done.returncode == 0, done.stderr
    return {name: float(value) for name, value in re.findall(r"(\w+/\w+) +([\d.]+)", done.stdout)}


def test_validation_of_the_best_weights_is_that_of_the_record(run):
    best = record(run)["validation"]["best"]
    expected = {"val/loss": best["loss"], "val/accuracy": best["accuracy"]}
    assert metrics(evaluate(run)) == pytest.approx(expected, abs=5e-5)


def test_checkpoint_file_on_the_test_set(run):
    last = record(run)["test"]["last"]
    expected = {"test/loss": last["loss"], "test/accuracy": last["accuracy"]}
    path = run / "checkpoints" / "last.ckpt"
    assert metrics(evaluate(path, "--split", "test")) == pytest.approx(expected, abs=5e-5)


def test_folder_without_a_run_is_an_error_that_names_it(tmp_path):
    done = evaluate(tmp_path / "nothing")
    assert done.returncode == 2
    assert str(tmp_path / "nothing") in done.stderr
