"""Studies that are killed: nothing is left running, the truth is recorded, all is resumed."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from made_records import make_record
from waiting import wait_for

from optlab.runs.record import write_record

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="needs signals of POSIX"),
]

ROOT = Path(__file__).parents[2]
PATIENCE_S = 240.0  # for what takes seconds on an idle machine


@pytest.fixture
def spawn(tmp_path):
    """Starts a study as a program of its own; ends whatever is left of it."""
    started = []

    def start(*arguments):
        small = ["data=digits", "trainer=cpu", "logger=none", "callbacks=none"]
        command = [sys.executable, str(ROOT / "train.py"), "-m", *small]
        command += [f"outputs='{tmp_path / 'outputs'}'", *arguments]
        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a process group, as a shell makes one for Ctrl-C
            # A process in the background of a script ignores Ctrl-C, and its children inherit that
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        started.append((process, []))
        return process

    yield start
    for process, _ in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        process.stdout.close()
        process.stderr.close()


def family(process):
    """The processes below a study: fork server, resource tracker, runs."""
    return psutil.Process(process.pid).children(recursive=True)


def is_gone(process):
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def run_folder(tmp_path, name):
    found = list((tmp_path / "outputs").glob(f"*/{name}-*"))
    return found[0] if found else None


def num_epochs(tmp_path, name):
    folder = run_folder(tmp_path, name)
    if folder is None or not (folder / "epochs.csv").exists():
        return 0
    return len((folder / "epochs.csv").read_text().splitlines()) - 1


def test_run_that_is_killed_is_recorded_and_the_others_finish(spawn, tmp_path):
    study = spawn("run_name=epochs-${trainer.max_epochs}", "trainer.max_epochs=5000,3",
                  "hydra.launcher.num_processes=2")  # fmt: skip
    wait_for(lambda: num_epochs(tmp_path, "epochs-5000") >= 2, PATIENCE_S)
    log = str(run_folder(tmp_path, "epochs-5000") / "train.log")
    (victim,) = [
        process for process in family(study) if log in [f.path for f in process.open_files()]
    ]
    victim.kill()
    _, err = study.communicate(timeout=PATIENCE_S)
    assert study.returncode == 1
    record = json.loads((run_folder(tmp_path, "epochs-5000") / "record.json").read_text())
    assert record["status"] == "failed"
    assert re.search(r"\bsignal 9\b.*\bmemory\b", record["reason"])
    assert record["command"] in err
    finished = json.loads((run_folder(tmp_path, "epochs-3") / "record.json").read_text())
    assert finished["status"] == "finished"
    assert (run_folder(tmp_path, "epochs-3").parent / "report" / "index.html").exists()


def test_killed_study_leaves_nothing_running_and_resumes(spawn, study, train, tmp_path):
    arguments = ("optimizer=adam", "seed=0", "trainer.max_epochs=25", "scheduler=cosine")
    alone = train(*arguments, "study=alone")
    folder = tmp_path / "outputs" / "digits-mlp" / alone.folder.name
    write_record(folder, make_record("failed", reason="of an earlier try"))

    killed = spawn(*arguments)
    wait_for(lambda: (folder / "checkpoints" / "last.ckpt").exists(), PATIENCE_S)
    children = family(killed)
    assert children
    killed.kill()
    killed.wait()
    wait_for(lambda: all(map(is_gone, children)), 10.0)
    assert not (folder / "record.json").exists()  # the old failure says nothing of this try
    epochs_before = (folder / "epochs.csv").read_text().splitlines()
    assert 1 < len(epochs_before) < 26

    again = study(*arguments, report=False)
    assert again.exit_code == 0
    resumed = type(alone)(folder)
    assert (folder / "steps.csv").read_bytes() == (alone.folder / "steps.csv").read_bytes()
    assert resumed.results | {"study": "alone"} == alone.results
    # it went on: the rows of the first try, with their clock, are still there
    assert (folder / "epochs.csv").read_text().splitlines()[:2] == epochs_before[:2]


@pytest.mark.parametrize("to_group", [True, False], ids=["Ctrl-C", "kill -INT"])
def test_interrupted_study_ends_at_once_with_all_its_runs(to_group, spawn, tmp_path):
    study = spawn("optimizer=sgd,adam", "trainer.max_epochs=5000",
                  "hydra.launcher.num_processes=2")  # fmt: skip
    wait_for(
        lambda: len(list((tmp_path / "outputs").glob("*/*/checkpoints/last.ckpt"))) == 2, PATIENCE_S
    )
    children = family(study)
    interrupted_s = time.monotonic()
    if to_group:
        os.killpg(study.pid, signal.SIGINT)
    else:
        study.send_signal(signal.SIGINT)
    _, err = study.communicate(timeout=PATIENCE_S)
    assert time.monotonic() - interrupted_s < 10.0
    assert study.returncode not in (0, None)
    assert "interrupted" in err
    assert "Traceback" not in err
    wait_for(lambda: all(map(is_gone, children)), 10.0)
    assert not list((tmp_path / "outputs").glob("*/*/record.json"))
    assert len(list((tmp_path / "outputs").glob("*/*/checkpoints/last.ckpt"))) == 2
