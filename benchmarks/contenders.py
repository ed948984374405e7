"""How the benchmark's contenders are started: OptLab, the usual pipeline, and programs of loops.

No torch here: whatever needs it runs in a program of its own.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.problems import QUICK_IMAGES, find_images
from benchmarks.process import ROOT, Finished, run_program
from optlab.runs.folder import recorded_runs
from optlab.runs.record import RunRecord, read_record

TRAIN = ROOT / "train.py"


@dataclass(frozen=True)
class Settings:
    """What holds for every line of one run of the benchmark."""

    device: str = "cpu"  # cpu | cuda
    repeats: int = 5
    threads: int = 1  # torch threads of every contender
    workers: tuple[int, ...] = (0, 2)  # of the usual pipeline's DataLoader
    cifar_root: Path | None = None
    overrides: tuple[str, ...] = ()  # further ones for every run of OptLab
    quick: bool = False  # tiny: shows that everything works, measures nothing

    @property
    def accelerator(self) -> str:
        return "gpu" if self.device == "cuda" else "cpu"

    def optlab(self, shape: str) -> list[str]:
        """Overrides of a run on images of that shape."""
        images = find_images(shape, cifar_root=self.cifar_root, quick=self.quick)
        return [
            *images.overrides,
            f"trainer.accelerator={self.accelerator}",
            f"num_threads={self.threads}",
            *self.overrides,
        ]

    def images_title(self, shape: str) -> str:
        return find_images(shape, cifar_root=self.cifar_root, quick=self.quick).title


def in_process(**task: Any) -> dict[str, list[float]]:
    with tempfile.TemporaryDirectory() as temporary:
        task_file, result_file = Path(temporary) / "task.json", Path(temporary) / "result.json"
        task_file.write_text(json.dumps(task))
        module = "benchmarks.in_process"
        run_program([sys.executable, "-m", module, str(task_file), str(result_file)])
        samples: dict[str, list[float]] = json.loads(result_file.read_text())
    return samples


def train(arguments: Sequence[str]) -> Finished:
    return run_program([sys.executable, str(TRAIN), *arguments])


def usual(
    settings: Settings, num_workers: int, epochs: int, output: Path, *further: str
) -> Callable[[int], Finished]:
    images = find_images("mnist", quick=settings.quick)
    synthetic = ["--synthetic"] if images.synthetic else []
    if settings.quick:
        synthetic.append(f"--num-images={QUICK_IMAGES}")
    arguments = [
        *(f"--epochs={epochs}", f"--num-workers={num_workers}", f"--threads={settings.threads}"),
        *(f"--accelerator={settings.accelerator}", *synthetic, *further),
    ]
    command = [sys.executable, "-m", "benchmarks.usual_pipeline", *arguments]
    return lambda repeat: run_program([*command, f"--output={output / str(repeat)}"])


def only_record(outputs: Path) -> RunRecord:
    (folder,) = recorded_runs(outputs)
    return read_record(folder)
