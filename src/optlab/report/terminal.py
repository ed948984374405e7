"""Print the ranked table in a terminal."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from optlab.analysis.formatting import join_first
from optlab.analysis.study import Study
from optlab.analysis.summary import WorkloadSummary, summarize
from optlab.analysis.tables import SUMMARY
from optlab.analysis.verdict import make_verdict
from optlab.plots.palette import styles_by_label


def print_summary(study: Study, console: Console | None = None) -> None:
    """Print every workload of a study: verdict, ranked table, and what did not count."""
    console = console or Console()
    for warning in study.warnings:
        console.print(f"[bold red]careful[/bold red] {escape(warning)}")
    for workload in study.workloads:
        summary = summarize(workload)
        verdict = make_verdict(summary, is_tuned=study.is_tuned(workload))
        console.print(f"\n[bold]{escape(workload.title)}[/bold]")
        console.print(rich_table(summary))
        console.print(f"[bold]{escape(verdict.lead)}[/bold]")
        for remark in verdict.remarks:
            console.print(escape(remark))
        by_reason: dict[str, list[str]] = {}
        for run, reason in workload.left_out:
            by_reason.setdefault(reason, []).append(run.folder.name)
        for reason, names in by_reason.items():
            console.print(
                f"[yellow]left out[/yellow] {escape(join_first(names))}: {escape(reason)}"
            )
    for run in study.counted_runs:
        if not run.is_finished:
            reason = (run.record.reason or "no reason recorded").splitlines()[0]
            console.print(f"[red]{run.status}[/red] {escape(run.folder.name)}: {escape(reason)}")
            console.print(f"  to repeat it: {escape(run.command)}", soft_wrap=True)
    for folder, reason in study.damaged:
        console.print(f"[red]damaged[/red] {escape(folder.name)}: {escape(reason)}")
    for folder in study.unfinished:
        console.print(f"[yellow]unfinished[/yellow] {escape(folder.name)}")


def rich_table(summary: WorkloadSummary) -> Table:
    """The columns that fit 80 characters; the rest is in summary.md and the report."""
    table = Table(
        box=None, pad_edge=False, header_style="bold", padding=(0, 1), collapse_padding=True
    )
    styles = styles_by_label(summary.workload.configurations)
    runs = {(len(row.configuration.runs), row.num_finished) for row in summary.rows}
    hidden = set()
    if max(runs)[0] == 1 or (len(runs) == 1 and all(total == done for total, done in runs)):
        hidden.add("num_finished")  # as many everywhere
    if not any(row.reached for row in summary.rows):
        hidden.add("epochs_to_target")
    columns = [c for c in SUMMARY if c.short is not None and c.name not in hidden]
    is_short = max(len(row.label) for row in summary.rows) <= 14
    for column in columns:
        is_text = column.name in ("label", "")
        table.add_column(
            column.short or "",
            justify="left" if is_text else "right",
            no_wrap=is_short if column.name == "label" else not is_text,
            overflow="fold",
        )
    for row in summary.rows:
        cells = {column.name: escape(column.text(row)) for column in columns}
        cells["label"] = f"[{styles[row.label].color}]━[/] {escape(row.label)}"  # to type
        table.add_row(*cells.values())
    return table
