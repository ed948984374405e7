"""The data of interactive curves, and what comes with them."""

import numpy as np
import pytest
from made_studies import workload_of

from optlab.plots import interactive
from optlab.plots.interactive import curves_data
from optlab.plots.palette import styles_by_label


def data_of(writer):
    workload = workload_of(writer)
    configurations = workload.configurations
    found = curves_data(configurations, styles_by_label(configurations))
    return workload, {quantity["title"]: quantity for quantity in found}


def test_lines_are_means_over_seeds_with_band_and_knots(new_study):
    writer = new_study()
    for seed in range(3):
        writer.run("sgd", seed)
    workload, found = data_of(writer)
    assert list(found) == ["training loss", "validation loss", "validation accuracy"]
    assert found["validation accuracy"]["percent"]
    (line,) = found["validation accuracy"]["lines"]
    assert (line["name"], line["color"]) == ("SGD with momentum", "#D55E00")
    epochs = [run.epochs for run in workload.runs]
    mean = np.mean([table["val/accuracy"] for table in epochs], axis=0)
    assert line["y"] == pytest.approx(mean.tolist(), rel=1e-4)
    assert line["step"] == epochs[0]["step"].tolist()
    assert all(
        low <= y <= high <= 1
        for low, y, high in zip(*map(line.get, ("low", "y", "high")), strict=True)
    )
    seconds = np.mean([table["train_time_s"] for table in epochs], axis=0)
    assert line["knots"][-1] == pytest.approx([line["step"][-1], len(mean), seconds[-1]], rel=1e-4)


def test_long_lines_are_means_over_several_steps_and_say_so(new_study, monkeypatch):
    monkeypatch.setattr(interactive, "MOST_POINTS", 20)
    writer = new_study()
    writer.run("adam")
    workload, found = data_of(writer)
    steps = workload.runs[0].steps
    every = -(-len(steps) // 20)
    (line,) = found["training loss"]["lines"]
    assert len(line["y"]) <= 20
    assert line["y"][0] == pytest.approx(steps["train/loss"][:every].mean(), rel=1e-4)
    assert line["step"][0] == pytest.approx(steps["step"][:every].mean(), rel=1e-4)
    assert {"name": "mean", "count": every} in found["training loss"]["notes"]


def test_diverged_run_is_a_line_of_its_own_under_the_same_name(new_study):
    writer = new_study()
    writer.run("adam", 0)
    writer.run("adam", 1, status="diverged")
    _, found = data_of(writer)
    lines = found["training loss"]["lines"]
    assert [(line["name"], line["diverged"]) for line in lines] == [("Adam", False), ("Adam", True)]
    assert found["training loss"]["notes"] == [{"name": "diverged"}]


def test_runs_without_curves_have_no_quantity(new_study):
    writer = new_study()
    folder = writer.run("adam")
    for file in ("steps.csv", "epochs.csv"):
        (folder / file).unlink()
    assert data_of(writer)[1] == {}


def test_library_comes_with_its_license():
    script, module = interactive.scripts()
    assert "(v1.6.32)" in script[:80]
    assert "v1.6.32"[1:] in interactive.__doc__
    assert "MIT License" in (interactive.STATIC / "LICENSE.uPlot").read_text()
    assert "</script" not in script + module
