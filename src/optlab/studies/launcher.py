"""Train the runs of a study in parallel on this machine, each in its own process.

A run that is killed, for example when it is out of memory, does not end the others, and no state
leaks from run to run. The processes are forked from a server that has imported torch once, so a run
starts in milliseconds. Each run uses `num_threads` threads (1 by default). No more runs are trained
at a time than cores and memory allow.
"""

import math
import multiprocessing
import os
import re
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import psutil
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from optlab.runs.folder import RunFolder
from optlab.runs.record import RunRecord, find_record, write_record
from optlab.studies.jobs import (
    Job,
    compose_jobs,
    make_plan,
    print_changed_code,
    refuse_shared_seeds,
)
from optlab.training import cli
from optlab.training.environment import now
from optlab.training.run_id import GROUPS, OPTIONS

START_METHOD = "spawn" if sys.platform == "win32" else "forkserver"
POLL_S = 0.5
GPU_DEVICES = ("nvidiactl", "dxg", "kfd")  # NVIDIA, WSL, AMD


def launch(
    job_overrides: Sequence[Sequence[str]],
    first_index: int,
    *,
    hydra_context: HydraContext,
    config: DictConfig,
    num_processes: int | None,
    memory_per_run_gib: float,
) -> list[JobReturn]:
    """Train the runs that have no result yet; return a `JobReturn` for each run.

    Raises:
        ValueError: if options of a config contradict each other; no run has been started.
    """
    setup_globals()
    jobs: list[Job] = []
    for job in compose_jobs(hydra_context.config_loader, config, job_overrides, first_index):
        if not job.done:  # the server imports torch while the other jobs are composed
            prepare_processes(plan=job.config.plan)
        jobs.append(job)
    unique = list({(job.folder, job.config.num_replicas): job for job in jobs}.values())
    refuse_shared_seeds(unique)
    done = [job for job in unique if job.done]
    todo = [job for job in unique if not job.done]
    if any(job.config.plan for job in jobs):
        _validate_configs(todo)
        num_processes = num_processes or _max_parallel_runs(todo or unique, memory_per_run_gib)
        make_plan(unique).print(num_processes, effect=unique[0].config.effect)
        return [_job_return(job) for job in jobs]
    for job in done:
        job.tag_runs()
    if done:
        print(f"{len(done)} of {len(unique)} runs are already done", flush=True)
        print_changed_code(done)
    if any(job.config.trainer.strategy == "ddp" for job in todo):
        raise ValueError(
            "trainer.strategy=ddp cannot be used in a study: each additional process of a run "
            "would start the study again.\n\n"
            "hint: start each run with its own command, without -m, and write the report with "
            "scripts/report.py"
        )
    if todo:
        _run_all(todo, hydra_context, num_processes or _max_parallel_runs(todo, memory_per_run_gib))
    return [_job_return(job) for job in jobs]


