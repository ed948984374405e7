"""Fair sweeps in one study: what a later one keeps of an earlier one, and what then counts."""

import math
import re
from collections import Counter

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from made_records import record_run

from optlab.analysis import read_study
from optlab.report import make_report
from optlab.runs.study_file import StudyFile, TrialRow, read_study_file, write_study_file
from optlab.studies.fair_sweeper import _print_cautions
from optlab.studies.search import Search
from optlab.studies.search_space import Hyperparameter
from optlab.studies.searches import SEEDS_APART, build_override
from optlab.studies.tuning_rows import add_rows

SWEEP = (
    *("hydra/sweeper=fair", "hydra.sweeper.trials=2", "hydra.sweeper.seeds=1"),
    *("hydra.sweeper.extra_trials=0", "hydra.sweeper.finalists=0"),
)


@pytest.fixture
def sweep(tmp_path):
    """`sweep("adam", {0.1: 0.97})` notes trials by rate and accuracy; returns the tuning."""

    def noted(optimizer, accuracies, *, batch=64, seed=0, num_seeds=2):
        configuration = f"{optimizer}-{batch}"
        typed = [f"optimizer={optimizer}", f"data.batch_size={batch}"]
        lr = Hyperparameter("lr", "log", (0.001, 1.0))
        fresh = range(seed + 1, seed + 1 + num_seeds)
        one = Search(optimizer, configuration, typed, [lr], {"lr": 0.01}, [seed], fresh)
        one.trials = [
            TrialRow(
                optimizer, configuration, f"{configuration}-{rate}-{seed}",
                "diverged" if accuracy is None else "finished", typed=typed, tuning_seed=seed,
                overrides=[f"optimizer.lr={rate}"], params={"lr": rate}, val_accuracy=accuracy,
            )
            for rate, accuracy in accuracies.items()
        ]  # fmt: skip
        winner = one.winner()
        if winner:
            winner.runs = [f"{configuration}-{winner.params['lr']}-{s}" for s in fresh]
        rows = [*one.trials, *([winner] if winner else [])]
        add_rows((tmp_path, row) for row in rows)
        _print_cautions([tmp_path])
        return read_study_file(tmp_path).tuning

    return noted


def rates(tuning, part):
    return [(found.optimizer, found.params["lr"]) for found in getattr(tuning, part)]


def test_sweep_of_another_optimizer_keeps_earlier_trials_and_winners(sweep):
    sweep("adam", {0.01: 0.97, 0.1: 0.9})
    tuning = sweep("muon", {0.02: 0.98})
    assert rates(tuning, "rows") == [("adam", 0.01), ("adam", 0.1), ("muon", 0.02)]
    assert rates(tuning, "winners") == [("adam", 0.01), ("muon", 0.02)]


def test_sweep_of_the_same_configuration_replaces_its_winner_and_keeps_its_trials(sweep):
    sweep("adam", {0.01: 0.99, 0.1: 0.9})
    tuning = sweep("adam", {0.1: 0.9, 0.03: 0.98}, num_seeds=3)
    assert rates(tuning, "rows") == [("adam", 0.01), ("adam", 0.1), ("adam", 0.03)]
    (winner,) = tuning.winners
    assert winner.params == {"lr": 0.03}
    assert winner.seeds == [1, 2, 3]
    assert winner.runs == ["adam-64-0.03-1", "adam-64-0.03-2", "adam-64-0.03-3"]


def test_sweep_of_another_batch_size_is_another_configuration(sweep):
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
    assert re.search(r"^warning: sgd\b.*\b1\b", capsys.readouterr().out, re.MULTILINE)


@pytest.fixture
def made_runs(monkeypatch):
    """In place of training: records by which a rate of 0.1 is the best, 0.01 on some seeds."""

    def launch(job_overrides, initial_job_idx, *, hydra_context, config, **_):
        for overrides in job_overrides:
            composed = hydra_context.config_loader.load_sweep_config(config, list(overrides))
            best = 0.01 if composed.seed % SEEDS_APART == 2 else 0.1
            accuracy = 1 / (1 + abs(math.log10(composed.optimizer.lr / best)))
            record_run(composed, accuracy=accuracy)
        return []

    monkeypatch.setattr("optlab.studies.launcher.launch", launch)
    return launch


def counted(study):
    return sorted((run.optimizer, run.lr, run.seed) for run in study.counted_runs)


