"""Compose the jobs of a study, and find out which are done. Nothing is started here."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig, open_dict
from rich.progress import track

from optlab.runs.folder import RunFolder
from optlab.runs.record import find_record
from optlab.training.code_fingerprint import changed_modules
from optlab.training.commands import COMMAND_ID
from optlab.training.option_values import check_top_level
from optlab.training.plan import Plan
from optlab.training.run_id import replicas, run_dir


@dataclass(eq=False)
class Job:
    """One process of a study: overrides, composed config with the hydra node, folder."""

    overrides: list[str]
    config: DictConfig
    folder: Path = field(init=False)

    def __post_init__(self) -> None:
        self.folder = run_dir(self.config)

    @cached_property
    def runs(self) -> list[tuple[DictConfig, Path]]:
        """Config and folder of each replica, or of the job itself without replicas."""
        return [
            (each, self.folder if each is self.config else run_dir(each))
            for each in replicas(self.config)
        ]

    @cached_property
    def done(self) -> bool:
        """Whether there is nothing to train, in any replica."""
        found = [find_record(folder) for _, folder in self.runs]
        return not self.config.rerun and all(record and record.has_result for record in found)

    def tag_runs(self) -> None:
        """Tag each folder with the ID of this command, so that its report includes the run."""
        for _, folder in self.runs:
            RunFolder(folder).tag(self.config.hydra.job.env_set.get(COMMAND_ID))


def compose_jobs(
    loader: ConfigLoader,
    config: DictConfig,
    job_overrides: Sequence[Sequence[str]],
    first_index: int,
) -> Iterator[Job]:
    """Compose and check the jobs of a study, with a progress bar on a terminal.

    Raises:
        ValueError: if the command has no runs, or an option is unknown or has a wrong value.
    """
    if not job_overrides:
        raise ValueError(
            "the sweep has no runs.\n\nhint: a range or glob(...) on the command line is empty"
        )
    for index, overrides in track(
        enumerate(job_overrides, start=first_index),
        "composing",
        total=len(job_overrides),
        transient=True,
        disable=not sys.stdout.isatty(),
    ):
        composed = loader.load_sweep_config(config, list(overrides))
        check_top_level(composed)
        with open_dict(composed):
            composed.hydra.job.id = str(index)
            composed.hydra.job.num = index
        yield Job(list(overrides), composed)


def refuse_shared_seeds(jobs: Sequence[Job]) -> None:
    """Raise ValueError where the replicas of two jobs include the same run."""
    seen: set[Path] = set()
    for job in jobs:
        folders = {folder for _, folder in job.runs}
        if seen & folders:
            raise ValueError(
                f"num_replicas={job.config.num_replicas} with seed={job.config.seed} trains "
                f"{job.config.num_replicas} seeds from {job.config.seed}, but another run of this "
                "sweep trains one of them too.\n\nhint: space the seeds num_replicas apart"
            )
        seen |= folders


def make_plan(jobs: Sequence[Job]) -> Plan:
    """Return the plan of the jobs, each run with the overrides that not all jobs have."""
    common = set.intersection(*(set(job.overrides) for job in jobs))
    return Plan.of(
        [
            (*run, " ".join(override for override in job.overrides if override not in common))
            for job in jobs
            for run in job.runs
        ]
    )


def print_changed_code(done: Sequence[Job]) -> None:
    """Print which modules have changed since the runs: a run is identified only by its config."""
    counts = Counter(
        name
        for job in done
        for config, folder in job.runs
        if (record := find_record(folder))
        for name in changed_modules(config, record.own_code)
    )
    for name, number in counts.items():
        print(
            f"{name} has changed since {number} of them were trained; retrain with rerun=true",
            flush=True,
        )
