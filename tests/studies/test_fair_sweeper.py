"""Fair sweeps in one study: what a later one keeps of an earlier one, and what then counts."""

import math
import re

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from made_records import make_record

from optlab.analysis import read_study
from optlab.report import make_report
from optlab.runs.record import OptimizerFacts, write_record
from optlab.runs.study_file import StudyFile, TrialRow, read_study_file, write_study_file
from optlab.studies.fair_sweeper import Contestant, _as_overrides, _warn, _write
from optlab.studies.search_space import Hyperparameter
from optlab.training.identity import identity, run_dir, run_hash


@pytest.fixture
def sweep(tmp_path):
    """`sweep("adam", {0.1: 0.97})` notes trials by rate and accuracy; returns the tuning."""

    def noted(optimizer, accuracies, *, batch=64, seed=0, num_seeds=2):
        contestant = f"{optimizer}-{batch}"
        typed = [f"optimizer={optimizer}", f"data.batch_size={batch}"]
        lr = Hyperparameter("lr", "log", (0.001, 1.0))
        trials = {
            tmp_path / f"none-{rate}": TrialRow(
                optimizer, contestant, f"{contestant}-{rate}-{seed}",
                "diverged" if accuracy is None else "finished", typed=typed, tuning_seed=seed,
                overrides=[f"optimizer.lr={rate}"], params={"lr": rate}, val_accuracy=accuracy,
            )
            for rate, accuracy in accuracies.items()
        }  # fmt: skip
        one = Contestant(typed, contestant, optimizer, tmp_path, [lr], [], trials)
        winner = one.winner()
        if winner:
            fresh = range(seed + 1, seed + 1 + num_seeds)
            one.fresh = {s: f"{contestant}-{winner.params['lr']}-{s}" for s in fresh}
        _warn(_write([one]))
        return read_study_file(tmp_path).tuning

    return noted


def rates(tuning, part):
    return [(found.optimizer, found.params["lr"]) for found in getattr(tuning, part)]


def test_sweep_of_another_optimizer_keeps_earlier_trials_and_winners(sweep):
    sweep("adam", {0.01: 0.97, 0.1: 0.9})
    tuning = sweep("muon", {0.02: 0.98})
    assert rates(tuning, "rows") == [("adam", 0.01), ("adam", 0.1), ("muon", 0.02)]
    assert rates(tuning, "winners") == [("adam", 0.01), ("muon", 0.02)]


def test_sweep_of_the_same_contestant_replaces_its_winner_and_keeps_its_trials(sweep):
    sweep("adam", {0.01: 0.99, 0.1: 0.9})
    tuning = sweep("adam", {0.1: 0.9, 0.03: 0.98}, num_seeds=3)
    assert rates(tuning, "rows") == [("adam", 0.01), ("adam", 0.1), ("adam", 0.03)]
    (winner,) = tuning.winners
    assert winner.params == {"lr": 0.03}
    assert winner.seeds == [1, 2, 3]
    assert winner.runs == ["adam-64-0.03-1", "adam-64-0.03-2", "adam-64-0.03-3"]


def test_sweep_of_another_batch_size_is_another_contestant(sweep):
    sweep("adam", {0.01: 0.97}, batch=32)
    tuning = sweep("adam", {0.1: 0.98}, batch=128)
    assert [winner.typed[1] for winner in tuning.winners] == [
        "data.batch_size=32",
        "data.batch_size=128",
    ]


def test_trials_on_another_tuning_seed_keep_theirs(sweep):
    sweep("adam", {0.01: 0.97}, seed=0)
    tuning = sweep("adam", {0.01: 0.97}, seed=7)
    assert [found.tuning_seed for found in tuning.rows] == [0, 7]


def test_sweep_without_a_result_warns_and_leaves_the_earlier_winner(sweep, capsys):
    sweep("adam", {0.03: 0.97})
    assert "warning" not in capsys.readouterr().out
    tuning = sweep("sgd", {0.1: None})
    assert rates(tuning, "winners") == [("adam", 0.03)]
    assert "warning: sgd: none of 1 trials" in capsys.readouterr().out


