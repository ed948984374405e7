"""Adaptive sweeps: rounds of seeds, their plan and outcome in study.json, and how they resume."""

import json
import re

import pytest
from made_records import record_run

from optlab.analysis import read_study
from optlab.report import make_report
from optlab.runs.study_file import (
    StudyFile,
    TrialRow,
    TuningRows,
    read_study_file,
    write_study_file,
)

SWEEP = ("hydra/sweeper=adaptive", "hydra.sweeper.rounds=[5,8]", "optimizer=sgd,adam,adamw")
BELOW = {"sgd": 0.3, "adam": 0.0, "adamw": 0.0}


@pytest.fixture
def launched(monkeypatch):
    """In place of training: made records. A list of the launches, each a list of run names."""
    launches = []

    def launch(job_overrides, initial_job_idx, *, hydra_context, config, **_):
        compose = hydra_context.config_loader.load_sweep_config
        runs = [compose(config, list(overrides)) for overrides in job_overrides]
        launches.append([run.run_name for run in runs])
        if launches.stop_at == len(launches):
            raise SystemExit(1)
        for run in runs:
            name, noise = run.optimizer.name, 0.01 * ((7 * run.seed) % 5)
            status = "diverged" if name in launches.diverging else "finished"
            record_run(run, status, accuracy=0.9 - BELOW[name] - noise)
        return []

    class Launches(list):
        stop_at = None
        diverging = ()

    launches = Launches()
    monkeypatch.setattr("optlab.studies.launcher.launch", launch)
    return launches


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "outputs" / "digits-mlp"


def outcome(folder):
    """Optimizer to the rounds that it has finished and its status."""
    rows = read_study_file(folder).adaptive.candidates
    return {row.typed[-1].removeprefix("optimizer="): (row.num_rounds, row.status) for row in rows}


DECIDED = {"sgd": (1, "lower"), "adam": (2, "open"), "adamw": (2, "open")}


def test_decided_configuration_gets_no_further_seeds(study, launched, folder):
    result = study(*SWEEP, report=False)
    assert [len(names) for names in launched] == [15, 6]
    assert not any(name.startswith("sgd") for name in launched[1])
    assert outcome(folder) == DECIDED
    assert re.search(r"digits-mlp\b.* 1 .* 2\b.* 5 .*: SGD with momentum \(lower\)", result.out)
    plan = read_study_file(folder).adaptive
    assert (plan.rounds, plan.levels, plan.first_seed) == ([5, 8], [0.01, 0.04], 0)
    assert [len(row.runs) for row in plan.candidates] == [8] * 3
    assert len(read_study(folder).counted_runs) == 21


@pytest.mark.slow
def test_killed_sweep_resumes_and_decides_the_same(study, launched, folder):
    launched.stop_at = 1
    study(*SWEEP, report=False)
    assert outcome(folder) == dict.fromkeys(DECIDED, (0, "open"))  # the plan, before any run
    launched.stop_at = 3
    study(*SWEEP, report=False)
    assert outcome(folder) == {**dict.fromkeys(DECIDED, (1, "open")), "sgd": (1, "lower")}
    launched.stop_at = None
    study(*SWEEP, report=False)
    file = (folder / "study.json").read_bytes()
    assert outcome(folder) == DECIDED
    study(*SWEEP, report=False)
    assert (folder / "study.json").read_bytes() == file


def test_sweep_ends_when_only_the_best_is_left(study, launched, folder):
    study(*SWEEP[:2], "optimizer=sgd,adam", report=False)
    assert [len(names) for names in launched] == [10]
    assert outcome(folder) == {"sgd": (1, "lower"), "adam": (1, "open")}


@pytest.mark.slow
def test_folds_of_a_configuration_stop_together(study, launched, folder):
    study(*SWEEP, "data.num_folds=2", "data.fold=0,1", report=False)
    assert [len(names) for names in launched] == [30, 12]
    rows = read_study_file(folder).adaptive.candidates
    stopped = [row.typed for row in rows if row.status == "lower"]
    assert [("optimizer=sgd" in typed, "data.fold=1" in typed) for typed in stopped] == [
        (True, False), (True, True),
    ]  # fmt: skip
    (workload,) = read_study(folder).workloads
    assert {one.label: len(one.runs) for one in workload.configurations} == {
        "sgd": 10, "adam": 16, "adamw": 16,
    }  # fmt: skip