@pytest.mark.slow
def test_two_sweeps_after_ordinary_runs_count_only_the_newest_winners(
    study, made_runs, runs, tmp_path
):
    folder = tmp_path / "outputs" / "digits-mlp"
    study("optimizer=sgd", "seed=1", "optimizer.lr=0.02", report=False)
    (ordinary,) = runs().values()
    # sgd: its 0.01 and the far end of its range, 1; adam: its 0.001 and 0.1
    study(*SWEEP, "hydra.sweeper.seeds=2", "optimizer=sgd,adam", report=False)
    earlier = read_study(folder)
    assert len(earlier.tuning_runs) == 4
    assert counted(earlier) == [
        ("adam", 0.1, 1), ("adam", 0.1, 2), ("sgd", 0.01, 1), ("sgd", 0.01, 2),
    ]  # fmt: skip
    assert [run.folder for run in earlier.outside_tuning] == [ordinary]

    # Four rates: these again, the other end, and one between them that is better
    study(*SWEEP, "hydra.sweeper.trials=4", "optimizer=sgd", "title=again", report=False)
    later = read_study(folder)
    assert {run.folder for run in earlier.tuning_runs} < {run.folder for run in later.tuning_runs}
    assert len(later.tuning_runs) == 6
    assert counted(later) == [("adam", 0.1, 1), ("adam", 0.1, 2), ("sgd", 0.1, 1)]
    assert len(later.outside_tuning) == 3  # the ordinary run, and the earlier winner's
    assert later.tuning is not None
    assert [row["label"] for row in later.tuning.winners_rows()] == ["adam", "sgd"]


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


@pytest.mark.slow
def test_trials_of_a_stopped_sweep_are_no_results(study, made_runs, stopped, monkeypatch, tmp_path):
    folder = tmp_path / "outputs" / "digits-mlp"
    stopped(SystemExit(1))
    study(*SWEEP, "optimizer=sgd,adam", report=False)
    left = read_study(folder)
    assert len(left.tuning_runs) == 4
    assert left.counted_runs == ()
    assert left.tuning is not None
    assert left.tuning.rows == left.tuning.winners == ()
    assert [re.findall(r"\bsgd\b|\badam\b|\d+", each) for each in left.tuning.cautions()] == [
        ["sgd", "2"], ["adam", "2"],
    ]  # fmt: skip
    with pytest.raises(ValueError, match=rf"{folder} .*\b4 tuning\b.*\n\nhint: "):
        make_report(folder)

    monkeypatch.setattr("optlab.studies.launcher.launch", made_runs)
    study(*SWEEP, "optimizer=sgd,adam", report=False)
    assert counted(read_study(folder)) == [("adam", 0.1, 1), ("sgd", 0.01, 1)]
    assert read_study(folder).tuning.unfinished == ()


@pytest.mark.slow
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
    assert [row.params["lr"] for row in later.tuning.unfinished] == [0.001]


@pytest.mark.parametrize("before", [None, StudyFile(title="kept")])
def test_sweep_that_is_refused_leaves_no_trials(before, study, stopped, tmp_path):
    path = tmp_path / "outputs" / "digits-mlp" / "study.json"
    if before:
        write_study_file(path.parent, before)
    stopped(ValueError("a config contradicts itself"), made=False)
    result = study(*SWEEP, "optimizer=sgd", report=False)
    assert result.exit_code == "error: a config contradicts itself"
    assert (read_study_file(path.parent) if path.exists() else None) == before


def test_sweep_refuses_to_replace_a_study_file_that_it_cannot_read(study, made_runs, tmp_path):
    path = tmp_path / "outputs" / "digits-mlp" / "study.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"tuning": ')
    result = study(*SWEEP, "optimizer=sgd", report=False)
    assert re.search(rf"{path} .*\n\nhint: ", str(result.exit_code))
    assert path.read_text() == '{"tuning": '


def test_sweep_that_ends_with_an_error_after_its_trials_keeps_them(study, stopped, tmp_path):
    stopped(ValueError("of another launcher"))
    study(*SWEEP, "optimizer=sgd", report=False)
    left = read_study(tmp_path / "outputs" / "digits-mlp")
    assert (len(left.tuning_runs), left.counted_runs) == (2, ())


