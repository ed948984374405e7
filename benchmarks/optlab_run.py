"""OptLab itself, in this process: the same run as the command line makes of these overrides."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from benchmarks.process import ROOT
from optlab.runs.record import RunRecord
from optlab.training.commands import quote_override
from optlab.training.run import run

CONF = ROOT / "conf"
LIGHT = ("callbacks=none", "logger=none")  # only the record and the checkpoints


def compose_run(overrides: Sequence[str], outputs: Path) -> DictConfig:
    """Compose the config of one run without figures and loggers that writes below `outputs`."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", overrides=[*LIGHT, *overrides, quote_override("outputs", outputs)])


def train(config: DictConfig) -> list[RunRecord]:
    """Run a config without its output; return its records, one for each replica.

    Raises:
        RuntimeError: if a replica diverged or failed: its time would be no measurement.
    """
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        found = run(config)
    for record in found:
        if record.status != "finished":
            raise RuntimeError(f"{record.run_name} {record.outcome}")
    return found


def train_seconds_per_epoch(config: DictConfig) -> float:
    """Return the training seconds by the run's own clock, of all replicas together."""
    found = train(config)
    return sum(record.train_time_s or 0.0 for record in found) / (found[0].num_epochs or 1)
