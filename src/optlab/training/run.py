"""One run from its config to its record: check, build, train, test, write down.

A run with num_replicas = R goes the same way with R configs that differ in their seed, one stacked
network, and a folder and a record for each.
"""

import logging
import pickle
import shutil
import struct
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import torch
from filelock import FileLock, Timeout
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig

from optlab.training import build, outcome
from optlab.training import record as records
from optlab.training.checkpoints import best_checkpoint, last_checkpoint
from optlab.training.classifier import ImageClassifier
from optlab.training.history import Diverged, History
from optlab.training.identity import replicas, run_dir
from optlab.training.own_code import changed_since, own_code
from optlab.training.preflight import preflight
from optlab.training.replicas import ReplicaCheckpoints, StackedNet

log = logging.getLogger(__name__)

LOCK_TIMEOUT_S = 5.0  # a killed process may take a moment to let go


def run(config: DictConfig) -> list[dict[str, Any]]:
    """Trains, tests and records the run of a config, or each of its replicas.

    Goes on from the last checkpoint if there is one. Replicas that have a result are left alone,
    unless rerun=true.

    Returns:
        The records of what was trained, replica by replica.

    Raises:
        ValueError: for a config that contradicts itself, or data that is not there.
    """
    preflight(config)
    with ExitStack() as locks:
        for replica in _to_train(config) if records.is_main_process() else ():
            locks.enter_context(_alone_in(run_dir(replica)))
        configs = _to_train(config)  # now that nobody else can finish one any more
        folders = [run_dir(replica) for replica in configs]
        for folder in folders if records.is_main_process() else ():
            (folder / "record.json").unlink(missing_ok=True)  # of a failure, or not wanted any more
            if config.rerun:
                _forget(folder)
        return _run(configs, folders) if configs else []


def _to_train(config: DictConfig) -> list[DictConfig]:
    """The replicas that have no result yet; all of them with rerun=true."""
    return [
        replica
        for replica in replicas(config)
        if config.rerun or not records.has_result(records.read_record(run_dir(replica)))
    ]


def _run(configs: list[DictConfig], folders: list[Path]) -> list[dict[str, Any]]:
    config, started_at, start_s = configs[0], records.now(), time.perf_counter()
    code = own_code(config)  # as it is imported now, whatever is edited while the run goes on
    build.prepare_process(config)
    datamodule = build.build_data(config, [replica.seed for replica in configs])
    nets = [build.build_net(replica, datamodule) for replica in configs]
    net = nets[0] if len(nets) == 1 else StackedNet(nets)
    classifier = build.build_classifier(config, net, datamodule)
    origin = {"own_code": code, "dataset_checksum": datamodule.checksum}
    history = History(folders, datamodule.num_classes, origin)
    checkpoints, resume_point = _checkpoints(configs, folders, net)
    trainer = build.build_trainer(configs, [history, *checkpoints], datamodule)

    go_on = _can_go_on(resume_point, config, datamodule.checksum)
    failure = _fit(trainer, classifier, datamodule, resume_point if go_on else None)
    new = [
        {
            **outcome.describe_run(replica, trainer, net, datamodule),
            "own_code": code,
            "status": "finished",
            "reason": None,
            **outcome.validation_results(folder, config),
            **outcome.training_cost(trainer, history),
            "started_at": started_at,
        }
        for replica, folder in zip(configs, folders, strict=True)
    ]
    for index, reason in history.diverged.items():
        new[index] |= {"status": "diverged", "reason": reason}
    if failure is None:
        outcome.test(new, trainer, classifier, datamodule, folders)
    for index, (record, folder) in enumerate(zip(new, folders, strict=True)):
        if trainer.is_global_zero and record["status"] == "finished":
            try:
                _show(config, trainer, classifier, datamodule, record, folder, index)
            except Exception as error:  # the result stands without its pictures
                log.exception("no pictures")
                told = (
                    f"{folder}: pictures could not be made ({error}); train.log has the traceback"
                )
                print(told, file=sys.stderr)
    for record, folder in zip(new, folders, strict=True):  # together: killed before, they go on
        record |= {"wall_time_s": time.perf_counter() - start_s, "finished_at": records.now()}
        if trainer.is_global_zero:
            records.write_record(folder, record)
            print(f"{folder}: {records.describe(record)}", flush=True)
            # Replicas that this one belonged to will not go on together any more
            for together in (folder / "checkpoints").glob("*-replicas-*.ckpt"):
                together.unlink()
    return new


