"""The report of a tuned study: which runs count, and which configurations are separate."""

import json
import re

import pandas as pd
import pytest
from made_records import tuned_file

from optlab.analysis.learning_rates import lr_points_of_tuning
from optlab.analysis.next_step import next_step
from optlab.analysis.study import OUTSIDE_THE_TUNING, read_study
from optlab.analysis.summary import summarize
from optlab.analysis.tuning import Tuning
from optlab.analysis.verdict import make_verdict
from optlab.report import make_report

pytestmark = pytest.mark.usefixtures("blank_pictures")


def row(optimizer="adam", lr=0.01, accuracy=0.97, **values):
    """One trial."""
    found = {"optimizer": optimizer, "configuration": optimizer, "params": {"lr": lr}}
    found["hash"] = f"{optimizer}-{lr}-{values}"
    status = "diverged" if accuracy is None else "finished"
    return {**found, "tuning_seed": 0, "val_accuracy": accuracy, "status": status, **values}


def batch(size, lr, accuracy, **values):
    typed = ["optimizer=adam", f"data.batch_size={size}"]
    return row("adam", lr, accuracy, configuration=f"batch-{size}", typed=typed, **values)


@pytest.fixture
def two_batch_sizes():
    rows = [
        batch(32, 0.001, 0.90),
        batch(32, 0.01, None),
        batch(128, 0.001, 0.80),
        batch(128, 0.01, 0.98),
        row("sgd", 0.01, 0.96, configuration="sgd", typed=["optimizer=sgd", "data.batch_size=32"]),
        row("sgd", 0.1, 0.97, configuration="sgd", typed=["optimizer=sgd", "data.batch_size=32"]),
    ]
    return Tuning.from_file(tuned_file(rows, [rows[0], rows[3], rows[5]]))


def test_configurations_of_one_optimizer_have_labels_of_their_own(two_batch_sizes):
    points, option, joined = lr_points_of_tuning(two_batch_sizes)
    assert (option, joined) == ("lr", True)
    assert [(point.label, point.learning_rate, point.val_accuracy) for point in points] == [
        ("adam · data.batch_size=32", 0.001, 0.90),
        ("adam · data.batch_size=32", 0.01, None),
        ("adam · data.batch_size=128", 0.001, 0.80),
        ("adam · data.batch_size=128", 0.01, 0.98),
        ("sgd", 0.01, 0.96),
        ("sgd", 0.1, 0.97),
    ]


def test_winners_count_the_trials_of_each_configuration(two_batch_sizes):
    columns = ("label", "num_trials", "num_diverged", "optimizer")
    assert [tuple(row[c] for c in columns) for row in two_batch_sizes.winners_rows()] == [
        ("adam · data.batch_size=128", 2, 0, "adam"),
        ("adam · data.batch_size=32", 2, 1, "adam"),
        ("sgd", 2, 0, "sgd"),
    ]


def test_equal_words_for_different_configs_do_not_give_one_label():
    rows = [row(configuration=name, typed=["optimizer=adam"]) for name in ("before", "after")]
    tuning = Tuning.from_file(tuned_file(rows))
    assert [tuning.label(r) for r in tuning.rows] == ["adam", "adam · #2"]


def test_cautions_name_edges_failed_tunings_and_unequal_budgets():
    rows = [row("adam", 0.1), row("adam", 0.2), row("sgd", 0.1, None)]
    tuning = Tuning.from_file(tuned_file(rows, [rows[0] | {"edge": ["lr"]}]))
    edge, failed, budgets = tuning.cautions()
    assert re.match(r"adam: .*\blr\b.*\bedge\b", edge)
    assert re.match(r"sgd: none .*\b1\b", failed)
    assert budgets.endswith(": adam 2 and sgd 1")


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
            rows.append(row(name, lr, accuracy, hash=hash_of(trials[-1]), configuration=name))
        again = [writer.run(name, seed, config={"optimizer.lr": best}) for seed in (1, 2)]
        fresh += again
        runs = {"seeds": [1, 2], "runs": [hash_of(folder) for folder in again]}
        runs["tuning_seeds"] = [0]
        winners.append(rows[-2] | runs)
    writer.meta(tuning={"rows": rows, "winners": winners})
    return writer, ordinary, trials, fresh


