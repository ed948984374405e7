"""Which runs belong together, and what a configuration is called."""

import json
import re

import pytest
from made_studies import workload_of

from optlab.analysis.labels import label_configurations
from optlab.analysis.records import read_run
from optlab.analysis.study import read_study
from optlab.analysis.workloads import flatten, group_runs, refuse_mixture
from optlab.report import make_report

pytestmark = pytest.mark.usefixtures("blank_pictures")


def labels(writer):
    return [
        configuration.label
        for workload in read_study(writer.folder).workloads
        for configuration in workload.configurations
    ]


def test_seeds_and_folds_of_one_configuration_are_one_configuration(new_study):
    writer = new_study()
    for seed in (0, 1):
        for fold in (0, 1):
            writer.run("adam", seed, fold=fold)
    workload = workload_of(writer)
    (configuration,) = workload.configurations
    assert configuration.label == "adam"
    assert [(run.seed, run.fold) for run in configuration.runs] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_optimizers_are_named_by_their_name_though_their_rates_differ(five_optimizers):
    assert labels(five_optimizers) == ["adagrad", "adam", "adamw", "rmsprop", "sgd"]


def test_lr_multiplier_joins_the_label_in_numeric_order(new_study):
    writer = new_study()
    for optimizer in ("adam", "sgd"):
        for scale in (10.0, 0.1, 1.0):
            writer.run(optimizer, config={"lr_multiplier": scale})
    assert labels(writer) == [
        "adam · lr_multiplier=0.1",
        "adam · lr_multiplier=1",
        "adam · lr_multiplier=10",
        "sgd · lr_multiplier=0.1",
        "sgd · lr_multiplier=1",
        "sgd · lr_multiplier=10",
    ]


def test_own_option_is_named_only_where_it_varies_within_the_optimizer(new_study):
    writer = new_study()
    writer.run("adam", config={"optimizer.lr": 0.001})
    writer.run("adam", config={"optimizer.lr": 0.01})
    writer.run("sgd", config={"optimizer.lr": 0.1})
    assert labels(writer) == ["adam · lr=0.001", "adam · lr=0.01", "sgd"]


@pytest.mark.parametrize("num_failed", [1, 3])
def test_run_that_failed_before_it_saw_the_data_is_counted_as_failed(num_failed, new_study):
    writer = new_study()
    writer.run("sgd")
    for seed in range(num_failed):
        unseen = {"dataset": {"name": "mnist", "title": None}, "model": {"name": "mlp"}}
        writer.run("adam", seed, status="failed", reason="killed", record=unseen, curves=False)
    workload = workload_of(writer)
    assert [(len(g.finished), len(g.failed)) for g in workload.configurations] == [
        (0, num_failed),
        (1, 0),
    ]
    assert workload.left_out == ()
    assert workload.num_classes == 10
    assert make_report(writer.folder).is_file()


def test_names_that_a_study_gave_its_runs_are_the_labels(new_study):
    writer = new_study()
    for seed in (0, 1):
        for name, lr in (("careful", 0.001), ("bold", 0.1)):
            config = {"optimizer.lr": lr, "trainer.max_epochs": int(1000 * lr)}
            writer.run("adam", seed, config=config, record={"run_name": f"{name}-seed{seed}"})
    assert labels(writer) == ["bold", "careful"]


def test_names_that_do_not_tell_configurations_apart_are_no_labels(new_study):
    writer = new_study()
    for size in (32, 128):
        writer.run("adam", config={"data.batch_size": size}, record={"run_name": "mine-seed0"})
    assert labels(writer) == ["batch_size=32", "batch_size=128"]


def test_default_names_do_not_hide_what_else_differs(new_study):
    writer = new_study()
    writer.run("adam", config={"data.batch_size": 32})
    writer.run("sgd", config={"data.batch_size": 128})
    assert labels(writer) == ["adam · batch_size=32", "sgd · batch_size=128"]


def test_without_varying_optimizer_the_keys_that_vary_are_the_name(new_study):
    writer = new_study()
    for size in (32, 128):
        writer.run("adam", config={"data.batch_size": size})
    assert labels(writer) == ["batch_size=32", "batch_size=128"]


def test_group_option_is_named_without_the_options_that_come_with_it(new_study):
    writer = new_study()
    writer.run("adam")
    writer.run("adam", config={"scheduler": {"name": "cosine", "final_factor": 0.0}})
    assert labels(writer) == ["constant", "cosine"]


