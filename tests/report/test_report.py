"""The report as a folder: complete, self-contained, repeatable, honest about gaps."""

import csv
import html.parser
import json
import re
import subprocess
import sys

import pandas as pd
import pytest

from optlab.analysis import read_study
from optlab.analysis.published import published_rows
from optlab.report import make_report, workload_content

pytestmark = pytest.mark.usefixtures("blank_pictures")


class Page(html.parser.HTMLParser):
    """Tags, links, headings and the names of files to download, of a page."""

    def __init__(self, text):
        super().__init__()
        self.open, self.headings, self.sources, self.links = [], [], [], []
        self.ids, self.scripts, self.files = [], [], []
        self.feed(text)
        assert self.open == [], "unclosed tags"

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "link", "img", "br", "line"):
            self.open.append(tag)
        if tag == "script":
            assert "src" not in dict(attrs)
            self.scripts.append(dict(attrs).get("type"))
        if "id" in dict(attrs):
            self.ids.append(dict(attrs)["id"])
        if tag == "img":
            self.sources.append(dict(attrs)["src"])
            assert dict(attrs)["alt"]
        if tag == "a":
            self.links.append(dict(attrs)["href"])
            self.files += [value for name, value in attrs if name == "download"]
        if tag in ("h1", "h2", "h3"):
            self.headings.append("")

    def handle_endtag(self, tag):
        if tag != "line":
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("h1", "h2", "h3"):
            self.headings[-1] += data


def _pictures(name):
    return [f"{name}.{suffix}" for suffix in ("png", "svg", "pdf")]


def test_report_of_five_optimizers_is_complete(five_optimizers):
    command = "python train.py -m optimizer=sgd,adam,rmsprop,adagrad,adamw"
    five_optimizers.meta(commands=[command])
    index = make_report(five_optimizers.folder)
    assert index == five_optimizers.folder / "report" / "index.html"
    names = {path.name for path in index.parent.iterdir()}
    assert names == {
        "index.html",
        "verdict.json",
        "summary.csv",
        "summary.md",
        "summary.tex",
        "runs.csv",
        *_pictures("loss_comparison"),
        *_pictures("val_accuracy"),
        *_pictures("time_to_target"),
        "time_to_target.csv",
        *_pictures("paired_differences"),
        "paired_differences.csv",
        "per_class.csv",
        *_pictures("per_class_f1"),
        *_pictures("confusion_matrices"),
        "confusion_matrices.csv",
        *_pictures("generalization_gap"),
        *_pictures("training_cost"),
        *_pictures("pareto"),
        "environment.csv",
    }
    text = index.read_text()
    page = Page(text)
    assert page.headings[0] == "mnist-mlp"
    assert len(page.headings) == 13
    assert list(dict.fromkeys(name.partition(".")[0] for name in page.files)) == [
        "paired_differences",
        "summary",
        "loss_comparison",
        "val_accuracy",
        "time_to_target",
        "per_class_f1",
        "per_class",
        "confusion_matrices",
        "generalization_gap",
        "training_cost",
        "pareto",
        "environment",
        "runs",
        "verdict",
    ]
    assert command in text
    verdict, picture = text.index('id="verdict"'), text.index("<figure>")
    assert text.index("<nav") < verdict < picture < text.index("<table>")


def test_page_is_self_contained(five_optimizers):
    index = make_report(five_optimizers.folder)
    text = index.read_text()
    page = Page(text)
    assert len(page.sources) == 9
    assert all(source.startswith("data:image/svg+xml;base64,") for source in page.sources)
    pictures = {link for link in page.links if link.endswith(".svg")}  # a script fills these in
    assert len(pictures) == len(page.sources)
    assert all(link.startswith(("data:", "#")) for link in {*page.links} - pictures)
    anchors = {link[1:] for link in page.links if link.startswith("#")}
    assert anchors == {each for each in page.ids if not each.startswith("curves-data")}
    assert page.scripts == ["application/json", None, "module"]
    assert not re.search(r"(src|href)=.?(https?:|//)|url\(|@import", text)