def test_sweep_refuses_replicas_whose_seeds_no_trial_would_name(study, made_runs, tmp_path):
    result = study(*SWEEP, "optimizer=sgd", "num_replicas=3", report=False)
    assert re.search(r"num_replicas .*\b3\b.*hydra/sweeper=fair\b", str(result.exit_code))
    assert not list(tmp_path.glob("outputs/*/*/record.json"))


@pytest.mark.slow
def test_trials_depend_only_on_the_tuning_seed(study, made_runs, tmp_path):
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


def test_value_is_read_by_hydra_as_it_is_meant():
    params = {"clip": None, "nesterov": True, "eps": 1e-10, "kind": "l'été", "betas.0": 0.9}
    overrides = OverridesParser.create().parse_overrides(
        [build_override(Hyperparameter(name, "choice", ()), params) for name in params]
    )
    assert {o.key_or_group.removeprefix("optimizer."): o.value() for o in overrides} == params


ALL_ROUNDS = ("hydra/sweeper=fair", "hydra.sweeper.trials=4", "hydra.sweeper.seeds=2")


def test_finalists_and_extra_trials_are_trials_with_an_equal_budget(study, made_runs, tmp_path):
    result = study(*ALL_ROUNDS, "optimizer=sgd,adam", report=False)
    found = read_study(tmp_path / "outputs" / "digits-mlp")
    assert found.tuning is not None
    assert found.tuning.tuning_seeds == (0, 10_000, 20_000)
    # Four and two extra on seed 0, then the best three on two more
    assert Counter((row.optimizer, row.tuning_seed) for row in found.tuning.rows) == {
        (name, seed): 6 if seed == 0 else 3
        for name in ("sgd", "adam")
        for seed in (0, 10_000, 20_000)
    }
    # 0.1 is at the end of adam's range, so its extra trials were beyond
    beyond = [row.params["lr"] for row in found.tuning.rows if row.params["lr"] > 0.1]
    assert not re.search(r"^warning: .*\badam\b.*\bsgd\b", result.out, re.MULTILINE)
    assert len(beyond) >= 2
    assert {lr for _, lr, _ in counted(found)} == {0.1}
    assert [one.shared_tuning for one in found.workloads[0].configurations] == [
        (0, 10_000, 20_000)
    ] * 2


@pytest.mark.slow
def test_tuning_for_each_seed_makes_one_configuration_of_its_winners(study, made_runs, tmp_path):
    study(*ALL_ROUNDS, "hydra.sweeper.tune=each_seed", "optimizer=sgd,adam", report=False)
    found = read_study(tmp_path / "outputs" / "digits-mlp")
    (workload,) = found.workloads
    assert [(one.label, one.shared_tuning) for one in workload.configurations] == [
        ("adam", ()), ("sgd", ()),
    ]  # fmt: skip
    sgd = workload.configurations[1]
    assert [(run.seed, run.lr) for run in sgd.runs] == [(1, 0.1), (2, 0.01)]
    assert "optimizer.lr" not in sgd.config
    assert found.tuning.tuning_seeds == tuple(
        seed + 10_000 * step for step in (1, 2, 3) for seed in (1, 2)
    )
    assert not {run.seed for run in found.tuning_runs} & {run.seed for run in found.counted_runs}
    assert {row.for_seed for row in found.tuning.rows} == {1, 2}


@pytest.mark.slow
def test_sweep_that_is_stopped_in_any_round_resumes_to_the_same_file(
    study, made_runs, monkeypatch, tmp_path
):
    """Four launches: first trials, extra trials, finalists, winners on fresh seeds."""
    command = (*ALL_ROUNDS, "hydra.sweeper.tune=each_seed", "optimizer=sgd")
    study(*command, report=False)
    folder = tmp_path / "outputs" / "digits-mlp"
    whole, found = read_study_file(folder), counted(read_study(folder))
    folder.rename(tmp_path / "whole")
    for last in (1, 2, 3):
        launches = []

        def launch(*arguments, last=last, launches=launches, **options):
            if len(launches) == last:
                raise SystemExit(1)
            launches.append(arguments)
            return made_runs(*arguments, **options)

        monkeypatch.setattr("optlab.studies.launcher.launch", launch)
        study(*command, report=False)
        assert len(launches) == last
        assert read_study(folder).counted_runs == ()
    monkeypatch.setattr("optlab.studies.launcher.launch", made_runs)
    study(*command, report=False)
    assert read_study_file(folder) == whole
    assert counted(read_study(folder)) == found


