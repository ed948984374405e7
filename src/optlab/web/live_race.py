"""Live race of the page: runs that train while you watch, one process per run."""

import json
import logging
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from optlab.files import atomic_write
from optlab.web import schemas

log = logging.getLogger(__name__)

MAX_LOG_CHARACTERS = 2_000  # of a failed run that the server's log gets

# From the folder of a race to the command of each optimizer. A command's run appends its reports to
# <optimizer>.jsonl there (optlab.training.live) and reads the drawing from drawing.npy.
Commands = Callable[[Path], Mapping[str, Sequence[str]]]


class RaceUnderWay(ValueError):
    """A second race was asked for."""


class _Race:
    """One race and its folder, which `stop` deletes."""

    def __init__(self, commands: Commands, pixels: np.ndarray | None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="optlab-race-")
        self.path = Path(self._folder.name)
        self.draw(pixels)
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        try:
            for optimizer, command in commands(self.path).items():
                with (self.path / f"{optimizer}.log").open("w") as file:
                    self._processes[optimizer] = subprocess.Popen(
                        command,
                        stdin=subprocess.DEVNULL,
                        stdout=file,
                        stderr=subprocess.STDOUT,
                        env=environment,
                    )
        except BaseException:
            self.stop()  # those that have started
            raise

    @property
    def optimizers(self) -> list[str]:
        return list(self._processes)

    @property
    def is_running(self) -> bool:
        return any(process.poll() is None for process in self._processes.values())

    def draw(self, pixels: np.ndarray | None) -> None:
        """Give the runs the picture, (C, H, W), that their next reports classify."""
        file = self.path / "drawing.npy"
        if pixels is None:
            file.unlink(missing_ok=True)
            return
        with atomic_write(file) as partial, partial.open("wb") as stream:
            np.save(stream, pixels)

    def reports(self, seen: dict[str, int]) -> Iterator[schemas.RaceReport]:
        """Yield new reports, and count them in `seen`, lines by optimizer."""
        for optimizer in self.optimizers:
            try:
                text = (self.path / f"{optimizer}.jsonl").read_text()
            except FileNotFoundError:
                continue
            lines = text.split("\n")[:-1]  # the last one may be half written
            for line in lines[seen.get(optimizer, 0) :]:
                yield schemas.RaceReport(optimizer=optimizer, **json.loads(line))
            seen[optimizer] = len(lines)

    def failed(self) -> list[str]:
        """Return the optimizers whose process ended with an error, and log what each printed."""
        failed = [name for name, process in self._processes.items() if process.poll()]
        for name in failed:
            file = self.path / f"{name}.log"
            if file.is_file():  # else the race was stopped
                text = file.read_text(errors="replace")
                log.error("the race's run of %s failed: %s", name, text[-MAX_LOG_CHARACTERS:])
        return failed

    def stop(self) -> None:
        """End what still runs, and delete the folder."""
        for process in self._processes.values():
            process.kill()  # at once: there is nothing to save
        for process in self._processes.values():
            process.wait()
        self._folder.cleanup()


class LiveRaces:
    """Races one after another, never two at once.

    Args:
        commands: returns the command of each optimizer's process.
    """

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._lock = threading.RLock()
        self.race: _Race | None = None  # the newest

    def start(self, pixels: np.ndarray | None) -> list[str]:
        """Start a race and return its optimizers.

        Raises:
            RaceUnderWay: the last one has not ended.
        """
        with self._lock:
            if self.race is not None and self.race.is_running:
                raise RaceUnderWay("A race is already running; wait until it has ended.")
            self.stop()
            self.race = _Race(self._commands, pixels)
            return self.race.optimizers

    def draw(self, pixels: np.ndarray | None) -> None:
        """Give the newest race another picture, (C, H, W); without a race do nothing."""
        with self._lock:
            if self.race is not None:
                self.race.draw(pixels)

    def stop(self) -> None:
        """End the newest race; without a race do nothing."""
        with self._lock:
            if self.race is not None:
                self.race.stop()
            self.race = None
