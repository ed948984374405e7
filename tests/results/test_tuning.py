"""What the report makes of a tuning: which runs count, and who is told apart from whom."""

import json

import numpy as np
import pytest

from optlab.results import make_report
from optlab.results.figures import LRSensitivity
from optlab.results.rates import rates_of_tuning
from optlab.results.study import OUTSIDE_THE_TUNING, read_study
from optlab.results.tuning import Tuning


def row(optimizer="adam", lr=0.01, accuracy=0.97, **values):
    """One trial; without `contestant` and `typed` as an older file has it."""
    found = {"optimizer": optimizer, "hash": f"{optimizer}-{lr}-{values}", "params": {"lr": lr}}
    status = "diverged" if accuracy is None else "finished"
    return {**found, "tuning_seed": 0, "val_accuracy": accuracy, "status": status, **values}


def batch(size, lr, accuracy, **values):
    typed = ["optimizer=adam", f"data.batch_size={size}"]
    return row("adam", lr, accuracy, contestant=f"batch-{size}", typed=typed, **values)


@pytest.fixture
def two_batch_sizes():
    rows = [
        batch(32, 0.001, 0.90),
        batch(32, 0.01, None),
        batch(128, 0.001, 0.80),
        batch(128, 0.01, 0.98),
        row("sgd", 0.01, 0.96, contestant="sgd", typed=["optimizer=sgd", "data.batch_size=32"]),
        row("sgd", 0.1, 0.97, contestant="sgd", typed=["optimizer=sgd", "data.batch_size=32"]),
    ]
    return Tuning.from_meta({"rows": rows, "winners": [rows[0], rows[3], rows[5]]})


def test_settings_of_one_optimizer_are_told_apart_and_never_averaged(two_batch_sizes):
    points, knob, joined = rates_of_tuning(two_batch_sizes)
    assert (knob, joined) == ("lr", True)
    picture = LRSensitivity(points, knob)
    assert picture.lines() == {
        "adam · data.batch_size=32": [(0.001, [0.90], 0), (0.01, [], 1)],
        "adam · data.batch_size=128": [(0.001, [0.80], 0), (0.01, [0.98], 0)],
        "sgd": [(0.01, [0.96], 0), (0.1, [0.97], 0)],
    }
    colors = [lines[0].get_color() for lines in picture.plot().artists["lines"]]
    assert len(set(colors)) == 3
    assert "mean over seeds" not in " ".join(text.get_text() for text in picture.ax.texts)


def test_winners_table_counts_the_trials_of_each_setting(two_batch_sizes):
    table = two_batch_sizes.winners_table().set_index("label")
    assert list(table.index) == ["adam · data.batch_size=128", "adam · data.batch_size=32", "sgd"]
    assert list(table["num_trials"]) == [2, 2, 2]
    assert list(table["num_diverged"]) == [0, 1, 0]
    assert list(table["optimizer"]) == ["adam", "adam", "sgd"]


def test_older_file_knows_contestants_by_their_optimizer():
    tuning = Tuning.from_meta(
        {
            "trials": 2,
            "tuning_seed": 0,
            "seeds": [1, 2],
            "rows": [row("adam", lr) for lr in (0.1, 0.2)],
            "winners": [row("adam", 0.1) | {"edge": ["lr"]}],
            "warnings": [
                "adam: the winning lr = 0.1 lies at the edge of conf/search_space/adam.yaml"
            ],
        }
    )
    assert (tuning.tuning_seeds, tuning.seeds) == ((0,), (1, 2))
    assert [(r["label"], r["num_trials"]) for r in tuning.winners_rows()] == [("adam", 2)]
    assert tuning.cautions() == list(tuning.warnings)  # the edge is told once
    assert not tuning.knows_fresh_runs


def test_equal_words_for_different_configs_do_not_give_one_label():
    rows = [row(contestant=name, typed=["optimizer=adam"]) for name in ("before", "after")]
    tuning = Tuning.from_meta({"rows": rows})
    assert [tuning.label(r) for r in rows] == ["adam", "adam · #2"]


def test_cautions_name_edges_failed_tunings_and_unequal_budgets():
    rows = [row("adam", 0.1), row("adam", 0.2), row("sgd", 0.1, None)]
    tuning = Tuning.from_meta({"rows": rows, "winners": [rows[0] | {"edge": ["lr"]}]})
    edge, failed, budgets = tuning.cautions()
    assert edge.startswith("adam: the winner's lr lies at the edge of its search space")
    assert failed == "sgd: none of 1 trials came to a result"
    assert budgets.endswith("trials: adam 2 and sgd 1")


@pytest.fixture
def tuned(new_study):
    """A study of adam and sgd, tuned, after ordinary runs; the writer and what was written."""
    writer = new_study()
    ordinary = [writer.run(name, seed) for name in ("adam", "sgd", "adagrad") for seed in (0, 1)]
    rows, winners, trials, fresh = [], [], [], []
    for name, best in (("adam", 0.003), ("sgd", 0.3)):
        for lr in (best, 10 * best):
            accuracy = 0.99 if lr == best else 0.9
            trials.append(writer.run(name, 0, config={"optimizer.lr": lr}, accuracy=accuracy))
            rows.append(row(name, lr, accuracy, hash=hash_of(trials[-1]), contestant=name))
        again = [writer.run(name, seed, config={"optimizer.lr": best}) for seed in (1, 2)]
        fresh += again
        runs = {"seeds": [1, 2], "runs": [hash_of(folder) for folder in again]}
        winners.append(rows[-2] | runs)
    writer.meta(tuning={"rows": rows, "winners": winners})
    return writer, ordinary, trials, fresh


