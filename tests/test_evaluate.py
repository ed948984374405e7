"""scripts/evaluate.py: a checkpoint of a run, evaluated again."""

import re
import runpy
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

ROOT = Path(__file__).parent.parent
main = runpy.run_path(str(ROOT / "scripts" / "evaluate.py"))["main"]


@pytest.fixture
def run(train, make_config):
    """A run with its config in `.hydra`, where a command keeps it."""
    run = train("trainer.max_epochs=2")
    (run.folder / ".hydra").mkdir()
    OmegaConf.save(make_config("trainer.max_epochs=2"), run.folder / ".hydra" / "config.yaml")
    return run


def printed(capsys):
    text = capsys.readouterr().out
    return {name: float(value) for name, value in re.findall(r"(\w+/\w+) +([\d.]+)", text)}


def test_validation_of_the_best_weights_is_that_of_the_record(run, capsys):
    assert main([str(run.folder)]) == 0
    best = run.record["validation"]["best"]
    expected = {"val/loss": best["loss"], "val/accuracy": best["accuracy"]}
    assert printed(capsys) == pytest.approx(expected, abs=5e-5)


def test_checkpoint_file_on_the_test_set(run, capsys):
    path = run.folder / "checkpoints" / "last.ckpt"
    assert main([str(path), "--split", "test"]) == 0
    last = run.record["test"]["last"]
    expected = {"test/loss": last["loss"], "test/accuracy": last["accuracy"]}
    assert printed(capsys) == pytest.approx(expected, abs=5e-5)


def test_folder_without_a_run_is_an_error_that_names_it(tmp_path, capsys):
    assert main([str(tmp_path / "nothing")]) == 2
    assert str(tmp_path / "nothing") in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "problem"), [(None, "damaged"), ({"epoch": 3}, "state_dict"), ([1], "list")]
)
def test_file_that_is_no_checkpoint_is_an_error_with_a_next_step(run, capsys, content, problem):
    path = run.folder / "checkpoints" / "best.ckpt"
    path.write_bytes(b"junk")
    if content is not None:
        torch.save(content, path)
    assert main([str(run.folder)]) == 2
    assert re.search(rf"best\.ckpt .*\b{problem}\b(?s:.*)hint: ", capsys.readouterr().err)
