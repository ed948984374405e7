import json
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]


def test_run_of_a_race_reports_its_validations_and_answers_and_trains_as_without(
    type_command, tmp_path
):
    serve = runpy.run_path(str(ROOT / "scripts" / "serve.py"), run_name="serve")
    commands = serve["race_commands"](tmp_path)
    assert list(commands) == ["sgd", "adam", "rmsprop", "adagrad", "adamw"]
    _, script, *arguments = commands["adam"]
    assert Path(script) == ROOT / "train.py"
    pixels = np.random.default_rng(0).integers(0, 256, (1, 28, 28), np.uint8)
    np.save(tmp_path / "drawing.npy", pixels)
    short = ["trainer.max_steps=12", "seed=0"]  # an epoch
    type_command(*arguments, *short)
    without = [each for each in arguments if "callbacks.live" not in each and "outputs" not in each]
    type_command(*without, *short, f"outputs={tmp_path / 'without'}")

    lines = [json.loads(line) for line in (tmp_path / "adam.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 5, 10, 12]
    assert all(sum(line["probabilities"]) == pytest.approx(1, abs=1e-5) for line in lines)
    assert lines[0]["probabilities"] != lines[-1]["probabilities"]
    (reported,) = (tmp_path / "runs").glob("*/*/validation.csv")
    accuracies = pd.read_csv(reported)["val/accuracy"].tolist()
    assert [line["val_accuracy"] for line in lines] == [None, *accuracies]
    (steps,) = (tmp_path / "without").glob("*/*/steps.csv")
    assert steps.read_text() == (reported.parent / "steps.csv").read_text()