def hash_of(folder):
    return json.loads((folder / "record.json").read_text())["hash"]


def folders(runs):
    return sorted(run.folder for run in runs)


def test_only_fresh_runs_of_winners_count_beside_a_tuning(tuned):
    writer, ordinary, trials, fresh = tuned
    study = read_study(writer.folder)
    assert folders(study.tuning_runs) == sorted(trials)
    assert folders(study.counted_runs) == sorted(fresh)
    (problem,) = study.problems
    assert [group.label for group in problem.groups] == ["adam", "sgd"]
    assert folders(run for run, _ in problem.left_out) == sorted(ordinary)
    assert {reason for _, reason in problem.left_out} == {OUTSIDE_THE_TUNING}


def test_report_lists_what_a_tuning_left_out(tuned):
    writer, ordinary, _, _ = tuned
    page = make_report(writer.folder)
    text = page.read_text()
    assert "The figures above are of these fresh runs alone. Left out and listed" in text
    failures = (page.parent / "failures.csv").read_text()
    assert all(f"{folder.name},left out,beside a tuning only" in failures for folder in ordinary)


def test_problem_that_was_not_tuned_counts_as_ever(tuned):
    writer, _, _, fresh = tuned
    other = [writer.run("adam", seed, data="cifar10") for seed in (0, 1)]
    study = read_study(writer.folder)
    assert folders(study.counted_runs) == sorted([*fresh, *other])
    by_name = {problem.name: problem for problem in study.problems}
    assert by_name["cifar10-mlp"].left_out == ()
    assert len(by_name["mnist-mlp"].left_out) == 6


def test_trial_on_an_earlier_tuning_seed_is_none_of_the_fresh_runs(tuned):
    writer, _, trials, fresh = tuned
    meta = json.loads((writer.folder / "study.json").read_text())
    earlier = row("adam", 0.003, hash=hash_of(fresh[0]), contestant="adam", tuning_seed=1)
    meta["tuning"]["rows"].append(earlier)
    writer.meta(tuning=meta["tuning"])
    study = read_study(writer.folder)
    assert folders(study.tuning_runs) == sorted([*trials, fresh[0]])
    assert folders(study.fresh_runs) == folders(study.counted_runs) == sorted(fresh[1:])


@pytest.mark.parametrize("older", [True, False], ids=["older file", "before the fresh runs"])
def test_report_does_not_claim_fresh_runs_that_it_cannot_tell(new_study, older):
    writer = new_study()
    folder = writer.run("adam", 1)
    found = row("adam", 0.001, hash="0123456789abcdef")
    winner = found if older else found | {"seeds": [1], "runs": ["fedcba9876543210"]}
    writer.meta(tuning={"tuning_seed": 0, "rows": [found], "winners": [winner]})
    assert folders(read_study(writer.folder).counted_runs) == [folder]
    text = make_report(writer.folder).read_text()
    assert "of all runs that are no trials" in text
    assert "fresh runs alone" not in text


def test_rates_of_repeated_tunings_keep_their_seeds():
    rows = [row("adam", 0.01, 0.9, tuning_seed=seed) for seed in (0, 7)]
    points, _, _ = rates_of_tuning(Tuning.from_meta({"rows": rows}))
    assert [point.seed for point in points] == [0, 7]
    ((_, accuracies, _),) = LRSensitivity(points).lines()["adam"]
    assert np.allclose(accuracies, 0.9)
    assert len(accuracies) == 2


def test_class_that_was_edited_after_its_trials_is_told(tuned):
    writer, _, trials, fresh = tuned

    def written_by(version, folders):
        for folder in folders:
            record = json.loads((folder / "record.json").read_text())
            record["own_code"] = {"mine": version} if "adam" in folder.name else {}
            (folder / "record.json").write_text(json.dumps(record))

    written_by("1f", [*trials, *fresh])
    assert read_study(writer.folder).warnings == ()
    written_by("2e", fresh)
    (warning,) = read_study(writer.folder).warnings
    assert warning.startswith(
        "A class was edited between the trials and the runs of adam: its rate"
    )


def test_problem_that_was_not_tuned_is_reported_as_without_a_tuning(tuned):
    writer, *_ = tuned
    for optimizer in ("adam", "sgd"):
        for lr in (0.001, 0.01):
            writer.run(optimizer, 0, model="cnn", config={"optimizer.lr": lr})
    study = read_study(writer.folder)
    assert {problem.name: study.is_tuned(problem) for problem in study.problems} == {
        "mnist-cnn": False,
        "mnist-mlp": True,
    }
    names = {path.name for path in make_report(writer.folder).parent.iterdir()}
    assert "lr_sensitivity-mnist-cnn.png" in names
    assert "lr_sensitivity-mnist-mlp.png" not in names


def test_tuning_that_cannot_be_read_is_told_before_the_figures(five_optimizers):
    five_optimizers.meta(tuning={"rows": 5})
    study = read_study(five_optimizers.folder)
    assert study.tuning is None
    (warning,) = study.warnings
    assert warning.startswith("study.json has a tuning that cannot be read")
    make_report(study.folder)