def test_list_values_are_readable(new_study):
    writer = new_study()
    writer.run("adam", config={"model.hidden": [32, 32]})
    writer.run("adam", config={"model.hidden": [256, 128, 64]})
    assert labels(writer) == ["hidden=[32, 32]", "hidden=[256, 128, 64]"]


def test_many_varying_keys_are_compared_with_a_baseline(new_study):
    writer = new_study()
    base = {"model.activation": "relu", "model.dropout": 0.0, "model.batch_norm": False}
    writer.run(config=base)
    writer.run(config={**base, "model.activation": "gelu"})
    writer.run(config={**base, "model.dropout": 0.3})
    writer.run(config={**base, "model.batch_norm": True})
    assert sorted(labels(writer)) == [
        "activation=gelu",
        "baseline",
        "batch_norm=true",
        "dropout=0.3",
    ]


def test_part_that_is_null_elsewhere_is_a_switch(new_study):
    writer = new_study()
    writer.run("adam", config={"callbacks.early_stopping": None})
    writer.run("adam", config={"callbacks.early_stopping": {"patience": 5, "mode": "max"}})
    assert labels(writer) == ["early_stopping=off", "early_stopping=on"]


def test_tuned_option_is_no_part_of_the_label():
    configs = [
        {"optimizer.name": "adam", "lr_multiplier": 1.0},
        {"optimizer.name": "sgd", "lr_multiplier": 10.0},
    ]
    assert label_configurations(configs) == ["adam · lr_multiplier=1", "sgd · lr_multiplier=10"]
    assert label_configurations(configs, nuisance=["lr_multiplier"]) == ["adam", "sgd"]


def test_an_optimizer_of_its_own_names_a_configuration_and_the_exception_is_said():
    schedules = {"adam": "linear", "sgd": "linear", "schedule_free": "constant"}
    configs = [
        {"optimizer.name": optimizer, "scheduler.name": schedule}
        for optimizer, schedule in schedules.items()
    ]
    assert label_configurations(configs) == ["adam", "sgd", "schedule_free · scheduler=constant"]


def test_keys_with_one_last_part_keep_their_group():
    configs = [
        {"optimizer.name": "adam", "data.size": 1, "model.size": 1},
        {"optimizer.name": "adam", "data.size": 2, "model.size": 2},
    ]
    assert label_configurations(configs)[0] == "data.size=1 · model.size=1"


def test_datasets_and_networks_are_workloads_of_their_own(new_study):
    writer = new_study()
    for data, model in (("mnist", "mlp"), ("mnist", "cnn"), ("cifar10", "cnn")):
        for optimizer in ("adam", "sgd"):
            writer.run(optimizer, data=data, model=model)
    workloads = read_study(writer.folder).workloads
    assert [workload.name for workload in workloads] == ["cifar10-cnn", "mnist-cnn", "mnist-mlp"]
    assert workloads[0].title == "CIFAR-10, cnn"


def test_one_configuration_for_each_network_compares_the_networks(new_study):
    writer = new_study()
    writer.run("adam", model="mlp")
    writer.run("adam", model="cnn", config={"optimizer.lr": 0.0001})
    workload = workload_of(writer)
    assert workload.name == "mnist"
    assert [configuration.label for configuration in workload.configurations] == ["cnn", "mlp"]


def test_older_protocol_is_left_out_by_name(new_study):
    writer = new_study()
    writer.run("adam", 0, record={"protocol_version": 2})
    old = writer.run("sgd", 0, record={"protocol_version": 1})
    workload = workload_of(writer)
    assert [configuration.label for configuration in workload.configurations] == ["adam"]
    ((run, reason),) = workload.left_out
    assert run.folder == old
    assert re.fullmatch(r"protocol .*\b1\b.*\b2", reason)


def test_failed_run_of_a_newer_protocol_does_not_leave_the_others_out(new_study):
    writer = new_study()
    finished = [writer.run("adam", seed) for seed in (0, 1)]
    failed = writer.run("sgd", status="failed", reason="killed", record={"protocol_version": 2})
    workload = workload_of(writer)
    assert [run.folder for run in workload.runs] == finished
    ((run, reason),) = workload.left_out
    assert run.folder == failed
    assert re.fullmatch(r"protocol .*\b2\b.*\b1", reason)


