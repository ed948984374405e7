"""What TensorBoard serves of a finished study, asked over HTTP."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

PATIENCE_S = 120.0


@pytest.fixture
def tensorboard(tmp_path):
    """Starts TensorBoard over a folder; gives a function that asks it."""
    started = []

    def start(folder):
        log = (tmp_path / "tensorboard.log").open("w+")
        process = subprocess.Popen(
            [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder),
             "--port", "0", "--host", "127.0.0.1", "--load_fast", "false"],
            stdout=log, stderr=log, env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )  # fmt: skip
        started.append((process, log))
        end_s = time.monotonic() + PATIENCE_S
        while not (found := re.search(r"http://127\.0\.0\.1:\d+/", read(log))):
            assert process.poll() is None, read(log)
            assert time.monotonic() < end_s, read(log)
            time.sleep(0.1)

        def ask(path, body=None):
            data = None if body is None else json.dumps(body).encode()
            request = urllib.request.Request(
                f"{found[0]}data/plugin/{path}", data, {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.loads(answer.read())

        return ask

    yield start
    for process, log in started:
        process.terminate()
        process.wait()
        log.close()


def read(log):
    log.seek(0)
    return log.read()


def until(ask, is_there):
    end_s = time.monotonic() + PATIENCE_S
    while not is_there(answer := ask()):
        assert time.monotonic() < end_s, answer
        time.sleep(0.2)
    return answer


def test_tensorboard_serves_scalars_and_hparams_with_metrics(train, tensorboard):
    runs = [
        train(f"optimizer={name}", "trainer.max_epochs=2", "logger=tensorboard")
        for name in ("sgd", "adam")
    ]
    ask = tensorboard(runs[0].folder.parents[1])
    names = {f"digits-mlp/{run.folder.name}" for run in runs}
    tags = until(lambda: ask("scalars/tags"), lambda found: names <= found.keys())
    for name in names:
        assert tags[name].keys() >= {
            "train/loss_step", "train/loss", "train/accuracy", "train/lr",
            "val/loss", "val/accuracy",
        }  # fmt: skip
        # Groups of cards are sorted by name: curves come before single numbers
        assert sorted({tag.partition("/")[0] for tag in tags[name]})[:2] == ["train", "val"]
    adam = next(run for run in runs if "adam" in run.folder.name)
    asked = f"scalars/scalars?run=digits-mlp%2F{adam.folder.name}&tag=val%2Faccuracy"
    points = [(step, value) for _, step, value in ask(asked)]
    # Lightning validates before it counts the step that the epoch ends with
    assert points == [
        (row.step - 1, pytest.approx(row["val/accuracy"])) for _, row in adam.epochs.iterrows()
    ]
    steps = f"scalars/scalars?run=digits-mlp%2F{adam.folder.name}&tag=train%2Floss_step"
    assert [step for _, step, _ in ask(steps)] == [1, 10, 20, 30, 40]

    experiment = ask("hparams/experiment", {"experimentName": ""})
    columns = sorted(info["name"] for info in experiment["hparamInfos"])
    assert columns[:5] == ["learning_rate", "model", "optimizer", "scheduler", "seed"]
    metrics = {info["name"]["tag"] for info in experiment["metricInfos"]}
    assert metrics >= {
        f"with_best_weights/{name}" for name in ("val_accuracy", "test_accuracy", "test_loss")
    }
    statuses = [f"STATUS_{word}" for word in ("UNKNOWN", "SUCCESS", "FAILURE", "RUNNING")]
    body = {
        "experimentName": "", "allowedStatuses": statuses, "colParams": [],
        "startIndex": 0, "sliceSize": 10,
    }  # fmt: skip
    groups = until(
        lambda: ask("hparams/session_groups", body),
        lambda found: len(found.get("sessionGroups", [])) == 2,
    )["sessionGroups"]
    shown = {
        group["hparams"]["optimizer"]: {
            value["name"]["tag"]: value["value"] for value in group["metricValues"]
        }
        for group in groups
    }
    for run in runs:
        record = run.record
        found = shown[record["optimizer"]["name"]]
        best = found["with_best_weights/test_accuracy"]
        assert best == pytest.approx(record["test"]["best"]["accuracy"])
