"""The machine and the programs that figures were measured with. No torch here."""

import os
import platform
import shutil
import subprocess
import sys
from typing import Any

import psutil

from optlab.training.environment import cpu_name, git_commit, now, versions

BUSY_LOAD = 0.5  # mean number of running processes from which others disturb the measurement


def describe_machine(device: str, threads: int, repeats: int) -> dict[str, Any]:
    """What a reader needs to judge or repeat the figures."""
    return {
        "device": device,
        "cpu": cpu_name(),
        "num_cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "gpu": gpu_name() if device == "cuda" else None,
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(),
        "load_at_start": round(psutil.getloadavg()[0], 2),
        "num_threads": threads,
        "num_repeats": repeats,
        "versions": versions(),
        "git_commit": git_commit(),
        "started_at": now(),
        "command": " ".join(["python", "scripts/benchmark.py", *sys.argv[1:]]),
    }


def gpu_name() -> str | None:
    """The name of the first NVIDIA GPU; None where the driver's tool is missing or fails."""
    if shutil.which("nvidia-smi") is None:
        return None
    asked = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    answer = subprocess.run(asked, capture_output=True, text=True)
    return answer.stdout.splitlines()[0] if answer.returncode == 0 and answer.stdout else None
