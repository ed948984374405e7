import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run_script(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "benchmark.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_benchmark_names_its_lines() -> None:
    shown = run_script("--help")
    assert shown.returncode == 0
    assert "epoch-mnist-mlp" in shown.stdout


def test_benchmark_refuses_a_line_that_does_not_exist() -> None:
    refused = run_script("--lines", "epoch-mnist-mpl")
    assert refused.returncode == 2
    assert "invalid choice: 'epoch-mnist-mpl'" in refused.stderr


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_quick_benchmark_measures_every_line_of_the_cpu(tmp_path: Path) -> None:
    done = run_script("--quick", "--output", str(tmp_path))
    assert done.returncode == 0, done.stdout
    report = json.loads((tmp_path / "benchmark.json").read_text())
    assert [line["name"] for line in report["lines"]] == [
        *("epoch-mnist-mlp", "epoch-mnist-cnn", "epoch-cifar10-mlp"),
        *("loader", "process", "sweep", "startup"),
    ]
    assert all(line["quantities"] for line in report["lines"])
    assert (tmp_path / "benchmark.png").is_file()
    page = (tmp_path / "benchmark.md").read_text()
    assert all(line["title"] in page for line in report["lines"])
