"""The report of a study: one self-contained page, every picture as PNG, every table as CSV.

The same records give the same bytes: nothing here reads a clock.
"""

from pathlib import Path

from optlab.results.page import Cell, Chapter, ReportFolder, markdown_row, markdown_rule, render
from optlab.results.study import Study, read_study
from optlab.results.summary import ProblemSummary, summarize
from optlab.results.summary_rows import SUMMARY_COLUMNS, summary_cells
from optlab.results.tables import runs_table, summary_table
from optlab.results.verdict import Verdict, verdict_of

# Everything a report may write, so that a newer one can remove what no longer applies.
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
    "generalization_gap",
    "training_cost",
    "performance_profile",
    "published",
    "tuning_winners",
    "failures",
    "environment",
)


def make_report(study_dir: str | Path) -> Path:
    """Write `<study>/report/` anew and return its index.html.

    Raises:
        ValueError: there is no such study, or none of its runs has a record.
    """
    study = read_study(study_dir)
    if not study.counted_runs:
        raise ValueError(_nothing_to_report(study))
    from optlab.results.study_sections import study_sections  # brings matplotlib

    summaries = [summarize(problem) for problem in study.problems]
    target = study.folder / "report"
    target.mkdir(exist_ok=True)
    folder = ReportFolder(target)
    several = len(summaries) > 1
    verdicts = [
        (summary.problem.title, verdict_of(summary, is_tuned=study.is_tuned(summary.problem)))
        for summary in summaries
    ]
    chapters = _problem_chapters(study, summaries, folder)
    chapters.append(
        Chapter(
            "The study as a whole" if several else None, study_sections(study, summaries, folder)
        )
    )
    folder.csv("summary", summary_table(summaries))
    folder.csv("runs", runs_table(study, summaries))
    folder.write("summary.md", _markdown(study, summaries, verdicts).encode())
    page = render(
        title=study.title,
        subtitle=_subtitle(study, summaries),
        warnings=study.warnings,
        verdicts=verdicts,
        chapters=chapters,
        several=several,
    )
    folder.write("index.html", page.encode())
    folder.remove_older(_STEMS)
    return target / "index.html"


def _nothing_to_report(study: Study) -> str:
    parts = [
        f"{number} {word}"
        for number, word in (
            (len(study.unfinished), "unfinished"),
            (len(study.damaged), "damaged"),
            (len(study.tuning_runs), "tuning"),
        )
        if number
    ]
    found = f" ({', '.join(parts)})" if parts else ""
    return (
        f"{study.folder} holds no finished run{found}.\n\n"
        "hint: give the command that started the study again; it goes on where it stopped"
    )


def _subtitle(study: Study, summaries: list[ProblemSummary]) -> str:
    finished = sum(run.is_finished for run in study.counted_runs)
    total = len(study.counted_runs)
    runs = f"{total} run{'s' * (total != 1)}" + (
        "" if finished == total else f", {finished} finished"
    )
    if len(summaries) == 1:
        return f"{summaries[0].problem.title} · {runs}"
    return f"{len(summaries)} problems · {runs}"


def _problem_chapters(
    study: Study, summaries: list[ProblemSummary], folder: ReportFolder
) -> list[Chapter]:
    from optlab.results.sections import problem_sections  # brings matplotlib

    several = len(summaries) > 1
    chapters = []
    for summary in summaries:
        suffix = f"-{summary.problem.name}" if several else ""
        tuned = study.is_tuned(summary.problem)
        sections = problem_sections(summary, folder, suffix, tuned=tuned)
        chapters.append(Chapter(summary.problem.title if several else None, tuple(sections)))
    return chapters


def _markdown(
    study: Study, summaries: list[ProblemSummary], verdicts: list[tuple[str, Verdict]]
) -> str:
    lines = [f"# {study.title}", ""]
    for warning in study.warnings:
        lines += [f"> Careful: {warning}", ""]
    for summary, (title, verdict) in zip(summaries, verdicts, strict=True):
        lines += [f"## {title}", "", f"**{verdict.lead}**", ""]
        lines += [f"- {remark}" for remark in verdict.remarks]
        lines += [""] if verdict.remarks else []
        lines += [markdown_row(SUMMARY_COLUMNS), markdown_rule(SUMMARY_COLUMNS)]
        for row in summary.rows:
            cells = [cell.text if isinstance(cell, Cell) else cell for cell in summary_cells(row)]
            lines.append(markdown_row(cells))
        lines.append("")
    if study.commands:
        lines += ["```", *study.commands, "```", ""]
    return "\n".join(lines)