@pytest.mark.slow
def test_configuration_that_always_diverges_stops(study, launched, folder):
    launched.diverging = ("sgd",)
    study(*SWEEP, report=False)
    assert outcome(folder) == {**DECIDED, "sgd": (1, "no result")}


@pytest.mark.slow
def test_optimizer_that_is_added_later_races_by_the_same_plan(study, launched, folder):
    study(*SWEEP[:2], "optimizer=adam,adamw", report=False)
    study(*SWEEP[:2], "optimizer=sgd", report=False)
    assert outcome(folder) == DECIDED
    assert len(launched[2]) == 5


@pytest.mark.slow
@pytest.mark.parametrize(
    "other", ["hydra.sweeper.rounds=[5,10]", "hydra.sweeper.first_seed=1"]
)  # fmt: skip
def test_plan_holds_from_its_first_round_on(other, study, launched, folder):
    study(*SWEEP, report=False)
    before = (folder / "study.json").read_bytes()
    result = study(*SWEEP, other, report=False)
    assert re.search(r"hydra\.sweeper\.rounds .*first_seed=.*\[5, 8\]", str(result.exit_code))
    assert (folder / "study.json").read_bytes() == before
    assert len(launched) == 2


@pytest.mark.slow
def test_plan_that_no_round_has_read_is_replaced(study, launched, folder):
    launched.stop_at = 1
    study(*SWEEP, report=False)
    study(*SWEEP, "hydra.sweeper.rounds=[6,9]", report=False)
    assert read_study_file(folder).adaptive.rounds == [6, 9]
    assert [len(row.runs) for row in read_study_file(folder).adaptive.candidates] == [9] * 3


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        ("seed=0,1", r"hydra/sweeper=adaptive\b.*\n\nhint: .*\bseed=.*sweeper/adaptive\.yaml"),
        ("num_replicas=5", r"num_replicas .*\b5\b.*hydra/sweeper=adaptive\b"),
        ("hydra.sweeper.rounds=[3,10]", r"sweeper\.rounds .*\[3, 10\].* >= 5"),
        ("hydra.sweeper.rounds=[10,5]", r"sweeper\.rounds .*\[10, 5\].*\n\nhint: "),
        ("hydra.sweeper.rounds=[]", r"sweeper\.rounds .*\bempty\b"),
        ("hydra.sweeper.first_seed=-1", r"sweeper\.first_seed .*-1\b.* >= 0"),
    ],
)
def test_sweep_refuses_what_it_cannot_plan(typed, problem, study, launched, folder):
    result = study(*SWEEP, typed, report=False)
    assert re.search(problem, str(result.exit_code))
    assert launched == []
    assert not folder.exists()


@pytest.mark.slow
def test_sweep_refuses_a_study_with_tuned_configurations(study, launched, folder):
    write_study_file(folder, StudyFile(tuning=TuningRows([TrialRow("sgd", "c", "h", "finished")])))
    result = study(*SWEEP, report=False)
    assert "study=NAME" in str(result.exit_code)
    assert launched == []


def test_plan_shows_the_first_round_and_the_most_runs(study, folder):
    result = study(*SWEEP, "plan=true", "effect=1", report=False)
    text = " ".join(result.out.split())
    assert re.search(r"\b24 runs\b.*\b15 to train\b.*\b9 runs\b.*\bhydra\.sweeper\.rounds\b", text)
    assert not (folder / "study.json").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("blank_pictures")
def test_report_of_the_sweep_says_who_stopped(study, launched, folder):
    study(*SWEEP, report=False)
    page = make_report(folder)
    (workload,) = json.loads((page.parent / "verdict.json").read_text())["workloads"]
    assert workload["rounds"] == [{"num_seeds": 5, "level": 0.01}, {"num_seeds": 8, "level": 0.04}]
    rounds = {each["label"]: each["round"] for each in workload["configurations"]}
    assert rounds["sgd"] == {"number": 1, "num_seeds": 5, "level": 0.01, "status": "lower"}
    assert rounds["adam"]["number"] == 2