def _max_parallel_runs(jobs: list[Job], memory_per_run_gib: float) -> int:
    """Return how many runs to train at a time: as cores and free memory allow, or 1 on a GPU."""
    if any(_on_gpu(job.config) for job in jobs):
        return 1
    threads = max((job.config.num_threads for job in jobs), default=1)
    by_memory = int(psutil.virtual_memory().available / 2**30 / memory_per_run_gib)
    return max(1, min(len(jobs), _num_cores() // threads, by_memory))


def _num_cores() -> int:
    """Return how many cores this process may use; respects the limits of a container."""
    from joblib import cpu_count  # takes 0.1 s, while the server imports torch

    return int(cpu_count())


def _on_gpu(config: DictConfig) -> bool:
    if config.trainer.accelerator == "cpu":
        return False
    if sys.platform == "linux" and not any(Path("/dev", name).exists() for name in GPU_DEVICES):
        # validate_config reports the missing GPU
        return config.trainer.accelerator in ("gpu", "cuda")
    import torch

    return torch.cuda.is_available() or torch.backends.mps.is_available()


def prepare_processes(*, plan: bool) -> None:
    """Start the server that the runs will be forked from; not on Windows, which cannot fork."""
    if START_METHOD == "forkserver":
        from multiprocessing import forkserver  # Windows has no such module

        modules = "optlab.studies.preload_checks" if plan else "optlab.studies.preload"
        forkserver.set_forkserver_preload([modules])
        forkserver.ensure_running()  # a further call restarts the server if it died


def _run_all(jobs: list[Job], hydra_context: HydraContext, num_processes: int) -> None:
    # The report will need it. Import it now, while the server imports torch
    import optlab.report  # noqa: F401

    _validate_configs(jobs)
    context = multiprocessing.get_context(START_METHOD)
    cores = _num_cores()
    print(
        f"{len(jobs)} runs to train, {num_processes} at a time on {cores} cores; "
        f"each writes {jobs[0].folder.parent}/<run>/train.log",
        flush=True,
    )
    waiting = launch_order(jobs)[::-1]
    running: dict[Any, Job] = {}
    try:
        with _Progress(jobs) as progress:
            while waiting or running:
                while waiting and len(running) < num_processes:
                    job = waiting.pop()
                    running[_start(context, job, hydra_context)] = job
                progress.show(running.values())
                wait([process.sentinel for process in running], timeout=POLL_S)
                for process in [process for process in running if process.exitcode is not None]:
                    job = running.pop(process)
                    record = _record_after_exit(job, process.exitcode)
                    progress.end(job, record)
                    if record.status != "finished" and job.config.on_error == "stop":
                        raise SystemExit(1)
    finally:  # Ctrl-C, an error or on_error=stop: kill all; they resume from their checkpoints
        for process in running:
            process.kill()
        for process in running:
            process.join()


def launch_order(jobs: Sequence[Job]) -> list[Job]:
    """Return the jobs seed by seed, in their own order within a seed.

    A machine that becomes busier then slows all configurations alike.
    """
    return sorted(jobs, key=lambda job: job.config.seed)


def _start(context: Any, job: Job, hydra_context: HydraContext) -> Any:
    job.folder.mkdir(parents=True, exist_ok=True)
    job.tag_runs()
    for _, folder in job.runs:
        files, record = RunFolder(folder), find_record(folder)
        has_result = not job.config.rerun and record is not None and record.has_result
        if not (has_result or files.is_locked):
            files.record.unlink(missing_ok=True)  # otherwise a killed run would keep the old record
    process = context.Process(target=_child, args=(job.config, hydra_context, str(job.folder)))
    process.start()
    return process


def _child(config: DictConfig, hydra_context: HydraContext, folder: str) -> None:
    """Train one run in its own process and redirect its output to its log."""
    _exit_with_parent()
    with open(RunFolder(Path(folder)).log, "a", buffering=1) as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    setup_globals()
    Plugins.instance()  # registers the resolvers that the config still holds
    HydraConfig.instance().set_config(config)
    run_job(
        hydra_context=hydra_context,
        task_function=cli.train,
        config=config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )


def _exit_with_parent() -> None:
    """Exit when the study's process ends, so that a killed study leaves no runs behind."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_after, args=(parent,), daemon=True).start()


def _exit_after(process: Any) -> None:
    process.join()
    os._exit(1)


def _validate_configs(jobs: list[Job]) -> None:
    """Raise ValueError if the options of a config contradict each other.

    A child process checks them, because this one has not imported torch.
    """
    distinct = _one_job_per_configuration(jobs)
    context: Any = multiprocessing.get_context(START_METHOD)
    receiver, sender = context.Pipe(duplex=False)
    configs = [(job.config, str(job.folder)) for job in distinct]
    process = context.Process(target=_check_in_child, args=(sender, configs))
    process.start()  # waits until the server has imported torch
    sender.close()
    try:
        problems = receiver.recv()
    except EOFError:
        raise RuntimeError(
            "the process that validates configs failed; see the output above"
        ) from None
    finally:
        process.join()
    if any(problems):
        raise ValueError(
            "\n".join(
                f"{' '.join(job.overrides) or 'the run'}: {problem}"
                for job, problem in zip(distinct, problems, strict=True)
                if problem
            )
        )


def _one_job_per_configuration(jobs: list[Job]) -> list[Job]:
    """Return one job per configuration, or one per seed if other options depend on the seed."""
    configurations: dict[tuple[object, ...], list[Job]] = defaultdict(list)
    for job in jobs:
        others = (override for override in job.overrides if not override.startswith("seed="))
        # A negative seed is an error of its own, so it is not merged with the others
        configurations[(*others, min(job.config.seed, 0))].append(job)
    return [
        job
        for seeds in configurations.values()
        for job in (seeds if _uses_seed(seeds[0].config) else seeds[:1])
    ]


def _uses_seed(config: DictConfig) -> bool:
    """Return whether an option to validate refers to the seed, as `ckpt_path` may."""
    raw = OmegaConf.to_container(config)
    assert isinstance(raw, dict)
    checked = {name: raw.get(name) for name in (*GROUPS, *OPTIONS) if name != "callbacks"}
    checked["data"] = {**(checked["data"] or {}), "seed": None}  # it only orders the images
    return re.search(r"\$\{[^}]*(seed|run_)", str(checked)) is not None


def _check_in_child(sender: Connection, configs: list[tuple[DictConfig, str]]) -> None:
    from optlab.training.validate import validate_config

    Plugins.instance()  # registers the resolvers that the configs still hold
    problems = []
    for config, folder in configs:
        # Otherwise run_dir is resolved again for each value that refers to it
        OmegaConf.update(config, "run_dir", folder, force_add=True)
        try:
            validate_config(config)
            problems.append("")
        except ValueError as error:
            problems.append(str(error))
    sender.send(problems)


def _record_after_exit(job: Job, exit_code: int) -> RunRecord:
    """Return the record of a run whose process has ended.

    With replicas, return the first record that is not "finished". If the process was killed before
    it could write its record, write one here.
    """
    HydraConfig.instance().set_config(job.config)  # print_failure reads the overrides from it
    records = [_record_of(*run, exit_code) for run in job.runs]
    record = next((record for record in records if record.status != "finished"), records[0])
    if record.status == "failed":
        cli.print_failure(job.config, record.reason or "", RunFolder(job.folder).log)
    return record


def _record_of(config: DictConfig, folder: Path, exit_code: int) -> RunRecord:
    held = RunFolder(folder).is_locked  # by another process, which will record it
    record = None if held else find_record(folder)
    if record is None:
        reason = f"its process ended with exit code {exit_code}; see train.log"
        if exit_code < 0:
            reason = f"its process was killed by signal {-exit_code}"
            reason += " (out of memory?)" if exit_code == -9 else ""
        if held:
            reason = f"another process is training {folder}"
        record = cli.failed_record(config, reason, now())
        if not held:
            write_record(folder, record)
    return record


def _job_return(job: Job) -> JobReturn:
    """Wrap the run's validation accuracy for Hydra's sweepers; nan if there is no result."""
    record = find_record(job.folder)
    return JobReturn(
        overrides=job.overrides,
        working_dir=str(job.folder),
        status=JobStatus.COMPLETED,
        _return_value=record.objective if record else math.nan,
    )


class _Progress(Progress):
    """Print a line for each run that ended, and on a terminal a bar over the epochs of all runs."""

    def __init__(self, jobs: list[Job]) -> None:
        columns = BarColumn(), TimeRemainingColumn(), TextColumn("{task.description}")
        super().__init__(*columns, transient=True, disable=not Console().is_terminal)
        self.num_jobs, self.num_ended, self.start_s = len(jobs), 0, time.perf_counter()
        self.num_epochs_ended = 0  # planned epochs of the ended runs, even if they stopped early
        self.bar = self.add_task("", total=sum(job.config.trainer.max_epochs for job in jobs))

    def show(self, running: Collection[Job]) -> None:
        if self.disable:
            return
        done = {job: RunFolder(job.folder).num_epochs_done for job in running}
        states = [
            f"{job.config.run_name} {epochs}/{job.config.trainer.max_epochs}"
            for job, epochs in done.items()
        ]
        completed = self.num_epochs_ended + sum(done.values())
        self.update(self.bar, completed=completed, description=", ".join(states))

    def end(self, job: Job, record: RunRecord) -> None:
        self.num_ended += 1
        self.num_epochs_ended += job.config.trainer.max_epochs
        elapsed_s, num_left = time.perf_counter() - self.start_s, self.num_jobs - self.num_ended
        left = f", about {elapsed_s / self.num_ended * num_left:.0f} s left" if num_left else ""
        outcome = record.outcome.partition("\n")[0]  # a failure was printed in full
        count = f"[{self.num_ended:>{len(str(self.num_jobs))}}/{self.num_jobs}]"
        line = f"{count} {record.run_name}: {outcome}{left}"
        self.console.print(line, highlight=False, soft_wrap=True, markup=False)