def test_halving_promotes_a_third_to_three_times_the_epochs(study, made_runs, tmp_path):
    study(
        *SWEEP, "optimizer=sgd", "hydra.sweeper.trials=9", "hydra.sweeper.schedule=halving",
        "trainer.max_epochs=10", report=False,
    )  # fmt: skip
    found = read_study(tmp_path / "outputs" / "digits-mlp")
    assert [row.num_epochs for row in found.tuning.rows] == [1] * 9 + [3] * 3 + [None]
    best = found.tuning.rows[-1]
    assert {best.params["lr"], *(row.params["lr"] for row in found.tuning.rows[9:12])} < {
        row.params["lr"] for row in found.tuning.rows[:9]
    }
    assert {run.record.config["trainer"]["max_epochs"] for run in found.tuning_runs} == {1, 3, 10}
    (run,) = found.counted_runs
    assert (run.seed, run.lr) == (1, best.params["lr"])
    assert run.record.config["trainer"]["max_epochs"] == 10


@pytest.mark.slow
def test_group_and_its_options_are_tuned_where_its_choice_has_them(study, made_runs, tmp_path):
    spaces = tmp_path / "more" / "search_space"
    spaces.mkdir(parents=True)
    (spaces / "mine.yaml").write_text(
        "lr: {log: [1.0e-3, 1.0]}\n"
        "scheduler: {choice: [constant, cosine, warmup_cosine]}\n"
        "scheduler.final_factor: {linear: [0.0, 0.5]}\n"
        "data.batch_size: {choice: [32, 64]}\n"
    )
    study(
        *ALL_ROUNDS, "hydra.sweeper.space=all", "hydra.sweeper.trials=12", "optimizer=sgd",
        "optimizer.name=mine", "hydra.sweeper.tune=each_seed",
        "--config-dir", str(spaces.parent), report=False,
    )  # fmt: skip
    found = read_study(tmp_path / "outputs" / "digits-mlp")
    schedules = Counter(row.params["scheduler"] for row in found.tuning.rows)
    assert schedules.keys() == {"constant", "cosine", "warmup_cosine"}
    for row in found.tuning.rows:
        assert ("scheduler.final_factor" in row.params) == (row.params["scheduler"] != "constant")
    by_hash = {run.hash: run.record.config for run in found.tuning_runs}
    for row in found.tuning.rows:
        config = by_hash[row.hash]
        assert config["scheduler"]["name"] == row.params["scheduler"]
        assert config["data"]["batch_size"] == row.params["data.batch_size"]
    (one,) = found.workloads[0].configurations
    assert (one.label, len(one.runs)) == ("mine", 2)


def test_space_with_an_option_that_the_optimizer_lacks_is_refused(study, tmp_path):
    (tmp_path / "search_space").mkdir()
    (tmp_path / "search_space" / "mine.yaml").write_text("learning_rate: {log: [0.1, 1.0]}")
    result = study(*SWEEP, "optimizer.name=mine", "--config-dir", str(tmp_path), report=False)
    problem = r"mine\.yaml: learning_rate .*\boptimizer\.learning_rate\b"
    assert re.search(problem, str(result.exit_code))


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        (["optimizer.lr=0.1"], r"optimizer\.lr .*hydra/sweeper=fair\b"),
        (["data.num_folds=3", "data.fold=0,1"], r"hydra/sweeper=fair\b.*data\.fold\b"),
    ],
)
def test_sweep_refuses_what_it_would_override_or_tune_apart(typed, problem, study):
    result = study(*SWEEP, "optimizer=sgd", *typed, report=False)
    assert re.search(problem, str(result.exit_code))


@pytest.mark.slow
def test_plan_counts_the_fresh_seeds_that_an_effect_needs(study):
    plan = study(
        *("optimizer=sgd,adam", "hydra/sweeper=fair", "hydra.sweeper.trials=3"),
        *("plan=true", "effect=0.5"),
        report=False,
    )
    assert plan.exit_code == 0, plan
    text = " ".join(plan.out.split())
    (needed,) = re.findall(r"\b0\.5 points .*?hydra\.sweeper\.seeds=\d+\b", text)
    assert "2 configurations" in needed  # the winners, not the trials
