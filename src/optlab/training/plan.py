"""Plan a command (plan=true): list its new, interrupted and finished runs, and estimate times."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean, median

from omegaconf import DictConfig
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from optlab.runs.folder import RunFolder, recorded_runs
from optlab.runs.record import RunRecord, find_record
from optlab.training.code_fingerprint import changed_modules
from optlab.training.run_id import identity


@dataclass(frozen=True)
class PlannedRun:
    """One run and the state that it is in."""

    config: DictConfig
    run_name: str
    overrides: str  # by which it differs from the others of the command
    folder: Path
    state: str  # new | interrupted | failed | finished | diverged, and whether code has changed
    to_train: bool
    num_epochs: int  # that are left
    train_fraction: float
    workload: tuple[str, str]  # data and model: what the cost of an epoch depends on most


@dataclass(frozen=True)
class Plan:
    """The runs of a command, in order."""

    runs: list[PlannedRun]

    @classmethod
    def of(cls, runs: list[tuple[DictConfig, Path, str]]) -> "Plan":
        """Create the plan by reading the runs' folders, without changing them.

        Args:
            runs: for each run its config, folder, and the overrides that only it has.
        """
        return cls([_planned(*run) for run in runs])

    def seconds(self, num_processes: int) -> float | None:
        """Estimate the remaining training time from earlier records; None if there are none."""
        ends_s = [0.0] * num_processes  # when each is free for the next run
        finished = cache(_finished_records)  # read once for all runs of the plan
        for run in self.runs:
            if run.to_train:
                cost_s = _seconds_per_epoch(run, finished(run.folder.parent.parent))
                if cost_s is None:
                    return None
                heapq.heapreplace(ends_s, ends_s[0] + cost_s * run.num_epochs)
        return max(ends_s)

    def print(self, num_processes: int, effect: float | None = None) -> None:
        """Print a table of the runs and their estimated training time.

        Args:
            num_processes: runs at a time.
            effect: a difference in percentage points; also print how many seeds detect it.
        """
        table = Table("run", "state", "folder", title="what this command would do")
        for run in self.runs:
            name = f"{run.run_name}\n{run.overrides}".rstrip()
            table.add_row(escape(name), run.state, escape(str(run.folder)))
        console = Console()
        console.print(table)
        num_to_train = sum(run.to_train for run in self.runs)
        cost = _cost(self.seconds(num_processes), num_processes)
        console.print(
            f"{num_to_train} to train, {len(self.runs) - num_to_train} done; time: {cost}. "
            "Nothing was started."
        )
        if effect is not None:
            self.print_seeds_for(effect, num_processes)

    def print_seeds_for(
        self, effect: float, num_processes: int, seeds_option: str = "'seed=range({})'"
    ) -> None:
        """Print for each workload how many seeds detect a difference of `effect` points."""
        from optlab.training.power import required_seeds  # brings SciPy

        finished = cache(_finished_records)
        for name, runs in self._workloads().items():
            records_of_any = finished(runs[0].folder.parent.parent)
            workloads = {run.workload for run in runs}
            alike = [record for record in records_of_any if _workload_of(record) in workloads]
            needed = required_seeds(name, [run.config for run in runs], alike, effect)
            costs_s = [
                cost_s * run.config.trainer.max_epochs
                for run in runs
                if (cost_s := _seconds_per_epoch(run, alike)) is not None
            ]
            seconds = None
            if len(costs_s) == len(runs):
                seconds = fmean(costs_s) * needed.num_to_train / num_processes
            Console().print(needed.text(seeds_option, _cost(seconds, num_processes)))

    def _workloads(self) -> dict[str, list[PlannedRun]]:
        """Group the runs that a report would compare by data and model.

        Models with one configuration each are compared with each other, as in the report.
        """
        by_workload: dict[tuple[str, str], list[PlannedRun]] = {}
        for run in self.runs:
            by_workload.setdefault(run.workload, []).append(run)
        workloads: dict[str, list[PlannedRun]] = {}
        for (data, model), runs in by_workload.items():
            others = [each for workload, each in by_workload.items() if workload[0] == data]
            one_each = len(others) > 1 and all(_num_configurations(each) == 1 for each in others)
            workloads.setdefault(data if one_each else f"{data}-{model}", []).extend(runs)
        return workloads


def _num_configurations(runs: Sequence[PlannedRun]) -> int:
    from optlab.training.power import configuration_key

    return len({configuration_key(identity(run.config)) for run in runs})


def _cost(seconds: float | None, num_processes: int) -> str:
    if seconds is None:
        return "unknown, as no run with this data and model has finished"
    return f"roughly {seconds:.0f} s with {num_processes} at a time"


def _planned(config: DictConfig, folder: Path, overrides: str) -> PlannedRun:
    record = find_record(folder)
    num_done = 0 if config.rerun else RunFolder(folder).num_epochs_done
    state: str = record.status if record else ("interrupted" if num_done else "new")
    if record and (changed := changed_modules(config, record.own_code)):
        state += f", {' and '.join(changed)} changed since"
    return PlannedRun(
        config=config,
        run_name=config.run_name,
        overrides=overrides,
        folder=folder,
        state=state,
        to_train=config.rerun or record is None or not record.has_result,
        num_epochs=max(0, config.trainer.max_epochs - num_done),
        train_fraction=config.data.get("train_fraction", 1.0),
        workload=(str(config.data.get("name")), str((config.model or {}).get("name"))),
    )


def _finished_records(outputs: Path) -> list[RunRecord]:
    found = map(find_record, recorded_runs(outputs))
    return [record for record in found if record and record.status == "finished"]


def _workload_of(record: RunRecord) -> tuple[str, str]:
    """Data and model of a record."""
    return str((record.config.get("data") or {}).get("name")), record.model.name


def _seconds_per_epoch(run: PlannedRun, finished: Sequence[RunRecord]) -> float | None:
    """Return the median seconds per epoch of finished runs with the same data and model."""
    costs = []
    for record in finished:
        if _workload_of(record) != run.workload:
            continue
        if not record.num_epochs or record.train_time_s is None or record.wall_time_s is None:
            continue
        together = record.replica.of if record.replica else 1  # in the same seconds
        fraction = (record.config.get("data") or {}).get("train_fraction", 1.0)
        share = run.train_fraction / fraction
        # This part does not depend on the number of images. It is unknown (0) for a run that was
        # interrupted, whose wall time covers only its last process
        rest_s = max(0.0, record.wall_time_s / together - record.train_time_s)
        costs.append((rest_s + record.train_time_s * share) / record.num_epochs)
    return median(costs) if costs else None