def _checkpoints(
    configs: list[DictConfig], folders: list[Path], net: Any
) -> tuple[list[Callback], Path]:
    """What keeps the weights, and where the checkpoint to go on from lies."""
    best = configs[0].callbacks.best
    if not isinstance(net, StackedNet):
        keep: list[Callback] = [best_checkpoint(folders[0], best.monitor, best.mode)]
        last = last_checkpoint(folders[0], "last")
    else:
        keep = [ReplicaCheckpoints(folders, net, best.monitor, best.mode)]
        # Of these seeds alone: what is left to do may differ from one command to the next
        seeds = zlib.crc32(repr([replica.seed for replica in configs]).encode())
        last = last_checkpoint(folders[0], f"{len(folders)}-replicas-{seeds:08x}")
    return [*keep, last], Path(str(last.dirpath)) / f"{last.filename}.ckpt"


def _fit(
    trainer: L.Trainer, classifier: ImageClassifier, datamodule: Any, resume_point: Path | None
) -> Diverged | None:
    """Trains to the end; returns the divergence that ended it, if one did."""
    try:
        trainer.fit(
            classifier,
            datamodule=datamodule,
            ckpt_path=resume_point,
            weights_only=True,
        )
    except Diverged as divergence:
        log.warning("diverged: %s", divergence)
        return divergence
    return None


def _can_go_on(resume_point: Path, config: DictConfig, checksum: str) -> bool:
    """Whether there is a checkpoint to go on from; one that cannot be trusted is refused."""
    if not resume_point.is_file():
        return False
    try:
        state = torch.load(resume_point, weights_only=True, mmap=True, map_location="cpu")
    except (RuntimeError, EOFError, pickle.UnpicklingError, struct.error) as error:
        raise ValueError(
            f"{resume_point} is damaged: {error}.\n\nhint: rerun=true starts this run anew"
        ) from error
    if "loops" not in state:  # a replica's own: its weights alone, good to look at
        return False
    if resume_point.name == "last.ckpt" and not resume_point.with_name("best.ckpt").is_file():
        raise ValueError(
            f"{resume_point.with_name('best.ckpt')} is not there any more: the weights of the best "
            "epoch so far are lost.\n\nhint: rerun=true starts this run anew"
        )
    if "stopped" not in state:
        raise ValueError(
            f"{resume_point} was written by an older version, which this one cannot go on from."
            "\n\nhint: rerun=true starts this run anew"
        )
    if state.get("dataset_checksum", checksum) != checksum:
        raise ValueError(
            f"the images of data={config.data.name} changed since {resume_point} was written: "
            "those that were trained on might be validated on now.\n\n"
            "hint: rerun=true starts this run anew; with the former images it goes on"
        )
    changed = changed_since(config, state)
    if changed:
        raise ValueError(
            f"{' and '.join(changed)} changed since {resume_point} was written: the run would be "
            "half of the one code, half of the other.\n\n"
            "hint: rerun=true starts this run anew; with the change undone it goes on"
        )
    return True


def _show(
    config: DictConfig,
    trainer: L.Trainer,
    classifier: ImageClassifier,
    datamodule: Any,
    record: dict[str, Any],
    folder: Path,
    index: int,
) -> None:
    """The classification report and the pictures of one finished run."""
    outcome.write_classification_report(folder, record)
    if not config.callbacks.figures:
        return
    from optlab.training.figures import draw, pictures_of, show_graph

    net = classifier.net.single(index) if isinstance(classifier.net, StackedNet) else classifier.net
    # Over several devices each has seen a share of the test images: no picture of single ones
    alone = trainer.world_size == 1
    predictions = outcome.TestPredictions.of(classifier, index) if alone else None
    logger = trainer.loggers[index] if trainer.loggers else None
    board = None
    if config.callbacks.tensorboard_figures and isinstance(logger, TensorBoardLogger):
        board = logger
    pictures = pictures_of(folder, record, predictions, datamodule.test_pictures, net.state_dict())
    draw(pictures, folder / "figures", board, record["num_steps"])
    if board is not None:
        show_graph(board, net, next(iter(datamodule.val_dataloader())).images[:1])


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Holds the folder's lock, which the system frees if the process dies."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=LOCK_TIMEOUT_S)
    except Timeout:
        raise ValueError(
            f"another process is training {folder}.\n\n"
            "hint: wait until it ends; the same command then finds its result"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _forget(folder: Path) -> None:
    """Removes what an earlier training of the same run left."""
    for name in ("checkpoints", "figures", "lightning_csv"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for events in folder.glob("events.out.tfevents.*"):
        events.unlink()
