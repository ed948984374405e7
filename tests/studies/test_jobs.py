"""Jobs of a study: which runs they stand for, and which of them have to be checked."""

import pytest
from made_records import make_record

from optlab.runs.record import write_record
from optlab.studies.jobs import Job, compose_jobs, make_plan
from optlab.studies.launcher import _one_job_per_configuration, launch_order


@pytest.fixture
def make_job(make_config):
    def make(*overrides):
        return Job(list(overrides), make_config(*overrides))

    return make


def test_job_is_done_when_each_of_its_replicas_has_a_result(make_job):
    alone = make_job("seed=3")
    assert [folder for _, folder in alone.runs] == [alone.folder]
    assert not alone.done
    write_record(alone.folder, make_record())
    assert make_job("seed=3").done
    assert not make_job("seed=3", "rerun=true").done
    both = make_job("seed=3", "num_replicas=2")
    assert [config.seed for config, _ in both.runs] == [3, 4]
    assert [folder for _, folder in both.runs] == [alone.folder, make_job("seed=4").folder]
    assert not both.done


@pytest.mark.parametrize(
    ("common", "checked"),
    [
        ([], [0]),
        (["run_name=mine-${seed}", "callbacks=full", "logger=csv"], [0]),
        (["ckpt_path=seed${seed}.ckpt"], [0, 1, 2]),
        (["model.hidden_sizes=[1,${seed}]"], [0, 1, 2]),
        (["+data.extra=${run_name}"], [0, 1, 2]),
    ],
    ids=str,
)
def test_seeds_are_checked_once_unless_more_depends_on_them(common, checked, make_job):
    jobs = [make_job(*common, f"seed={seed}") for seed in range(3)]
    assert [job.config.seed for job in _one_job_per_configuration(jobs)] == checked


def test_other_options_and_negative_seeds_are_checked_by_themselves(make_job):
    jobs = [make_job(f"lr_multiplier={lr}", f"seed={seed}") for lr in (1, 2) for seed in (1, 0, -1)]
    found = [
        (job.config.lr_multiplier, job.config.seed) for job in _one_job_per_configuration(jobs)
    ]
    assert found == [(1, 1), (1, -1), (2, 1), (2, -1)]


def test_runs_start_seed_by_seed(make_job):
    typed = [(name, seed) for name in ("sgd", "adam") for seed in (0, 1)]
    jobs = [make_job(f"optimizer={name}", f"seed={seed}") for name, seed in typed]
    started = [(job.config.optimizer.name, job.config.seed) for job in launch_order(jobs)]
    assert started == [("sgd", 0), ("adam", 0), ("sgd", 1), ("adam", 1)]


def test_plan_shows_each_run_by_what_not_all_have(make_job):
    jobs = [make_job("data=digits", f"optimizer={name}", "seed=5") for name in ("sgd", "adam")]
    assert [run.overrides for run in make_plan(jobs).runs] == ["optimizer=sgd", "optimizer=adam"]


def test_sweep_without_runs_is_refused(make_config):
    with pytest.raises(ValueError, match=r"sweep\b.*\n\nhint: .*\bglob\("):
        next(compose_jobs(None, make_config(), [], 0))