@pytest.mark.slow
def test_same_records_give_the_same_bytes(five_optimizers, drawn_pictures):
    folder = make_report(five_optimizers.folder).parent
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    make_report(five_optimizers.folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first


def test_newer_report_removes_what_no_longer_applies_and_nothing_else(new_study):
    writer = new_study()
    writer.run("adam", config={"lr_multiplier": 1.0})
    folder = writer.run("adam", config={"lr_multiplier": 10.0})
    report = make_report(writer.folder).parent
    assert (report / "lr_sensitivity.png").exists()
    (report / "my_notes.md").write_text("mine")
    (folder / "record.json").unlink()
    make_report(writer.folder)
    assert not (report / "lr_sensitivity.png").exists()
    assert not (report / "paired_differences.csv").exists()
    assert (report / "my_notes.md").exists()


def test_markup_in_names_is_shown_and_not_run(new_study):
    writer = new_study()
    writer.run("<b>adam", status="diverged", reason="<script>alert(1)</script>")
    writer.run("sgd")
    text = make_report(writer.folder).read_text()
    assert "<script>alert" not in text
    assert "&lt;script&gt;" in text
    assert "<b>" not in text


def test_diverged_failed_damaged_and_unfinished_runs_are_all_named(new_study, drawn_pictures):
    writer = new_study()
    writer.run("adam")
    writer.run("sgd", status="diverged", reason="loss is NaN", broken_after=40)
    writer.run("rmsprop", status="failed", reason="RuntimeError: CUDA", curves=False)
    writer.run("adamw", record={"format": 9})
    (writer.folder / "nadam-seed0-12345678" / "checkpoints").mkdir(parents=True)
    text = make_report(writer.folder).read_text()
    assert re.search(r"loss is NaN \(.*\b40\b", text)
    assert "RuntimeError: CUDA" in text
    assert re.search(r"format\b.* 9\b", text)
    assert "nadam-seed0-12345678" in text
    assert "python train.py optimizer=sgd seed=0" in text
    assert "SGD with momentum (1 of 1)." in text


def test_report_where_nothing_finished_still_says_why(new_study, drawn_pictures):
    writer = new_study()
    for optimizer in ("sgd", "adam"):
        writer.run(optimizer, status="diverged", reason="loss is NaN", broken_after=3)
    index = make_report(writer.folder)
    text = index.read_text()
    assert text.count("loss is NaN (") == 2
    assert "summary.csv" in Page(text).files
    (workload,) = json.loads((index.parent / "verdict.json").read_text())["workloads"]
    assert workload["best"] is None


def test_runs_without_curves_are_reported_without_pictures_of_them(new_study):
    writer = new_study()
    for optimizer in ("sgd", "adam"):
        writer.run(optimizer, curves=False)
    index = make_report(writer.folder)
    assert not (index.parent / "loss_comparison.png").exists()
    notes = pd.read_csv(index.parent / "failures.csv")
    assert set(notes.what) == {"curves"}
    assert notes.reason.str.contains("steps.csv", regex=False).sum() == 2


def test_profile_is_of_those_that_ran_on_all_workloads(new_study):
    writer = new_study("both")
    for data in ("mnist", "cifar10"):
        for optimizer in ("adam", "sgd"):
            writer.run(optimizer, data=data)
    writer.run("rmsprop", data="mnist")
    page = make_report(writer.folder).read_text()
    (profile,) = re.findall(r"performance_profile\.svg</a>.*?</section>", page, re.DOTALL)
    assert "RMSprop" in profile
    assert "Adam" not in profile


@pytest.mark.slow
def test_two_workloads_have_their_own_files_and_a_profile(new_study, drawn_pictures):
    writer = new_study("both")
    for data, model in (("mnist", "mlp"), ("cifar10", "cnn")):
        for optimizer in ("adam", "sgd"):
            writer.run(optimizer, data=data, model=model)
    index = make_report(writer.folder)
    names = {path.name for path in index.parent.iterdir()}
    assert {"loss_comparison-mnist-mlp.png", "loss_comparison-cifar10-cnn.png"} <= names
    assert "performance_profile.png" in names
    page = Page(index.read_text())
    assert "MNIST, mlp" in page.headings
    assert "performance_profile.svg" in page.files


def test_mixed_protocols_are_kept_apart_and_named(new_study):
    writer = new_study()
    writer.run("adam", record={"protocol_version": 2})
    writer.run("sgd", record={"protocol_version": 2})
    old = writer.run("adamw")
    index = make_report(writer.folder)
    with (index.parent / "summary.csv").open() as file:
        assert {row["label"] for row in csv.DictReader(file)} == {"adam", "sgd"}
    text = index.read_text()
    assert old.name in text
    assert re.search(r"protocol .*\b1\b.*\b2\b", text)


def publish(writer, **values):
    rows = [
        {"label": "Adam", "match": {"optimizer.name": "adam"}, "value": 0.545, "note": None},
        {"label": "Lion", "match": {"optimizer.name": "lion"}, "value": 0.55, "note": "soon"},
    ]
    writer.meta(published={"source": "a paper", "metric": "test/accuracy", "rows": rows} | values)


def test_published_numbers_are_next_to_ours(new_study):
    writer = new_study()
    for seed in range(3):
        writer.run("adam", seed, accuracy=0.56, test_accuracy=0.55)
    publish(writer)
    study = read_study(writer.folder)
    adam, lion = published_rows(study.file.published, study.workloads)
    assert adam.best is not None
    assert (adam.best.mean, adam.best.num_runs) == (pytest.approx(0.5506), 3)
    assert adam.last.mean == pytest.approx(0.55)
    assert adam.difference == pytest.approx(0.0056)
    assert lion.best is None
    index = make_report(writer.folder)
    markdown = (index.parent / "published.md").read_text().splitlines()
    assert markdown[2].startswith("| Adam | 54.50 | 55.06 ± 0.00 | 55.00 ± 0.00 | 3 | +0.56 |")
    assert re.fullmatch(r"\| Lion \| 55\.00 \| - \| - \| [a-z ]+ \| - \| soon \|", markdown[3])


def test_importing_analysis_brings_neither_torch_nor_matplotlib():
    code = (
        "import sys, optlab.analysis, optlab.plots.palette; "
        "print([m for m in ('torch', 'matplotlib', 'hydra', 'lightning', 'scipy.stats') "
        "if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_unreadable_study_json_is_reported_before_the_figures(new_study):
    writer = new_study()
    writer.run("adam", 0)
    writer.run("sgd", 0)
    (writer.folder / "study.json").write_text('{"tuning": {"rows": [')
    page = make_report(writer.folder).read_text()
    assert page.index("study.json") < page.index('id="verdict"')
    lines = (writer.folder / "report" / "summary.md").read_text().splitlines()
    (warning,) = [number for number, line in enumerate(lines) if line.startswith("> ")]
    assert "study.json" in lines[warning]
    assert warning < lines.index("## MNIST, mlp")


@pytest.mark.parametrize(("version", "is_drawn"), [(1, True), (2, False)])
def test_profile_joins_workloads_of_one_protocol_version(version, is_drawn, new_study):
    writer = new_study()
    for optimizer in ("adam", "sgd"):
        writer.run(optimizer, accuracy=0.98)
        writer.run(optimizer, accuracy=0.98, data="digits", record={"protocol_version": version})
    make_report(writer.folder)
    assert (writer.folder / "report" / "performance_profile.png").exists() is is_drawn


def test_cut_pictures_say_so(five_optimizers, monkeypatch):
    def cuts():
        text = make_report(five_optimizers.folder).read_text()
        return re.findall(r"<p>[^<]* \d+ [^<]* of 5 [^<]*</p>", text)

    monkeypatch.setattr(workload_content, "MOST_ROWS", 5)
    assert cuts() == []
    monkeypatch.setattr(workload_content, "MOST_ROWS", 2)
    # Time to target; paired differences, F1 of each class, generalization gap, training cost
    assert all(" 2 " in each for each in cuts())
    assert sum(" steps" in each for each in cuts()) == 1
    assert sum(" validation" in each for each in cuts()) == 4


def test_paragraphs_of_a_section_say_what_its_content_holds(new_study):
    writer = new_study(classes=3)
    one, other = [[98, 2, 0], [0, 95, 5], [1, 0, 99]], [[90, 10, 0], [0, 99, 1], [3, 0, 97]]
    writer.run("adam", record={"confusion_matrix": one})
    writer.run("sgd", record={"confusion_matrix": other}, config={"data.batch_size": 256})
    text = make_report(writer.folder).read_text()
    assert re.search(r" 2 runs.* 0 as 1 \(12\), 1 as 2 \(6\) and 2 as 0 \(4\)", text)
    (paired,) = re.findall(r"paired_differences\.csv</a></p>\s*<p>(.*?)</p>", text)
    assert re.search("not .*batches", paired)