@pytest.fixture
def made_runs(monkeypatch):
    """In place of training: records by which a rate of 0.01 or thereabouts is the best."""

    def launch(job_overrides, initial_job_idx, *, hydra_context, config, **_):
        for overrides in job_overrides:
            composed = hydra_context.config_loader.load_sweep_config(config, list(overrides))
            accuracy = 1 / (1 + abs(math.log10(composed.optimizer.lr / 0.01)))
            optimizer = OptimizerFacts(composed.optimizer.name, lr=composed.optimizer.lr)
            record = make_record(
                accuracy=accuracy, study="made", run_name="made", hash=run_hash(composed),
                seed=composed.seed, config=identity(composed), optimizer=optimizer,
            )  # fmt: skip
            write_record(run_dir(composed), record)
        return []

    monkeypatch.setattr("optlab.studies.launcher.launch", launch)
    return launch


def counted(study):
    return sorted((run.optimizer, run.lr, run.seed) for run in study.counted_runs)


def test_two_sweeps_after_ordinary_runs_count_the_newest_winners_alone(
    study, made_runs, runs, tmp_path
):
    folder = tmp_path / "outputs" / "digits-mlp"
    study("optimizer=sgd", "seed=1", "optimizer.lr=0.02", report=False)
    (ordinary,) = runs().values()
    # sgd: 0.001 to 1, adam: 1e-4 to 0.1, so of two rates one end each
    sizes = ("hydra.sweeper.trials=2", "hydra.sweeper.seeds=2")
    study("hydra/sweeper=fair", *sizes, "optimizer=sgd,adam", report=False)
    earlier = read_study(folder)
    assert len(earlier.tuning_runs) == 4
    assert counted(earlier) == [
        ("adam", 0.1, 1), ("adam", 0.1, 2), ("sgd", 0.001, 1), ("sgd", 0.001, 2),
    ]  # fmt: skip
    assert [run.folder for run in earlier.outside_tuning] == [ordinary]

    # Three rates: both ends again, and one between them that is better
    sizes = ("hydra.sweeper.trials=3", "hydra.sweeper.seeds=1")
    study("hydra/sweeper=fair", *sizes, "optimizer=sgd", "title=again", report=False)
    later = read_study(folder)
    assert {run.folder for run in earlier.tuning_runs} < {run.folder for run in later.tuning_runs}
    assert len(later.tuning_runs) == 5
    assert counted(later) == [("adam", 0.1, 1), ("adam", 0.1, 2), ("sgd", 0.0316228, 1)]
    assert len(later.outside_tuning) == 3  # the ordinary run, and the earlier winner's
    assert later.tuning is not None
    assert [row["label"] for row in later.tuning.winners_rows()] == ["adam", "sgd"]


SWEEP = ("hydra/sweeper=fair", "hydra.sweeper.trials=2", "hydra.sweeper.seeds=1")


@pytest.fixture
def stopped(monkeypatch, made_runs):
    """`stopped(SystemExit())` has the next launches make their runs and then end with that."""

    def stop(with_error, *, made=True):
        def launch(*arguments, **options):
            if made:
                made_runs(*arguments, **options)
            raise with_error

        monkeypatch.setattr("optlab.studies.launcher.launch", launch)

    return stop


def test_trials_of_a_stopped_sweep_are_no_results(study, made_runs, stopped, monkeypatch, tmp_path):
    folder = tmp_path / "outputs" / "digits-mlp"
    stopped(SystemExit(1))
    study(*SWEEP, "optimizer=sgd,adam", report=False)
    left = read_study(folder)
    assert len(left.tuning_runs) == 4
    assert left.counted_runs == ()
    assert left.tuning is not None
    assert left.tuning.rows == left.tuning.winners == ()
    assert "sgd: 2 trials without" in left.tuning.cautions()[0]
    with pytest.raises(ValueError, match=r"no finished run \(4 tuning\)"):
        make_report(folder)

    monkeypatch.setattr("optlab.studies.launcher.launch", made_runs)
    study(*SWEEP, "optimizer=sgd,adam", report=False)
    assert counted(read_study(folder)) == [("adam", 0.1, 1), ("sgd", 0.001, 1)]
    assert read_study(folder).tuning.unfinished == ()


