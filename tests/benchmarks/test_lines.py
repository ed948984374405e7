from pathlib import Path

import pytest

from optlab.benchmarks import lines
from optlab.benchmarks.contenders import Settings
from optlab.benchmarks.lines import LINES, default_lines, measure_line
from optlab.benchmarks.process import ProgramFailed
from optlab.benchmarks.results import RATIO

TRAIN = Path(__file__).resolve().parents[2] / "train.py"


def test_cfg_job_imports_no_torch() -> None:
    assert lines._torch_modules_imported(Settings(TRAIN, quick=True)) == 0


def test_contender_that_fails_is_an_error_of_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**task: object) -> dict[str, list[float]]:
        raise ProgramFailed("exit code 1 of: something")

    monkeypatch.setattr(lines, "in_process", fail)
    line = measure_line("loader", Settings(TRAIN, quick=True))
    assert line.error == "exit code 1 of: something"
    assert line.quantities == []


def test_epoch_line_has_target_on_cpu_and_graphs_on_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks: list[dict[str, object]] = []

    def measured(**task: object) -> dict[str, list[float]]:
        tasks.append(task)
        graphs = ["OptLab, graphs", "OptLab, compiled"]
        names = ["bare loop", "OptLab", *graphs, "usual pipeline, 0 workers"]
        seconds = {name: [2.0, 3.0] for name in names}
        return seconds | {"OptLab": [2.2, 3.15]}

    monkeypatch.setattr(lines, "in_process", measured)
    line = measure_line("epoch-mnist-mlp", Settings(TRAIN, quick=True, workers=(0,)))
    (ratio,) = [q for q in line.quantities if q.label == "OptLab / bare loop"]
    assert ratio.unit == RATIO
    assert ratio.values == pytest.approx([1.1, 1.05])
    assert ratio.target == 1.10

    line = measure_line("epoch-mnist-mlp", Settings(TRAIN, device="cuda", quick=True))
    assert tasks[1]["variants"] == {
        "OptLab": [],
        "OptLab, graphs": ["trainer.steps_per_call=32", "trainer.compile=graph"],
        "OptLab, compiled": ["trainer.steps_per_call=32", "trainer.compile=true"],
    }
    assert {q.label: q.target for q in line.quantities if q.target is not None} == {
        "OptLab, graphs, an epoch": 0.15
    }


def test_replicas_line_has_its_target_at_sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(*, counts: list[int], **task: object) -> dict[str, list[float]]:
        return {str(count): [1.0 + count / 100] for count in counts}

    monkeypatch.setattr(lines, "in_process", measured)
    line = measure_line("replicas", Settings(TRAIN, device="cuda"))
    (asked,) = [q for q in line.quantities if q.target is not None]
    assert (asked.label, asked.target) == ("16 replicas / 1", 1.5)
    assert asked.values == pytest.approx([1.16 / 1.01])


def test_seconds_to_an_accuracy_are_those_of_its_first_epoch(tmp_path: Path) -> None:
    (tmp_path / "epochs.csv").write_text(
        "epoch,val/accuracy,train_time_s\n1,0.93,1.5\n2,0.94,3.0\n3,0.95,4.5\n"
    )
    assert lines._seconds_to(0.94, tmp_path) == [3.0]
    assert lines._seconds_to(0.96, tmp_path) == []


def test_gpu_measures_every_line_and_cpu_those_that_end() -> None:
    assert set(default_lines("cuda")) == set(LINES)
    assert set(LINES) - set(default_lines("cpu")) == {
        "epoch-cifar10-resnet18",
        "replicas",
        "speedrun",
    }