def test_failed_runs_without_others_are_a_workload_of_the_newest_protocol(new_study):
    writer = new_study()
    for version in (1, 2):
        writer.run("sgd", version, status="failed", record={"protocol_version": version})
    workload = workload_of(writer)
    assert [run.record.protocol_version for run in workload.runs] == [2]


def in_folder(writer, root, optimizer, seed, title=None, **options):
    """A run on an image folder; its record has what `identity` keeps of it."""
    folder = writer.run(
        optimizer, seed, data="image_folder", model="cnn", config={"data.root": root}, **options
    )
    record = json.loads((folder / "record.json").read_text())
    record["dataset"]["title"] = title or root.rpartition("/")[2]
    (folder / "record.json").write_text(json.dumps(record))
    return folder


def test_image_folders_are_workloads_of_their_own(new_study):
    writer = new_study("image_folder-cnn")
    for seed in (0, 1, 2):
        for optimizer in ("adam", "sgd"):
            in_folder(writer, "/d/cats", optimizer, seed, checksum="aaaa")
    for optimizer in ("adam", "sgd"):
        in_folder(writer, "/d/dogs", optimizer, 0, checksum="bbbb")
    workloads = read_study(writer.folder).workloads
    assert [(p.name, p.title, len(p.runs), p.left_out) for p in workloads] == [
        ("image_folder-cnn-1", "cats, cnn", 6, ()),
        ("image_folder-cnn-2", "dogs, cnn", 2, ()),
    ]
    assert [configuration.label for configuration in workloads[0].configurations] == ["adam", "sgd"]
    page = make_report(writer.folder)
    assert (page.parent / "loss_comparison-image_folder-cnn-2.png").is_file()


def test_image_folders_of_one_title_are_numbered(new_study):
    writer = new_study("image_folder-cnn")
    for root in ("/one/pictures", "/two/pictures"):
        in_folder(writer, root, "adam", 0, checksum=root)
    titles = [workload.title for workload in read_study(writer.folder).workloads]
    assert titles == ["pictures, cnn · #1", "pictures, cnn · #2"]


def test_copies_of_an_image_folder_are_one_workload(new_study):
    writer = new_study("image_folder-cnn")
    for seed in (0, 1):
        in_folder(writer, "cats", "sgd", seed, checksum="aaaa")  # of an archive
        in_folder(writer, "/mine/cats", "adam", seed, checksum="aaaa")
    in_folder(writer, "/mine/cats", "sgd", 2, checksum="aaaa")
    workload = workload_of(writer)
    found = {one.label: len(one.runs) for one in workload.configurations}
    assert found == {"adam": 2, "sgd": 3}


def test_image_folder_that_has_changed_stays_one_workload_with_its_failed_runs(new_study):
    writer = new_study("image_folder-cnn")
    for seed in (0, 1):
        in_folder(writer, "/d/cats", "adam", seed, checksum="aaaa")
    in_folder(writer, "/d/cats", "adam", 2, checksum="", status="failed", curves=False)
    changed = in_folder(writer, "/d/cats", "sgd", 0, checksum="bbbb")
    workload = workload_of(writer)
    assert (workload.name, workload.title) == ("image_folder-cnn", "cats, cnn")
    assert [run.folder for run, _ in workload.left_out] == [changed]
    assert len(workload.runs) == 3


def test_other_images_are_left_out_by_name(new_study):
    writer = new_study()
    for seed in (0, 1):
        writer.run("adam", seed)
    other = writer.run("sgd", 0, checksum="aaaabbbbccccdddd")
    workload = workload_of(writer)
    ((run, reason),) = workload.left_out
    assert run.folder == other
    assert re.search(r"checksum .*\baaaabbbbcccc\b.*\b5f1d0c9a77e2$", reason)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"record": {"protocol_version": 7}}, r"protocol .*\(1, 7\)"),
        ({"checksum": "ffff"}, r"checksums .*\(5f1d0c9a77e2, ffff\)"),
    ],
)
def test_mixture_is_refused(new_study, change, message):
    writer = new_study()
    runs = [read_run(writer.run("adam", 0)), read_run(writer.run("adam", 1, **change))]
    with pytest.raises(ValueError, match=message):
        refuse_mixture(runs)
    refuse_mixture(runs[:1])


def test_no_runs_are_no_workloads():
    assert group_runs([]) == []


def test_flatten_keeps_lists_and_empty_dicts():
    assert flatten({"a": {"b": [1, 2], "c": {}}, "d": None}) == {
        "a.b": [1, 2],
        "a.c": {},
        "d": None,
    }
