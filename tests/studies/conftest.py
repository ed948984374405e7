"""Studies as a user types them, in this process: only the runs get processes of their own."""

import logging
import os
import runpy
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

ROOT = Path(__file__).parents[2]
SMALL = [
    "data=digits", "trainer=cpu", "logger=none", "callbacks=none",
    "hydra.launcher.num_processes=2",
]  # fmt: skip


@dataclass
class Result:
    """How a command ended and what it printed."""

    exit_code: int | str
    out: str
    err: str


@pytest.fixture
def study(tmp_path, monkeypatch, capfd) -> Callable[..., Result]:
    """`study("optimizer=sgd,adam")` is `python train.py -m optimizer=sgd,adam` on small data.

    With report=False the study ends without its report and the exit code that comes with it.
    """
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    # Runs import from here, as a user's own optimizer does; the fork server starts before
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["src", str(tmp_path)]))
    monkeypatch.setattr("optlab.training.process.quick_exit", lambda: None)  # the tests stay
    handlers = logging.getLogger().handlers[:]

    def command(*arguments: str, report: bool = True) -> Result:
        if not report:  # which takes longer than these runs
            arguments = (*arguments, "~hydra.callbacks.report")
        small = [
            s for s in SMALL if not any(a.startswith(s.split("=")[0] + "=") for a in arguments)
        ]
        outputs = f"outputs='{tmp_path / 'outputs'}'"
        command_line = [str(ROOT / "train.py"), "-m", outputs, *small, *arguments]
        monkeypatch.setattr(sys, "argv", command_line)
        GlobalHydra.instance().clear()
        HydraConfig.instance().cfg = None
        capfd.readouterr()
        exit_code: int | str = 0
        try:
            runpy.run_path(command_line[0], run_name="__main__")
        except SystemExit as end:
            exit_code = 0 if end.code is None else end.code
        finally:
            GlobalHydra.instance().clear()
            HydraConfig.instance().cfg = None
            logging.getLogger().handlers[:] = handlers  # Hydra brings its own
            logging.getLogger().setLevel(logging.WARNING)
        printed = capfd.readouterr()
        return Result(exit_code, printed.out, printed.err)

    return command


@pytest.fixture
def runs(tmp_path) -> Callable[[], dict[str, Path]]:
    """The run folders in outputs/ by run name."""

    def found() -> dict[str, Path]:
        folders = [p.parent for p in (tmp_path / "outputs").glob("*/*/.lock")]
        folders += [p.parent for p in (tmp_path / "outputs").glob("*/*/record.json")]
        return {folder.name.rpartition("-")[0]: folder for folder in folders}

    return found
