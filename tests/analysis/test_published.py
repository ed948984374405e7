"""Published numbers next to ours: what is compared, and which rows are refused."""

import json
import re

import pandas as pd
import pytest

from optlab.analysis import read_study
from optlab.analysis.published import published_rows, published_table
from optlab.report import make_report

pytestmark = pytest.mark.usefixtures("blank_pictures")

GOOD = {"label": "ours too", "value": 0.97, "match": {"optimizer.name": "adam"}}


@pytest.mark.parametrize(
    "row",
    [
        {"label": "x", "value": None},
        {"value": 0.9},
        {"label": "x", "value": "97 %"},
        {"label": "x", "value": 0.9, "match": 5},
        0.9,
    ],
)
def test_row_without_a_figure_is_left_out_and_named(five_optimizers, row):
    published = {"source": "a paper", "metric": "test/accuracy", "rows": [row, GOOD]}
    five_optimizers.meta(published=published)
    study = read_study(five_optimizers.folder)
    assert [found.label for found in published_rows(study.file.published, study.workloads)] == [
        "ours too"
    ]
    ((path, reason),) = study.damaged
    assert path.name == "study.json"
    assert re.match(r"row 1 .*\bpublished\b.*\blabel\b.*\bvalue\b.*\bmatch\b", reason)
    assert reason.endswith(json.dumps(row))
    failures = pd.read_csv(make_report(study.folder).parent / "failures.csv")
    assert failures.reason.tolist() == [reason]


@pytest.mark.parametrize("published", [None, {}])
def test_study_without_published_figures_has_no_rows(five_optimizers, published):
    five_optimizers.meta(published=published)
    study = read_study(five_optimizers.folder)
    assert published_rows(study.file.published, study.workloads) == []
    assert study.damaged == ()


@pytest.mark.parametrize("published", [[GOOD | {"value": None}], "x", {"metric": "test/accuracy"}])
def test_published_of_odd_shape_does_not_cost_the_report(five_optimizers, published):
    five_optimizers.meta(published=published)
    assert make_report(five_optimizers.folder).is_file()


def test_unknown_metric_is_refused(five_optimizers):
    five_optimizers.meta(published={"metric": "val/loss", "rows": [GOOD]})
    study = read_study(five_optimizers.folder)
    with pytest.raises(ValueError, match=r"published\.metric .*'val/loss'.* test/accuracy, val/"):
        published_rows(study.file.published, study.workloads)


def test_of_several_configurations_that_match_the_best_by_validation_counts(new_study):
    writer = new_study()
    for seed in range(3):
        writer.run("adam", seed, accuracy=0.97, test_accuracy=0.96, config={"lr_multiplier": 1.0})
        writer.run("adam", seed, accuracy=0.98, test_accuracy=0.95, config={"lr_multiplier": 0.1})
    writer.meta(published={"metric": "test/accuracy", "rows": [GOOD | {"note": "their best"}]})
    study = read_study(writer.folder)
    (row,) = published_rows(study.file.published, study.workloads)
    assert row.last.mean == pytest.approx(0.95)  # validation decides, test reports
    assert re.match(r"their best; 2 .*\bvalidation\b", row.note)
    assert "0.1" in row.matched
    table = published_table([row]).iloc[0]
    assert (table.published, table.num_runs) == (0.97, 3)
    assert table.difference == pytest.approx(row.best.mean - 0.97)
