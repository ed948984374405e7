"""Many runs side by side: skipped where done, isolated, planned, equal to the single run."""

import json
import re

import pytest

from optlab.training.code_fingerprint import _fingerprint


def record_of(folder):
    return json.loads((folder / "record.json").read_text())


def stamps(runs):
    return {name: (folder / "record.json").stat().st_mtime_ns for name, folder in runs().items()}


@pytest.mark.slow
def test_study_trains_once_and_then_what_is_new(study, runs):
    first = study("optimizer=sgd,adam", "trainer.max_epochs=1")
    assert first.exit_code == 0, first
    assert set(runs()) == {"sgd-seed0", "adam-seed0"}
    assert re.search(r"^2 .*\b2\b.*/train\.log$", first.out, re.MULTILINE)
    assert "[2/2] " in first.out
    before = stamps(runs)

    again = study("optimizer=sgd,adam", "trainer.max_epochs=1")
    assert again.exit_code == 0
    assert re.search(r"^2 .*\b2\b.*\bdone$", again.out, re.MULTILINE)
    assert "/train.log" not in again.out
    assert stamps(runs) == before

    more = study("optimizer=sgd,adam,adagrad", "trainer.max_epochs=1")
    assert re.search(r"^2 .*\b3\b.*\bdone\n1 .*/train\.log$", more.out, re.MULTILINE)
    assert {name: stamps(runs)[name] for name in before} == before
    assert set(runs()) == {"sgd-seed0", "adam-seed0", "adagrad-seed0"}

    report = runs()["sgd-seed0"].parent / "report"
    for name in ("index.html", "summary.csv", "summary.md", "loss_comparison.png"):
        assert (report / name).stat().st_size > 0
    assert "adagrad" in (report / "summary.csv").read_text()

    rerun = study("optimizer=sgd,adam", "trainer.max_epochs=1", "rerun=true")
    assert re.search(r"^2 .*/train\.log$", rerun.out, re.MULTILINE)
    after = stamps(runs)
    assert all(after[name] > before[name] for name in before)


@pytest.mark.slow
def test_run_of_a_sweep_equals_the_single_run(study, runs, train):
    study(
        "optimizer=adam,muon", "seed=0,1", "trainer.max_epochs=2", "model.dropout=0.1", report=False
    )
    alone = train(
        "optimizer=muon", "seed=1", "trainer.max_epochs=2", "model.dropout=0.1", "study=alone"
    )
    assert len(runs()) == 4
    (in_sweep,) = alone.folder.parents[1].glob("digits-mlp/muon-seed1-*")
    assert in_sweep.name == alone.folder.name
    for name in ("steps.csv", "classification_report.json"):
        assert (in_sweep / name).read_bytes() == (alone.folder / name).read_bytes()
    swept = type(alone)(in_sweep)
    assert swept.weights().keys() == alone.weights().keys()
    for name, tensor in alone.weights().items():
        assert bool((swept.weights()[name] == tensor).all())
    ignored = ("study",)
    assert {k: v for k, v in swept.results.items() if k not in ignored} == {
        k: v for k, v in alone.results.items() if k not in ignored
    }
    assert "optimizer=muon" in swept.record["command"]
    assert "seed=1" in swept.record["command"]


@pytest.mark.slow
def test_plan_starts_nothing_and_says_what_is_done(study, runs):
    study("optimizer=sgd", "trainer.max_epochs=1", report=False)
    before = stamps(runs)
    plan = study("optimizer=sgd,adam", "trainer.max_epochs=1", "plan=true", "effect=0.5")
    assert plan.exit_code == 0
    text = " ".join(plan.out.split())
    assert "optimizer=adam" in text  # what tells the rows apart
    assert re.search(r"\b1 to train, 1 done\b.* \d+ s .*\b0\.5 points\b.*\bdigits-mlp\b", text)
    assert stamps(runs) == before
    assert set(runs()) == {"sgd-seed0"}


