import json
from pathlib import Path

import pytest

from benchmarks import in_process
from benchmarks.problems import PROBLEMS, find_images

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice to the usual pipeline
QUICK = [*find_images("mnist", quick=True).overrides, "trainer=cpu"]


def run_task(tmp_path: Path, **task: object) -> dict[str, list[float]]:
    (tmp_path / "task.json").write_text(json.dumps(task))
    in_process.main(tmp_path / "task.json", tmp_path / "result.json")
    samples: dict[str, list[float]] = json.loads((tmp_path / "result.json").read_text())
    return samples


@pytest.mark.slow
def test_epochs_of_all_contenders_are_measured(tmp_path: Path) -> None:
    samples = run_task(
        tmp_path,
        measure="epoch",
        overrides=[*QUICK, *PROBLEMS["mnist-mlp"].overrides],
        variants={"OptLab": [], "Lightning": ["lean_loop=false"]},
        workers=[0],
        epochs=1,
        threads=1,
        repeats=1,
    )
    names = ["bare loop", "OptLab", "Lightning", "usual pipeline, 0 workers"]
    assert list(samples) == names
    assert all(len(values) == 1 and min(values) > 0 for values in samples.values())


def test_loaders_are_measured(tmp_path: Path) -> None:
    samples = run_task(tmp_path, measure="loader", overrides=QUICK, workers=[0], repeats=1)
    assert list(samples) == ["OptLab", "DataLoader, 0 workers"]
    assert all(values[0] > 0 for values in samples.values())


@pytest.mark.slow
def test_replicas_are_measured(tmp_path: Path) -> None:
    samples = run_task(
        tmp_path,
        measure="replicas",
        overrides=QUICK,
        counts=[1, 2],
        epochs=1,
        threads=1,
        repeats=1,
    )
    assert list(samples) == ["1", "2"]


def test_run_without_a_result_is_no_measurement(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="sgd_plain-seed0 diverged: "):
        run_task(
            tmp_path,
            measure="replicas",
            overrides=[*QUICK, "optimizer=sgd_plain", "optimizer.lr=1.0e9"],
            counts=[1],
            epochs=1,
            threads=1,
            repeats=1,
        )
