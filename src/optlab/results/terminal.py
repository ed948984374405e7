"""The ranked table in a terminal."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from optlab.results.display import NOTHING, count, percent_estimate, points, seconds, some
from optlab.results.study import Study
from optlab.results.summary import GroupSummary, ProblemSummary, summarize
from optlab.results.verdict import verdict_of


def print_summary(study: Study, console: Console | None = None) -> None:
    """Print every problem of a study: verdict, ranked table, and what did not count."""
    console = console or Console()
    for warning in study.warnings:
        console.print(f"[bold red]careful[/bold red] {escape(warning)}")
    for problem in study.problems:
        summary = summarize(problem)
        console.print()
        console.print(f"[bold]{escape(problem.title)}[/bold]")
        console.print(rich_table(summary))
        verdict = verdict_of(summary, is_tuned=study.is_tuned(problem))
        console.print(f"[bold]{escape(verdict.lead)}[/bold]")
        for remark in verdict.remarks:
            console.print(escape(remark))
        by_reason: dict[str, list[str]] = {}
        for run, reason in problem.left_out:
            by_reason.setdefault(reason, []).append(run.folder.name)
        for reason, names in by_reason.items():
            listed = escape(some(names))
            console.print(f"[yellow]left out[/yellow] {listed}: {escape(reason)}")
    for run in study.counted_runs:
        if not run.is_finished:
            command = run.record.get("command") or NOTHING
            reason = str(run.record.get("reason") or "no reason recorded").splitlines()[0]
            console.print(f"[red]{run.status}[/red] {escape(run.folder.name)}: {escape(reason)}")
            console.print(f"  repeat it alone: {escape(str(command))}", soft_wrap=True)
    for folder, reason in study.damaged:
        console.print(f"[red]damaged[/red] {escape(folder.name)}: {escape(reason)}")
    for folder in study.unfinished:
        console.print(f"[yellow]unfinished[/yellow] {escape(folder.name)}")


def rich_table(summary: ProblemSummary) -> Table:
    """The columns that fit 80 characters; the rest is in summary.md and the report."""
    table = Table(
        box=None, pad_edge=False, header_style="bold", padding=(0, 1), collapse_padding=True
    )
    has_target = any(row.reached for row in summary.rows)
    numbers = {(len(row.group.runs), row.num_finished) for row in summary.rows}
    missing = any(finished < total for total, finished in numbers)
    uneven = max(numbers)[0] > 1 and (len(numbers) > 1 or missing)
    table.add_column("#", justify="right")
    short = max(len(row.label) for row in summary.rows) <= 14
    table.add_column("", no_wrap=short, overflow="fold")
    if uneven:
        table.add_column("runs", justify="right")
    table.add_column("val %", justify="right", no_wrap=True)
    table.add_column("test %", justify="right", no_wrap=True)
    if has_target:
        table.add_column("epochs to\ntarget", justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("test against best", overflow="fold")
    for row in summary.rows:
        total = len(row.group.runs)
        cells = [
            str(row.rank),
            f"[{row.group.style.color}]━[/] {escape(row.label)}",
            *(
                [str(total) if row.num_finished == total else f"{row.num_finished}/{total}"]
                * uneven
            ),
            percent_estimate(row.accuracy("validation")),
            percent_estimate(row.accuracy("test")),
        ]
        if has_target:
            cells.append(target_cell(row))
        train_time = row.mean(lambda run: run.number("train_time_s"))
        cells += [seconds(train_time.mean if train_time else None), short_verdict(row)]
        table.add_row(*cells)
    return table


def target_cell(row: GroupSummary) -> str:
    """Median epochs to the target or `missed`; of several runs, how many reached it."""
    if not row.reached:
        return NOTHING
    total = len(row.reached)
    when = count(row.epochs_to_target)
    return when if total == 1 or not row.num_reached else f"{when} ({row.num_reached}/{total})"


def short_verdict(row: GroupSummary) -> str:
    """Difference and verdict in a few words; divergences are in the column of runs."""
    if not row.num_finished:
        return row.verdict
    if row.is_best:
        return "best"
    difference = row.difference
    if difference is None or difference.mean is None:
        return row.difference_in_words
    words = difference.verdict
    if difference.num_pairs == 1:
        words = ""  # the remarks below the table say so for all rows
    elif "too few" in words:
        words = "too few pairs"
    return f"{points(difference.mean)} {words}".rstrip()
