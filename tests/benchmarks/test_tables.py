import io

from rich.console import Console

from benchmarks.results import Report
from benchmarks.tables import markdown, table


def test_markdown_quotes_median_extremes_target_and_failure(report: Report) -> None:
    text = markdown(report)
    assert "| OptLab / bare loop | 1.03 | 1.02 | 1.04 | 1.10 | yes |" in text
    assert "| side by side | 0.650 | 0.600 | 0.700 | 0.620 | no |" in text
    assert "| OptLab, an epoch | 0.510 s | 0.500 | 0.520 |  |  |" in text
    assert "\n\n```\nexit code 1 of: [train]\n```" in text
    assert "Some CPU, 2 cores" in text


def test_terminal_shows_target_and_failure(report: Report) -> None:
    console = Console(file=io.StringIO(), width=120)
    for line in report.lines:
        console.print(table(line))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "OptLab / bare loop" in shown
    assert "1.10" in shown
    assert "exit code 1 of: [train]" in shown
