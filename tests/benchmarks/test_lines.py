from pathlib import Path
from typing import Any

import pytest

from benchmarks import lines
from benchmarks.contenders import Settings
from benchmarks.lines import LINES, default_lines, measure_line
from benchmarks.optlab_run import compose_run
from benchmarks.process import ProgramFailed
from benchmarks.results import RATIO, LineResult


def test_cfg_job_imports_no_torch() -> None:
    assert lines._torch_modules_imported(Settings(quick=True)) == 0


def test_contender_that_fails_is_an_error_of_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**task: object) -> dict[str, list[float]]:
        raise ProgramFailed("exit code 1 of: something")

    monkeypatch.setattr(lines, "in_process", fail)
    line = measure_line("loader", Settings(quick=True))
    assert line.error == "exit code 1 of: something"
    assert line.quantities == []


@pytest.fixture
def epoch_tasks(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is asked of the measuring process, which answers with made-up seconds."""
    tasks: list[dict[str, Any]] = []

    def measured(**task: Any) -> dict[str, list[float]]:
        tasks.append(task)
        usual = [f"usual pipeline, {num_workers} workers" for num_workers in task["workers"]]
        seconds = {name: [2.0, 3.0] for name in ("bare loop", *task["variants"], *usual)}
        return seconds | {"OptLab": [2.2, 3.15]}

    monkeypatch.setattr(lines, "in_process", measured)
    return tasks


def targets(line: LineResult) -> dict[str, float]:
    return {q.label: q.target for q in line.quantities if q.target is not None}


@pytest.mark.parametrize(
    ("problem", "target"), [("mnist-mlp", 1.05), ("mnist-cnn", 1.02), ("cifar10-mlp", 1.05)]
)
def test_epoch_line_on_cpu_has_one_target(
    problem: str, target: float, epoch_tasks: list[dict[str, Any]]
) -> None:
    line = measure_line(f"epoch-{problem}", Settings(quick=True, workers=(0,)))
    variants = epoch_tasks[0]["variants"]
    assert list(variants.values()) == [[], ["lean_loop=false"]]
    assert targets(line) == {"OptLab / bare loop": target}
    (ratio,) = [q for q in line.quantities if q.label == "OptLab / bare loop"]
    assert ratio.unit == RATIO
    assert ratio.values == pytest.approx([1.1, 1.05])
    labels = [q.label for q in line.quantities]
    assert {f"{name} / bare loop" for name in variants} <= set(labels)
    assert "OptLab / usual pipeline, 0 workers" in labels


def test_epoch_line_on_gpu_has_graphs_and_compiling(epoch_tasks: list[dict[str, Any]]) -> None:
    line = measure_line("epoch-mnist-mlp", Settings(device="cuda", quick=True))
    assert list(epoch_tasks[0]["variants"].values()) == [
        [],
        ["lean_loop=false"],
        ["cuda_graphs=true"],
        ["compile=true"],
    ]
    assert targets(line) == {"OptLab / bare loop": 1.10, "OptLab, graphs, an epoch": 0.15}


def test_options_of_the_variants_exist(epoch_tasks: list[dict[str, Any]], tmp_path: Path) -> None:
    measure_line("epoch-mnist-mlp", Settings(device="cuda", quick=True))
    (task,) = epoch_tasks
    assert len(task["variants"]) == 4
    for further in task["variants"].values():
        compose_run([*task["overrides"], *further], tmp_path)  # refuses an unknown option


def test_replicas_line_has_its_target_at_sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(*, counts: list[int], **task: object) -> dict[str, list[float]]:
        return {str(count): [1.0 + count / 100] for count in counts}

    monkeypatch.setattr(lines, "in_process", measured)
    line = measure_line("replicas", Settings(device="cuda"))
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
