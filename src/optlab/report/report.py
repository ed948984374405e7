"""Write the report of a study: a self-contained page, figures, tables and verdict.json.

This module fills templates/report.html.j2. The same records give the same bytes, because nothing
here reads a clock.
"""

import re
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from optlab.analysis.comparisons import MIN_SEEDS
from optlab.analysis.labels import display_name
from optlab.analysis.looks import is_planned
from optlab.analysis.study import Study, read_study
from optlab.analysis.summary import WorkloadSummary, summarize
from optlab.analysis.tables import runs_table, summary_table
from optlab.plots.interactive import scripts, stylesheet
from optlab.plots.palette import on_dark
from optlab.report.folder import ReportFolder
from optlab.report.study_content import study_content
from optlab.report.verdict_file import verdict_json
from optlab.report.workload_content import workload_content
from optlab.runs.json_fields import DamagedFile
from optlab.runs.study_file import LookRow, edit_study_file

# Everything a report may write, so that a newer one can remove what no longer applies
_STEMS = (
    "summary",
    "runs",
    "loss_comparison",
    "val_accuracy",
    "time_to_target",
    "lr_sensitivity",
    "paired_differences",
    "per_class",
    "per_class_f1",
    "confusion_matrices",
    "calibration",
    "reliability",
    "diagnostics",
    "generalization_gap",
    "training_cost",
    "pareto",
    "disagreement",
    "disagreement_images",
    "hardest_images",
    "performance_profile",
    "published",
    "tuning_winners",
    "failures",
    "environment",
)


def make_report(study_dir: str | Path) -> Path:
    """Write `<study>/report/` and return its index.html.

    Raises:
        ValueError: if there is no such study, or none of its runs has a record.
    """
    study = read_study(study_dir)
    if not study.counted_runs:
        raise ValueError(_nothing_to_report(study))
    summaries = [summarize(workload) for workload in study.workloads]
    several = len(summaries) > 1
    folder = ReportFolder(study.folder / "report")
    content: dict[str, Any] = {
        "study": study,
        "uri": folder.uri,
        "subtitle": _subtitle(study, summaries),
        "several": several,
        "workloads": [
            workload_content(
                summary,
                folder.with_suffix(f"-{summary.workload.name}" if several else ""),
                is_tuned=study.is_tuned(summary.workload),
            )
            for summary in summaries
        ],
        "whole": study_content(study, summaries, folder),
    }
    folder.csv("summary", summary_table(summaries))
    folder.csv("runs", runs_table(study, summaries))
    folder.write("summary.md", render("summary.md.j2", **content))
    if content["whole"]["published"]:
        folder.write("published.md", render("published.md.j2", **content))
    folder.write("verdict.json", verdict_json(study, summaries))
    folder.write("index.html", render("report.html.j2", **content))
    folder.remove_older(_STEMS)
    _record_looks(study, summaries)
    return folder.folder / "index.html"


def _record_looks(study: Study, summaries: list[WorkloadSummary]) -> None:
    """Record in study.json at which numbers of seeds each comparison was reported so far.

    Repeated looks at growing numbers of seeds inflate the error rate, so they are counted.
    """
    read: dict[str, tuple[str, set[int]]] = {}
    for summary in summaries:
        for row, difference in summary.compared():
            assert summary.best is not None
            pair = (summary.best, row)
            planned = is_planned(summary.best.configuration, row.configuration)
            if difference.num_seeds >= MIN_SEEDS and not planned:
                for member in pair:
                    _, numbers = read.setdefault(member.configuration.key, (member.label, set()))
                    numbers.add(difference.num_seeds)
    if not read:
        return
    # The report says that study.json is damaged; do not overwrite it
    with suppress(DamagedFile), edit_study_file(study.folder) as file:
        looks = {row.configuration: row for row in file.looks}
        for key, (label, numbers) in read.items():
            earlier = looks[key].num_seeds if key in looks else []
            looks[key] = LookRow(key, label, sorted({*earlier, *numbers}))
        file.looks = list(looks.values())


def render(template: str, **content: object) -> bytes:
    """Return a template of this package, filled with `content`."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("optlab.report"),
        autoescape=lambda name: name is not None and ".html" in name,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["slug"] = lambda text: re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    environment.filters["name"] = display_name
    environment.filters["on_dark"] = on_dark
    environment.filters["cell"] = lambda text: text.replace("|", "\\|")
    css = resources.files("optlab.report").joinpath("templates/report.css").read_text("utf-8")
    inlined = {"css": stylesheet() + css, "scripts": scripts()}
    return environment.get_template(template).render(**inlined, **content).encode()


def _nothing_to_report(study: Study) -> str:
    counts = {
        "unfinished": len(study.unfinished),
        "damaged": len(study.damaged),
        "tuning": len(study.tuning_runs),
    }
    found = ", ".join(f"{number} {word}" for word, number in counts.items() if number)
    if study.tuning_runs and not any(run.is_finished for run in study.tuning_runs):
        return (
            f"no trial of the fair sweep in {study.folder} had a result, so there is no winner "
            "to report.\n\nhint: lower the learning rates of conf/search_space, or lr_multiplier"
        )
    return (
        f"{study.folder} holds no finished run{f' ({found})' if found else ''}.\n\n"
        "hint: repeat the command that started the study; it resumes where it stopped"
    )


def _subtitle(study: Study, summaries: list[WorkloadSummary]) -> str:
    finished, total = sum(run.is_finished for run in study.counted_runs), len(study.counted_runs)
    runs = f"{total} run{'s' * (total != 1)}"
    if finished < total:
        runs += f", {finished} finished"
    about = summaries[0].workload.title if len(summaries) == 1 else f"{len(summaries)} workloads"
    return f"{about} · {runs}"