def test_stopped_sweep_leaves_earlier_winners_and_what_is_known_of_trials(
    study, made_runs, stopped, tmp_path
):
    folder = tmp_path / "outputs" / "digits-mlp"
    study(*SWEEP, "optimizer=sgd,adam", report=False)
    earlier = read_study(folder)
    stopped(SystemExit(1))
    three = [argument.replace("trials=2", "trials=3") for argument in SWEEP]
    study(*three, "optimizer=sgd", report=False)
    later = read_study(folder)
    assert counted(later) == counted(earlier)
    assert len(later.tuning_runs) == 5
    assert later.tuning.winners == earlier.tuning.winners
    assert len(later.tuning.rows) == 4
    assert [row.params["lr"] for row in later.tuning.unfinished] == [0.0316228]


@pytest.mark.parametrize("before", [None, StudyFile(title="kept")])
def test_sweep_that_is_refused_leaves_no_trials(before, study, stopped, tmp_path):
    path = tmp_path / "outputs" / "digits-mlp" / "study.json"
    if before:
        write_study_file(path.parent, before)
    stopped(ValueError("a config contradicts itself"), made=False)
    said = study(*SWEEP, "optimizer=sgd", report=False)
    assert said.exit_code == "error: a config contradicts itself"
    assert (read_study_file(path.parent) if path.exists() else None) == before


def test_sweep_refuses_to_replace_a_study_file_that_it_cannot_read(study, made_runs, tmp_path):
    path = tmp_path / "outputs" / "digits-mlp" / "study.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"tuning": ')
    said = study(*SWEEP, "optimizer=sgd", report=False)
    assert f"{path} cannot be read" in str(said.exit_code)
    assert "hint: restore it" in str(said.exit_code)
    assert path.read_text() == '{"tuning": '


def test_sweep_that_ends_with_an_error_after_its_trials_keeps_them(study, stopped, tmp_path):
    stopped(ValueError("of another launcher"))
    study(*SWEEP, "optimizer=sgd", report=False)
    left = read_study(tmp_path / "outputs" / "digits-mlp")
    assert (len(left.tuning_runs), left.counted_runs) == (2, ())


def test_sweep_refuses_replicas_whose_seeds_no_trial_would_name(study, made_runs, tmp_path):
    said = study(*SWEEP, "optimizer=sgd", "num_replicas=3", report=False)
    assert "num_replicas is 3, but hydra/sweeper=fair chooses the seeds itself" in str(
        said.exit_code
    )
    assert not list(tmp_path.glob("outputs/*/*/record.json"))


def test_settings_follow_from_the_tuning_seed(study, made_runs, tmp_path):
    def tried(name, tuning_seed):
        outputs = f"outputs='{tmp_path / name}'"
        seed = f"hydra.sweeper.tuning_seed={tuning_seed}"
        study(*SWEEP, "hydra.sweeper.space=all", seed, outputs, report=False)
        (folder,) = (tmp_path / name).iterdir()
        tuning = read_study(folder).tuning
        assert tuning is not None
        return [row.params for row in tuning.rows]

    first = tried("first", 3)
    assert {"lr", "eps", "betas.1"} < set(first[0])  # options besides the learning rate
    assert tried("again", 3) == first
    assert tried("other", 4) != first


def test_values_of_a_setting_are_read_by_hydra_as_they_are_meant():
    params = {"clip": None, "nesterov": True, "eps": 1e-10, "kind": "l'été", "betas.0": 0.9}
    parser = OverridesParser.create()
    overrides = parser.parse_overrides(_as_overrides(params))
    assert {o.key_or_group.removeprefix("optimizer."): o.value() for o in overrides} == params


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["optimizer.lr=0.1"], "optimizer.lr is what hydra/sweeper=fair tunes"),
        (["data.num_folds=3", "data.fold=0,1"], "would tune on each data.fold by itself"),
    ],
)
def test_sweep_refuses_what_it_would_override_or_tune_apart(typed, told, study):
    said = study(*SWEEP, "optimizer=sgd", *typed, report=False)
    assert told in str(said.exit_code)


def test_plan_counts_the_fresh_seeds_that_an_effect_needs(study):
    plan = study(
        *("optimizer=sgd,adam", "hydra/sweeper=fair", "hydra.sweeper.trials=3"),
        *("plan=true", "effect=0.5"),
        report=False,
    )
    assert plan.exit_code == 0, plan
    said = " ".join(plan.out.split())
    assert said.count("To find a difference of 0.5 points") == 1  # of the winners, not of trials
    assert "2 configurations need" in said
    assert re.search(r"hydra\.sweeper\.seeds=\d+\. ", said)