def hash_of(folder):
    return json.loads((folder / "record.json").read_text())["hash"]


def folders(runs):
    return sorted(run.folder for run in runs)


def test_only_fresh_runs_of_winners_count_next_to_a_tuning(tuned):
    writer, ordinary, trials, fresh = tuned
    study = read_study(writer.folder)
    assert folders(study.tuning_runs) == sorted(trials)
    assert folders(study.counted_runs) == sorted(fresh)
    (workload,) = study.workloads
    assert [one.label for one in workload.configurations] == ["adam", "sgd"]
    assert folders(run for run, _ in workload.left_out) == sorted(ordinary)
    assert {reason for _, reason in workload.left_out} == {OUTSIDE_THE_TUNING}


def test_winners_of_each_seed_are_one_configuration_that_more_seeds_cost_trials(tuned):
    writer, _, trials, fresh = tuned
    meta = json.loads((writer.folder / "study.json").read_text())
    (shared,) = {winner["tuning_seed"] for winner in meta["tuning"]["winners"]}
    once = read_study(writer.folder)
    (remark,) = _tuning_remarks(once)
    assert re.search(rf"\bseed {shared}\b", remark)
    # Of each optimizer, another learning rate won for seed 2
    other = [writer.run(name, 2, config={"optimizer.lr": 0.01}) for name in ("adam", "sgd")]
    winners = [
        row(name, lr, hash=hash_of(folder), configuration=name, for_seed=seed, num_trials=4)
        | {"seeds": [seed], "runs": [hash_of(run)], "tuning_seeds": [7]}
        for name, lr, folder, runs in (
            ("adam", 0.003, trials[0], (fresh[0], other[0])),
            ("sgd", 0.3, trials[2], (fresh[2], other[1])),
        )
        for seed, run in zip((1, 2), runs, strict=True)
    ]
    writer.meta(tuning={**meta["tuning"], "winners": winners})
    study = read_study(writer.folder)
    (workload,) = study.workloads
    assert [(one.label, len(one.runs)) for one in workload.configurations] == [
        ("adam", 2), ("sgd", 2),
    ]  # fmt: skip
    assert {one.key for one in workload.configurations} == {"adam", "sgd"}
    assert _tuning_remarks(study) == []
    step = next_step(summarize(workload), is_tuned=True)
    assert step.num_runs == 2 * 3 * (1 + 4)  # optimizers, seeds up to five, runs


def _tuning_remarks(study):
    (workload,) = study.workloads
    remarks = make_verdict(summarize(workload), is_tuned=True).remarks
    return [remark for remark in remarks if "hydra.sweeper.tune=each_seed" in remark]


def _tuning_paragraph(page, seeds):
    """The paragraph of a report that names the fresh seeds of a tuning."""
    (paragraph,) = re.findall(rf"<p>([^<]*\({seeds}\)[^<]*)</p>", page.read_text())
    return paragraph


def test_report_lists_what_a_tuning_left_out(tuned):
    writer, ordinary, _, _ = tuned
    page = make_report(writer.folder)
    paragraph = _tuning_paragraph(page, "1, 2")
    assert paragraph.count("fresh") == 2  # the seeds, and the runs that the figures are of
    assert re.search(r"\b6\b", paragraph.rpartition("fresh")[2])
    failures = pd.read_csv(page.parent / "failures.csv")
    assert set(failures.reason) == {OUTSIDE_THE_TUNING}
    assert sorted(failures.folder) == sorted(folder.name for folder in ordinary)


