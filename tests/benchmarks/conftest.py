import pytest

from benchmarks.results import RATIO, LineResult, Quantity, Report


@pytest.fixture
def report() -> Report:
    """Made-up figures, one of each kind."""
    machine = {
        "device": "cpu",
        "cpu": "Some CPU",
        "gpu": None,
        "num_cores": 2,
        "memory_gib": 23.0,
        "load_at_start": 0.1,
        "num_threads": 1,
        "num_repeats": 3,
        "versions": {"python": "3.11.0", "torch": "2.15.0"},
        "git_commit": None,
        "started_at": "2026-11-21T00:00:00+00:00",
        "command": "python scripts/benchmark.py",
    }
    epoch = LineResult(
        "epoch-mnist-mlp",
        "Epoch of the MNIST MLP",
        "MNIST, batches of 64",
        [
            Quantity("OptLab, an epoch", "s", [0.5, 0.52, 0.51]),
            Quantity("OptLab / bare loop", RATIO, [1.02, 1.04, 1.03], 1.10),
            Quantity("OptLab / usual pipeline, 0 workers", RATIO, [0.11, 0.12, 0.10]),
        ],
    )
    sweep = LineResult(
        "sweep", "The study", "", [Quantity("side by side", RATIO, [0.7, 0.6, 0.65], 0.62)]
    )
    broken = LineResult("speedrun", "CIFAR-10 speed run", "", error="exit code 1 of: [train]")
    return Report(machine, [epoch, sweep, broken])
