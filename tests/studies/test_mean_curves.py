"""Means over seeds as TensorBoard runs."""

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from optlab.analysis import read_study
from optlab.analysis.mean_curves import CURVES, mean_curves
from optlab.studies.mean_curves import write_mean_curves


@pytest.fixture
def study(train):
    """Two seeds of SGD, one of Adam; the second seed ends an epoch earlier."""
    runs = [
        train("optimizer=sgd", "seed=0", "logger=tensorboard", "trainer.max_epochs=2"),
        train("optimizer=sgd", "seed=1", "logger=tensorboard", "trainer.max_epochs=2"),
        train("optimizer=adam", "seed=0", "logger=tensorboard", "trainer.max_epochs=2"),
    ]
    lines = (runs[1].folder / "epochs.csv").read_text().splitlines(keepends=True)
    (runs[1].folder / "epochs.csv").write_text("".join(lines[:-1]))
    return runs, read_study(runs[0].folder.parent)


def test_means_are_those_of_the_epochs_that_all_seeds_reached(study):
    runs, found = study
    (sgd,) = [group for group in found.workloads[0].configurations if group.optimizer == "sgd"]
    means = mean_curves(sgd.finished)
    assert list(means.index) == [1]
    first, second = (run.epochs for run in runs[:2])
    for curve in CURVES:
        assert means[curve][1] == pytest.approx((first[curve][0] + second[curve][0]) / 2)


def test_only_configurations_with_several_seeds_get_a_mean_run(study):
    _, found = study
    (folder,) = write_mean_curves(found)
    assert folder.relative_to(found.folder).as_posix() == "mean/sgd_2_runs"
    events = EventAccumulator(str(folder)).Reload()
    assert sorted(events.Tags()["scalars"]) == sorted(CURVES)
    ((step, value),) = [(each.step, each.value) for each in events.Scalars("val/accuracy")]
    (sgd,) = [group for group in found.workloads[0].configurations if group.optimizer == "sgd"]
    assert step == 21
    assert value == pytest.approx(mean_curves(sgd.finished)["val/accuracy"][1])
    assert [path.name for path in write_mean_curves(found)] == ["sgd_2_runs"]  # replaced
    assert len(list(folder.glob("events.*"))) == 1


def test_study_without_tensorboard_gets_no_mean_run(train):
    for seed in (0, 1):
        run = train(f"seed={seed}", "trainer.max_epochs=1", "+trainer.limit_train_batches=2")
    assert write_mean_curves(read_study(run.folder.parent)) == []
    assert not (run.folder.parent / "mean").exists()
