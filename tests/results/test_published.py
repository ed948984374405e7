"""Published figures beside ours: what is compared, and what is said of a row that cannot be."""

import pytest

from optlab.results import make_report, read_study
from optlab.results.published import published_rows

GOOD = {"label": "ours too", "value": 0.97, "match": {"optimizer.name": "adam"}}


@pytest.mark.parametrize(
    "row", [{"label": "x", "value": None}, {"value": 0.9}, {"label": "x", "value": "97 %"}, 0.9]
)
def test_row_without_a_figure_is_left_out_and_named(five_optimizers, row):
    published = {"source": "a paper", "metric": "test/accuracy", "rows": [row, GOOD]}
    five_optimizers.meta(published=published)
    study = read_study(five_optimizers.folder)
    assert [found.label for found in published_rows(study.meta, study.problems)] == ["ours too"]
    ((path, reason),) = study.damaged
    assert path.name == "study.json"
    assert reason.startswith("row 1 of published needs a label and a number as its value: ")
    page = make_report(study.folder)
    assert "row 1 of published needs a label" in (page.parent / "failures.csv").read_text()


@pytest.mark.parametrize("published", [None, {}])
def test_study_without_published_figures_has_no_rows(five_optimizers, published):
    five_optimizers.meta(published=published)
    study = read_study(five_optimizers.folder)
    assert published_rows(study.meta, study.problems) == []
    assert study.damaged == ()


@pytest.mark.parametrize("published", [[GOOD | {"value": None}], "x", {"metric": "test/accuracy"}])
def test_published_of_odd_shape_does_not_cost_the_report(five_optimizers, published):
    five_optimizers.meta(published=published)
    assert make_report(five_optimizers.folder).is_file()


def test_unknown_metric_is_refused(five_optimizers):
    five_optimizers.meta(published={"metric": "val/loss", "rows": [GOOD]})
    study = read_study(five_optimizers.folder)
    with pytest.raises(ValueError, match=r"published\.metric of study\.json is 'val/loss'"):
        published_rows(study.meta, study.problems)
