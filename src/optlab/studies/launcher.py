"""Runs of a study side by side on this machine, each in a process of its own.

Why not in this process: a run that is killed for memory must not take the others with it, and no
state may leak from run to run. The processes are forked from a server that has imported torch
once, so a run starts in milliseconds. Every run has `num_threads` threads (1 by default),
and there are never more runs at a time than cores, memory or work allow.
"""

import multiprocessing
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import psutil
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from optlab.training import door
from optlab.training import record as records
from optlab.training.code_fingerprint import changed_since
from optlab.training.identity import replicas, run_dir
from optlab.training.plan import Plan

START_METHOD = "spawn" if sys.platform == "win32" else "forkserver"
POLL_S = 0.5
GPU_DEVICES = ("nvidiactl", "dxg", "kfd")  # of NVIDIA's driver, of Windows' for Linux, of AMD's


@dataclass
class Job:
    """One run of a study: its overrides, its composed config (with the hydra node), its folder."""

    overrides: list[str]
    config: DictConfig
    folder: Path

    @cached_property
    def done(self) -> bool:
        """Whether there is nothing to train, in any replica."""
        found = [records.read_record(run_dir(replica)) for replica in replicas(self.config)]
        return not self.config.rerun and all(records.has_result(record) for record in found)


def launch(
    job_overrides: Sequence[Sequence[str]],
    first_index: int,
    *,
    hydra_context: HydraContext,
    config: DictConfig,
    num_processes: int | None,
    memory_per_run_gib: float,
) -> list[JobReturn]:
    """Trains what is not trained yet; returns what Hydra wants of each run.

    Raises:
        ValueError: if a config contradicts itself; nothing has been started then.
    """
    setup_globals()
    _check_knobs(num_processes, memory_per_run_gib)
    jobs: list[Job] = []
    for index, overrides in enumerate(job_overrides, start=first_index):
        job = _compose(hydra_context, config, list(overrides), index)
        door.check_command(job.config)
        if not (job.done or job.config.plan):
            _prepare_processes()  # torch is imported there while the others are composed here
        jobs.append(job)
    unique = list({(job.folder, job.config.num_replicas): job for job in jobs}.values())
    _refuse_shared_seeds(unique)
    todo = [job for job in unique if not job.done]
    if any(job.config.plan for job in jobs):
        _plan(unique).print(num_processes or _affordable(todo, memory_per_run_gib))
        return [_returned(job) for job in jobs]
    for job in unique:
        if job not in todo:
            _mark(job)
    if len(todo) < len(unique):
        print(f"{len(unique) - len(todo)} of {len(unique)} runs are done already", flush=True)
        _tell_changes([job for job in unique if job.done])
    if any(job.config.trainer.strategy == "ddp" for job in todo):
        raise ValueError(
            "trainer.strategy=ddp in a study: the run's further processes would each start the "
            "study again.\n\n"
            "hint: give each run a command of its own, without -m; the report comes with "
            "scripts/report.py"
        )
    if todo:
        _run_all(todo, hydra_context, num_processes or _affordable(todo, memory_per_run_gib))
    return [_returned(job) for job in jobs]


def _check_knobs(num_processes: Any, memory_per_run_gib: Any) -> None:
    if num_processes is not None and not (isinstance(num_processes, int) and num_processes >= 1):
        raise ValueError(
            f"hydra.launcher.num_processes is {num_processes}; allowed: a whole number >= 1, or "
            "null for as many as the machine has cores and memory for"
        )
    if not (isinstance(memory_per_run_gib, int | float) and memory_per_run_gib > 0):
        raise ValueError(
            f"hydra.launcher.memory_per_run_gib is {memory_per_run_gib}; it must be a number > 0"
        )


def _compose(
    hydra_context: HydraContext, config: DictConfig, overrides: list[str], index: int
) -> Job:
    composed = hydra_context.config_loader.load_sweep_config(config, overrides)
    with open_dict(composed):
        composed.hydra.job.id = str(index)
        composed.hydra.job.num = index
    return Job(overrides, composed, run_dir(composed))


def _plan(jobs: list[Job]) -> Plan:
    common = set.intersection(*(set(job.overrides) for job in jobs))
    return Plan.of(
        [
            (replica, run_dir(replica), " ".join(o for o in job.overrides if o not in common))
            for job in jobs
            for replica in replicas(job.config)
        ]
    )


def _tell_changes(done: list[Job]) -> None:
    """A run is recognised by its config; that its classes were edited since must be said."""
    counts = Counter(
        name
        for job in done
        for replica in replicas(job.config)
        for name in changed_since(replica, records.read_record(run_dir(replica)) or {})
    )
    for name, number in counts.items():
        print(
            f"{name} has changed since {number} of them were trained: rerun=true trains them again",
            flush=True,
        )