@pytest.fixture
def broken_optimizer(tmp_path):
    """A user's own optimizers in YAML: one works, one raises in its third step."""
    (tmp_path / "mine_test_optimizers.py").write_text(
        "import torch\n"
        "class Raises(torch.optim.SGD):\n"
        "    steps = 0\n"
        "    def step(self, closure=None):\n"
        "        self.steps += 1\n"
        "        if self.steps == 3:\n"
        "            raise RuntimeError('the third step is cursed')\n"
        "        return super().step(closure)\n"
        "class Works(torch.optim.SGD):\n"
        "    pass\n"
    )
    folder = tmp_path / "conf" / "optimizer"
    folder.mkdir(parents=True)
    for name in ("Raises", "Works"):
        (folder / f"{name.lower()}.yaml").write_text(
            f"name: {name.lower()}\n_target_: mine_test_optimizers.{name}\n_partial_: true\n"
            "lr: 0.05\nweight_decay: 0.0\n"
        )
    return f"hydra.searchpath=[file://{tmp_path / 'conf'}]"


@pytest.mark.slow
def test_run_that_raises_is_recorded_and_the_others_finish(
    study, runs, broken_optimizer, monkeypatch, tmp_path
):
    monkeypatch.syspath_prepend(str(tmp_path))
    result = study(broken_optimizer, "optimizer=sgd,raises,works", "trainer.max_epochs=1")
    assert result.exit_code == 1
    record = record_of(runs()["raises-seed0"])
    assert record["status"] == "failed"
    assert record["reason"] == "RuntimeError: the third step is cursed"
    assert record_of(runs()["sgd-seed0"])["status"] == "finished"
    assert record_of(runs()["works-seed0"])["status"] == "finished"
    assert re.match(rf"\s*raises-seed0 .*{record['reason']}\n", result.err)
    assert record["command"] in result.err
    assert "optimizer=raises" in record["command"]
    assert re.search(r" 1\n +raises-seed0-\w+: ", result.err)
    assert "Traceback" in (runs()["raises-seed0"] / "train.log").read_text()
    assert (runs()["sgd-seed0"].parent / "report" / "index.html").exists()

    stopped = study(
        broken_optimizer, "optimizer=raises,sgd,adam", "trainer.max_epochs=1", "on_error=stop",
        "hydra.launcher.num_processes=1",
    )  # fmt: skip
    assert stopped.exit_code == 1
    assert "adam-seed0" not in runs()


@pytest.mark.slow
def test_class_that_was_edited_since_is_reported(
    study, runs, broken_optimizer, monkeypatch, tmp_path
):
    monkeypatch.syspath_prepend(str(tmp_path))
    command = (broken_optimizer, "optimizer=sgd,works", "trainer.max_epochs=1")
    study(*command, report=False)
    assert list(record_of(runs()["works-seed0"])["own_code"]) == ["mine_test_optimizers"]
    assert record_of(runs()["sgd-seed0"])["own_code"] == {}

    with (tmp_path / "mine_test_optimizers.py").open("a") as file:
        file.write("# a better idea\n")
    _fingerprint.cache_clear()
    assert re.search(r"mine_test_optimizers .* 1 .*rerun=true\b", study(*command, report=False).out)
    plan = study(*command, "plan=true", report=False).out
    assert "mine_test_optimizers" in plan
    for again in (["rerun=true"], []):
        assert "mine_test_optimizers" not in study(*command, *again, report=False).out


def test_contradiction_in_one_run_stops_the_study_before_the_first(study, runs):
    result = study("optimizer=sgd,lbfgs", "trainer.gradient_clip_val=1")
    assert isinstance(result.exit_code, str)
    assert re.search(r"optimizer=lbfgs .*trainer\.gradient_clip_val\b", result.exit_code)
    assert runs() == {}


def test_several_devices_a_run_are_refused_in_a_study(study, runs):
    result = study("optimizer=sgd,adam", "trainer=ddp", "trainer.accelerator=cpu")
    problem = r"trainer\.strategy=ddp .*\n\nhint: .* -m\b.*scripts/report\.py"
    assert re.search(problem, str(result.exit_code))
    assert runs() == {}


def test_wrong_option_of_a_sweep_stops_the_study_before_the_first(study, runs):
    result = study("optimizer=sgd,adamm")
    assert re.search(r"(?s)optimizer=adamm\b.*\boptimizer=adam\b", result.exit_code)
    assert runs() == {}