def test_report_of_a_tuning_is_of_fresh_seeds_and_warns_at_the_edge(tuned):
    writer, *_ = tuned
    tuning = json.loads((writer.folder / "study.json").read_text())["tuning"]
    tuning["rows"].append(row("adam", 30.0, None, configuration="adam"))
    tuning["winners"][0]["edge"] = ["lr"]
    writer.meta(tuning=tuning)
    page = make_report(writer.folder)
    table = pd.read_csv(page.parent / "summary.csv")
    assert table.label.tolist() == ["adam", "sgd"]
    assert table.num_finished.tolist() == [2, 2]
    assert table.val_accuracy.max() < 0.985  # not the lucky 0.99 of the trials
    assert re.search(r"<li>adam: .*\blr\b.*\bedge\b", page.read_text())
    winners = pd.read_csv(page.parent / "tuning_winners.csv").set_index("optimizer")
    assert winners.settings["adam"] == "lr=0.003"
    assert winners.num_diverged["adam"] == 1
    assert winners.at_edge_of_space.fillna("").to_dict() == {"adam": "lr", "sgd": ""}
    assert (page.parent / "lr_sensitivity.png").exists()


def test_workload_that_was_not_tuned_counts_in_full(tuned):
    writer, _, _, fresh = tuned
    other = [writer.run("adam", seed, data="cifar10") for seed in (0, 1)]
    study = read_study(writer.folder)
    assert folders(study.counted_runs) == sorted([*fresh, *other])
    by_name = {workload.name: workload for workload in study.workloads}
    assert by_name["cifar10-mlp"].left_out == ()
    assert len(by_name["mnist-mlp"].left_out) == 6


def test_trial_on_an_earlier_tuning_seed_is_none_of_the_fresh_runs(tuned):
    writer, _, trials, fresh = tuned
    meta = json.loads((writer.folder / "study.json").read_text())
    earlier = row("adam", 0.003, hash=hash_of(fresh[0]), configuration="adam", tuning_seed=1)
    meta["tuning"]["rows"].append(earlier)
    writer.meta(tuning=meta["tuning"])
    study = read_study(writer.folder)
    assert folders(study.tuning_runs) == sorted([*trials, fresh[0]])
    assert folders(study.fresh_runs) == folders(study.counted_runs) == sorted(fresh[1:])


def test_report_does_not_claim_fresh_runs_before_there_are_any(new_study):
    writer = new_study()
    folder = writer.run("adam", 1)
    found = row("adam", 0.001, hash="0123456789abcdef")
    winner = found | {"seeds": [1], "runs": ["fedcba9876543210"]}
    writer.meta(tuning={"tuning_seed": 0, "rows": [found], "winners": [winner]})
    assert folders(read_study(writer.folder).counted_runs) == [folder]
    assert _tuning_paragraph(make_report(writer.folder), "1").count("fresh") == 1  # the seeds


def test_class_that_was_edited_after_its_trials_is_reported(tuned):
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
    assert re.search(r"\badam\b.*rerun=true", warning)
    assert "sgd" not in warning


def test_workload_that_was_not_tuned_is_reported_as_without_a_tuning(tuned):
    writer, *_ = tuned
    for optimizer in ("adam", "sgd"):
        for lr in (0.001, 0.01):
            writer.run(optimizer, 0, model="cnn", config={"optimizer.lr": lr})
    study = read_study(writer.folder)
    assert {workload.name: study.is_tuned(workload) for workload in study.workloads} == {
        "mnist-cnn": False,
        "mnist-mlp": True,
    }
    names = {path.name for path in make_report(writer.folder).parent.iterdir()}
    assert "lr_sensitivity-mnist-cnn.png" in names
    assert "lr_sensitivity-mnist-mlp.png" not in names


def test_tuning_that_cannot_be_read_is_reported_before_the_figures(five_optimizers):
    five_optimizers.meta(tuning={"rows": 5})
    study = read_study(five_optimizers.folder)
    assert study.tuning is None
    (warning,) = study.warnings
    assert re.match(r"study\.json .*tuning\.rows .*\b5\b", warning)
    make_report(study.folder)
