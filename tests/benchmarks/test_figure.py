from pathlib import Path

import pytest

from benchmarks.figure import RatiosDisplay
from benchmarks.results import Report


def test_figure_shows_every_ratio_with_its_target(report: Report, tmp_path: Path) -> None:
    display = RatiosDisplay(report=report).plot()
    assert [dot.get_xdata()[0] for dot in display.artists["dots"]] == [1.03, 0.11, 0.65]
    assert [bar.get_xdata()[0] for bar in display.artists["targets"]] == [1.10, 0.62]
    labels = [label.get_text() for label in display.ax.get_yticklabels()]
    assert labels == ["OptLab / bare loop", "OptLab / usual pipeline, 0 workers", "side by side"]
    display.figure.canvas.draw()
    shown = [label.get_text() for label in display.ax.get_xticklabels()]
    assert {"0.1", "0.2", "0.5", "1", "2"} <= set(shown)
    display.save(tmp_path / "benchmark.png")
    assert (tmp_path / "benchmark.png").stat().st_size > 0


def test_figure_refuses_a_report_without_ratios(report: Report) -> None:
    with pytest.raises(ValueError, match="ratio"):
        RatiosDisplay(report=Report(report.machine, []))
