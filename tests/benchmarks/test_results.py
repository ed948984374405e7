import json
from pathlib import Path

from benchmarks.results import Report


def test_json_holds_every_repeat_and_what_is_quoted(report: Report, tmp_path: Path) -> None:
    report.write(tmp_path / "benchmark.json")
    written = json.loads((tmp_path / "benchmark.json").read_text())
    ratio = written["lines"][0]["quantities"][1]
    assert ratio["values"] == [1.02, 1.04, 1.03]
    assert ratio["spread"] == {"median": 1.03, "min": 1.02, "max": 1.04, "num_repeats": 3}
    assert ratio["reached"] is True
    assert written["lines"][2]["error"] == "exit code 1 of: [train]"


def test_target_is_reached_by_the_median(report: Report) -> None:
    seconds, ratio, _ = report.lines[0].quantities
    assert seconds.reached is None
    assert ratio.reached is True
    assert report.lines[1].quantities[0].reached is False  # 0.65, though one repeat had 0.6


def test_report_has_failed_with_one_of_its_lines(report: Report) -> None:
    assert report.failed
    assert not Report(report.machine, report.lines[:2]).failed