@pytest.mark.slow
def test_diverged_run_is_in_the_report_and_makes_the_exit_code_1(study, runs):
    arguments = ("optimizer=sgd", "lr_multiplier=0.1,1,100000", "trainer.max_epochs=1")
    result = study(*arguments, "run_name=sgd-${lr_multiplier}")
    assert result.exit_code == 1
    statuses = {name: record_of(folder)["status"] for name, folder in runs().items()}
    assert statuses == {"sgd-0.1": "finished", "sgd-1": "finished", "sgd-100000": "diverged"}
    assert "diverged" in (runs()["sgd-1"].parent / "report" / "summary.csv").read_text()
    again = study(*arguments, "run_name=sgd-${lr_multiplier}")
    assert re.search(r"^3 .*\b3\b.*\bdone$", again.out, re.MULTILINE)
    assert again.exit_code == 1


def test_same_run_twice_in_one_sweep_is_trained_once(study, runs):
    result = study("seed=0,0", "trainer.max_epochs=1", report=False)
    assert result.exit_code == 0
    assert re.search(r"^1 .*/train\.log$", result.out, re.MULTILINE)


@pytest.mark.slow
def test_replicas_of_a_study_are_trained_although_the_first_seed_is_done(study, runs):
    study("seed=0", "trainer.max_epochs=1", report=False)
    result = study("num_replicas=3", "trainer.max_epochs=1", report=False)
    assert result.exit_code == 0
    assert set(runs()) == {"adam-seed0", "adam-seed1", "adam-seed2"}
    assert all(record_of(folder)["status"] == "finished" for folder in runs().values())


@pytest.mark.slow
def test_killed_replicas_are_failed_although_the_first_seed_is_done(
    study, runs, tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "killer.py").write_text(
        "import lightning, os, pathlib\n"
        "class Killer(lightning.Callback):\n"
        "    def on_train_start(self, *args):\n"
        f"        if pathlib.Path({str(tmp_path / 'now')!r}).exists():\n"
        "            os.kill(os.getpid(), 9)\n"
    )
    common = ("trainer.max_epochs=1", "+callbacks.killer._target_=killer.Killer")
    study("seed=0", *common, report=False)
    (tmp_path / "now").touch()
    result = study("num_replicas=3", *common)
    assert "signal 9" in result.out
    assert result.exit_code == 1
    statuses = {name: record_of(folder)["status"] for name, folder in runs().items()}
    assert statuses == {"adam-seed0": "finished", "adam-seed1": "failed", "adam-seed2": "failed"}


def test_sweep_whose_replicas_overlap_is_refused(study, runs):
    result = study("seed=0,1", "num_replicas=2", "trainer.max_epochs=1")
    assert re.search(r"num_replicas=2\b.*\bseed=1\b.*\n\nhint: ", str(result.exit_code))
    assert runs() == {}


@pytest.mark.slow
def test_finished_replica_is_reported_when_it_is_the_only_run(study, runs):
    study("num_replicas=2", "trainer.max_epochs=1", report=False)
    result = study("seed=1", "trainer.max_epochs=1")
    assert re.search(r"^1 .*\b1\b.*\bdone$", result.out, re.MULTILINE)
    assert str(runs()["adam-seed1"].parent / "report" / "index.html") in result.out


@pytest.mark.slow
def test_study_of_one_study_name_each_reports_each(study, runs, tmp_path):
    result = study("model=mlp", "data.batch_size=64,128", "trainer.max_epochs=1",
                 "study=batch-${data.batch_size}", "title='Of ${data.batch_size}'")  # fmt: skip
    assert result.exit_code == 0
    for size in (64, 128):
        about = (tmp_path / "outputs" / f"batch-{size}" / "study.json").read_text()
        assert json.loads(about)["title"] == f"Of {size}"
    reports = {path.parents[1].name for path in (tmp_path / "outputs").glob("*/report/index.html")}
    assert reports == {"batch-64", "batch-128"}


@pytest.mark.parametrize("name", ["a/b", "../elsewhere", "''"])
def test_study_that_is_not_a_folder_name_is_refused(name, study, tmp_path):
    result = study(f"study={name}", "trainer.max_epochs=1")
    assert re.search(rf"\bstudy .*{name}", str(result.exit_code))
    assert not list(tmp_path.rglob("steps.csv"))


@pytest.mark.parametrize(
    "option", ["num_processes=-1", "num_processes=all", "memory_per_run_gib=0"]
)
def test_launcher_option_that_makes_no_sense_is_refused(option, study):
    result = study("optimizer=sgd", f"hydra.launcher.{option}", report=False)
    assert re.search(rf"hydra\.launcher\.{option.replace('=', ' .*')}\b", str(result.exit_code))
