"""A study through each of Hydra's other launchers that docs/launchers.md promises."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
SMALL = ["data=digits", "trainer=cpu", "logger=none", "callbacks=none", "trainer.max_epochs=1"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "plugin"), [("joblib", "joblib"), ("submitit_local", "submitit"), ("ray", "ray")]
)
def test_study_through_another_launcher_trains_the_same_runs_and_reports(
    launcher, plugin, tmp_path, train
):
    pytest.importorskip(f"hydra_plugins.hydra_{plugin}_launcher")
    command = [sys.executable, str(ROOT / "train.py"), "-m", f"hydra/launcher={launcher}"]
    command += ["optimizer=sgd,adam", *SMALL, f"outputs={tmp_path / 'outputs'}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    summary = pd.read_csv(tmp_path / "outputs" / "digits-mlp" / "report" / "summary.csv")
    assert sorted(summary["optimizer"]) == ["adam", "sgd"]
    for optimizer in ("sgd", "adam"):
        alone = train(f"optimizer={optimizer}", "trainer.max_epochs=1", "study=alone")
        (folder,) = (tmp_path / "outputs" / "digits-mlp").glob(f"{optimizer}-*/")
        assert folder.name == alone.folder.name
        assert (folder / "steps.csv").read_bytes() == (alone.folder / "steps.csv").read_bytes()