def _mark(job: Job) -> None:
    """Notes that the command asked for the run, which the report at its end goes by."""
    for replica in replicas(job.config):
        records.mark(run_dir(replica), job.config.hydra.job.env_set.get(records.COMMAND_ID))


def _refuse_shared_seeds(jobs: list[Job]) -> None:
    seen: set[Path] = set()
    for job in jobs:
        folders = {run_dir(replica) for replica in replicas(job.config)}
        if seen & folders:
            raise ValueError(
                f"num_replicas={job.config.num_replicas} with seed={job.config.seed}: another run "
                f"of this sweep trains one of the seeds from {job.config.seed} on as well.\n\n"
                "hint: let the seeds of a sweep lie num_replicas apart"
            )
        seen |= folders


def _affordable(jobs: list[Job], memory_per_run_gib: float) -> int:
    """Runs at a time: as many as there are, as cores carry, as free memory holds; one on a GPU."""
    if any(_on_gpu(job.config) for job in jobs):
        return 1
    threads = max((job.config.num_threads for job in jobs), default=1)
    by_memory = int(psutil.virtual_memory().available / 2**30 / memory_per_run_gib)
    return max(1, min(len(jobs), _num_cores() // threads, by_memory))


def _num_cores() -> int:
    """Cores that this process may use, in a container those of its share as well."""
    from joblib import cpu_count  # 0.1 s, by now spent while torch is imported elsewhere

    return int(cpu_count())


def _on_gpu(config: DictConfig) -> bool:
    if config.trainer.accelerator == "cpu":
        return False
    if sys.platform == "linux" and not any(Path("/dev", name).exists() for name in GPU_DEVICES):
        return config.trainer.accelerator in (
            "gpu",
            "cuda",
        )  # validate_config says that there is none
    import torch

    return torch.cuda.is_available() or torch.backends.mps.is_available()


def _prepare_processes() -> None:
    """Starts the server that the runs will be forked from, where there is such a thing."""
    if START_METHOD == "forkserver":
        from multiprocessing import forkserver  # where Windows has none

        forkserver.set_forkserver_preload(["optlab.studies.preload"])
        forkserver.ensure_running()  # at the second call it looks whether it still does


def _run_all(jobs: list[Job], hydra_context: HydraContext, num_processes: int) -> None:
    context = multiprocessing.get_context(START_METHOD)
    _check_all(context, jobs)
    cores = _num_cores()
    print(
        f"{len(jobs)} runs to train, {num_processes} at a time on {cores} cores; "
        f"each writes {jobs[0].folder.parent}/<run>/train.log",
        flush=True,
    )
    waiting, num_ended = list(jobs), 0
    running: dict[Any, Job] = {}
    start_s = time.perf_counter()
    live = _Live(jobs)
    try:
        with live:
            while waiting or running:
                while waiting and len(running) < num_processes:
                    job = waiting.pop(0)
                    running[_start(context, job, hydra_context)] = job
                live.show(running.values())
                wait([process.sentinel for process in running], timeout=POLL_S)
                for process in [process for process in running if process.exitcode is not None]:
                    job = running.pop(process)
                    num_ended += 1
                    record = _outcome(job, process.exitcode)
                    left_s = _time_left_s(start_s, num_ended, len(jobs))
                    live.print(_line(record, num_ended, len(jobs), left_s))
                    if record["status"] != "finished" and job.config.on_error == "stop":
                        raise SystemExit(1)
    finally:  # Ctrl-C, an error, on_error=stop: all end at once; checkpoints make it no loss
        for process in running:
            process.kill()
        for process in running:
            process.join()


def _start(context: Any, job: Job, hydra_context: HydraContext) -> Any:
    job.folder.mkdir(parents=True, exist_ok=True)
    _mark(job)
    for folder in map(run_dir, replicas(job.config)):
        if job.config.rerun or not records.has_result(records.read_record(folder)):
            (folder / "record.json").unlink(missing_ok=True)  # else a killed run would show it
    process = context.Process(target=_child, args=(job.config, hydra_context, str(job.folder)))
    process.start()
    return process


def _child(config: DictConfig, hydra_context: HydraContext, folder: str) -> None:
    """One run, in its own process. What it prints goes to its log."""
    _end_with_parent()
    with open(Path(folder) / "train.log", "a", buffering=1) as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    setup_globals()
    Plugins.instance()  # registers the resolvers that the config still holds
    HydraConfig.instance().set_config(config)
    run_job(
        hydra_context=hydra_context,
        task_function=door.start,
        config=config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )


def _end_with_parent() -> None:
    """A study that is killed must not leave runs behind that nobody waits for."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_after, args=(parent,), daemon=True).start()


def _exit_after(process: Any) -> None:
    process.join()
    os._exit(1)


def _check_all(context: Any, jobs: list[Job]) -> None:
    """Checks every config before the first run starts; in a child, which has torch already."""
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_check_in_child, args=(sender, [job.config for job in jobs]))
    import optlab.results  # the report will need it: now, while torch is imported over there
    import optlab.results.figures  # noqa: F401

    process.start()  # waits until it is
    sender.close()
    try:
        problems = receiver.recv()
    except EOFError:
        raise RuntimeError("the process that checks configs died; see the lines above") from None
    finally:
        process.join()
    if problems:
        raise ValueError(
            "\n".join(
                f"{' '.join(job.overrides) or 'the run'}: {problem}"
                for job, problem in zip(jobs, problems, strict=True)
                if problem
            )
        )


def _check_in_child(sender: Connection, configs: list[DictConfig]) -> None:
    from optlab.training.validate import validate_config

    Plugins.instance()  # registers the resolvers that the configs still hold
    problems = []
    for config in configs:
        try:
            validate_config(config)
            problems.append("")
        except ValueError as error:
            problems.append(str(error))
    sender.send(problems if any(problems) else [])


def _outcome(job: Job, exit_code: int) -> dict[str, Any]:
    """The record of a run whose process has ended, or of the first replica without a result.

    Written here where the process could not.
    """
    HydraConfig.instance().set_config(job.config)  # whose overrides a failure names
    found = [_record_of(replica, exit_code) for replica in replicas(job.config)]
    record = next((record for record in found if record["status"] != "finished"), found[0])
    if record["status"] == "failed":
        door.tell_failure(job.config, record["reason"])
    return record


def _record_of(config: DictConfig, exit_code: int) -> dict[str, Any]:
    folder = run_dir(config)
    record = records.read_record(folder)
    if record is None:
        reason = f"its process ended with exit code {exit_code}; see train.log"
        if exit_code < 0:
            reason = f"its process was killed by signal {-exit_code}"
            reason += " (out of memory?)" if exit_code == -9 else ""
        held = records.in_training(folder)  # by another process, which will record it
        if held:
            reason = f"another process is training {folder}"
        record = door.failed_record(config, reason, records.now())
        if not held:
            records.write_record(folder, record)
    return record


def _line(record: dict[str, Any], num_ended: int, num_jobs: int, left_s: float) -> str:
    left = f", about {left_s:.0f} s left" if num_ended < num_jobs else ""
    width = len(str(num_jobs))
    outcome = records.describe(record).partition("\n")[0]  # a failure has been told in full
    return f"[{num_ended:>{width}}/{num_jobs}] {record['run_name']}: {outcome}{left}"


def _time_left_s(start_s: float, num_ended: int, num_jobs: int) -> float:
    elapsed_s = time.perf_counter() - start_s
    return elapsed_s / num_ended * (num_jobs - num_ended)


def _returned(job: Job) -> JobReturn:
    """What Hydra's sweepers read: the run's best validation accuracy, nan without a result."""
    record = records.read_record(job.folder) or {}
    config = OmegaConf.masked_copy(job.config, [str(key) for key in job.config if key != "hydra"])
    return JobReturn(
        overrides=job.overrides,
        cfg=config,
        hydra_cfg=OmegaConf.masked_copy(job.config, ["hydra"]),
        working_dir=str(job.folder),
        status=JobStatus.COMPLETED,
        _return_value=records.objective(record),
    )


class _Live:
    """On a terminal one bar over all runs of the study; elsewhere nothing but the printed lines."""

    def __init__(self, jobs: list[Job]) -> None:
        self.jobs = jobs
        self.console = Console()
        self.progress = Progress(
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            console=self.console,
            disable=not self.console.is_terminal,
            transient=True,
        )
        self.task = self.progress.add_task(
            "", total=sum(job.config.trainer.max_epochs for job in jobs)
        )

    def __enter__(self) -> "_Live":
        self.progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.progress.stop()

    def show(self, running: Any) -> None:
        if self.progress.disable:
            return
        done = records.num_epochs_done
        states = [
            f"{job.config.run_name} {done(job.folder)}/{job.config.trainer.max_epochs}"
            for job in running
        ]
        completed = sum(done(job.folder) for job in self.jobs)
        self.progress.update(self.task, completed=completed, description=", ".join(states))

    def print(self, line: str) -> None:
        self.console.print(line, highlight=False, soft_wrap=True, markup=False)
