"""A program run as a user would start it: its seconds, its memory, its first step.

The process that calls this should be small. Linux counts the memory of the parent at the moment of
the fork into the peak of the child, so a parent that has imported torch would be measured.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT_S = 3600.0
LAST_LINES = 15  # of a failing program's output that its error shows


class ProgramFailed(Exception):
    """A program ended with an exit code other than 0; the message has its last lines."""


@dataclass(frozen=True)
class Finished:
    """What is known of a program that ran."""

    seconds: float
    peak_memory_gib: float | None  # largest resident memory; None where the system does not say
    output: str  # stdout and stderr
    started_s: float  # seconds since the epoch


def run_program(arguments: list[str]) -> Finished:
    """Run a program to its end. It can import this package, which is in no wheel.

    Raises:
        ProgramFailed: if it failed or ran longer than TIMEOUT_S.
    """
    with tempfile.TemporaryFile("w+") as output:
        started_s, start_s = time.time(), time.perf_counter()
        process = subprocess.Popen(
            arguments, env=_environment(), stdout=output, stderr=subprocess.STDOUT
        )
        watchdog = threading.Timer(TIMEOUT_S, process.kill)
        watchdog.start()
        try:
            peak_memory_gib = _wait(process)
            seconds = time.perf_counter() - start_s
        finally:
            watchdog.cancel()
            if process.returncode is None:
                process.kill()
                process.wait()
        output.seek(0)
        text = output.read()
    if process.returncode != 0:
        last = "\n".join(text.splitlines()[-LAST_LINES:])
        command = " ".join(arguments)
        raise ProgramFailed(f"exit code {process.returncode} of: {command}\n{last}")
    return Finished(seconds, peak_memory_gib, text, started_s)


def _environment() -> dict[str, str]:
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _wait(process: subprocess.Popen[bytes]) -> float | None:
    """Waits for the end; returns the peak memory in GiB, of the largest process below it."""
    if not hasattr(os, "wait4"):  # Windows
        process.wait()
        return None
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes on macOS, KiB on Linux
    return usage.ru_maxrss * unit / 2**30
