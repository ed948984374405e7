"""scripts/ensemble.py on a study trained here."""

import importlib.util
import re
from pathlib import Path

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from optlab.runs.folder import RunFolder
from optlab.training.run import run

ROOT = Path(__file__).parents[1]
QUICK = ["data=digits", "callbacks=none", "logger=none", "trainer=cpu", "trainer.max_epochs=2"]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("ensemble", ROOT / "scripts" / "ensemble.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def train(outputs, *overrides):
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("train", [*QUICK, f"outputs={outputs}", "study=some", *overrides])
    (record,) = run(config)
    return record


def test_members_have_their_recorded_accuracy_and_the_table_is_written(script, tmp_path, capsys):
    records = [train(tmp_path, f"seed={seed}") for seed in (0, 1, 2)]
    assert script.main([str(tmp_path / "some")]) == 0
    table = pd.read_csv(tmp_path / "some" / "report" / "ensemble.csv")
    recorded = [record.test.best.accuracy for record in records]
    assert table.test_accuracy[:3].tolist() == pytest.approx(recorded)
    assert table.val_accuracy[:3].tolist() == pytest.approx(
        [record.validation.best.accuracy for record in records]
    )
    losses = [record.test.best.loss for record in records]
    assert table.test_loss[:3].tolist() == pytest.approx(losses, rel=1e-3)  # float16
    assert re.fullmatch(r"ensemble .*\b3", table.name[3])
    assert pd.isna(table.val_accuracy[3])
    printed = capsys.readouterr().out
    best = table.val_accuracy[:3].argmax()
    gain = 100 * abs(table.test_accuracy[3] - table.test_accuracy[best])
    assert re.search(rf": .?{gain:.2f} .*\b360\b", printed)
    assert str(tmp_path / "some" / "report" / "ensemble.csv") in printed


def test_one_run_is_no_ensemble(script, tmp_path, capsys):
    train(tmp_path)
    assert script.main([str(tmp_path / "some")]) == 2
    assert re.match(r"error: .*ensemble .*\b1\b", capsys.readouterr().err)


def test_run_that_kept_no_answers_is_named(script, tmp_path, capsys):
    for seed in (0, 1):
        train(tmp_path, f"seed={seed}")
    (first,) = (tmp_path / "some").glob("adam-seed0-*")
    RunFolder(first).test_probabilities.unlink()
    assert script.main([str(tmp_path / "some")]) == 2
    assert first.name in capsys.readouterr().err


def test_diverged_runs_do_not_vote(script, tmp_path, capsys):
    record = train(tmp_path, "optimizer=sgd", "optimizer.lr=1.0e9")
    assert record.status == "diverged"
    assert script.main([str(tmp_path / "some")]) == 2
    assert f"{tmp_path / 'some'} " in capsys.readouterr().err


def test_folder_without_a_study_is_refused(script, tmp_path, capsys):
    assert script.main([str(tmp_path / "nowhere")]) == 2
    assert str(tmp_path / "nowhere") in capsys.readouterr().err
