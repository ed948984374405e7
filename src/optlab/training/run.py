"""One run: validate its config, build its parts, train, test, and write its record."""

import logging
import math
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import LearningRateFinder, StochasticWeightAveraging
from lightning.pytorch.plugins.precision import DoublePrecision, HalfPrecision
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig

from optlab.models.load import load_checkpoint
from optlab.runs.folder import RunFolder, is_main_process
from optlab.runs.record import (
    EpochMetrics,
    Evaluation,
    Metrics,
    RunRecord,
    Validation,
    find_record,
    read_record,
    write_record,
)
from optlab.training import build, describe
from optlab.training.best_epoch import best_rule, ranking_key
from optlab.training.checkpoints import ResumeCheckpoint, resume_point, save_atomically
from optlab.training.clock import TrainingClock
from optlab.training.code_fingerprint import own_code
from optlab.training.csv_metrics import CSVMetrics, Diverged
from optlab.training.environment import now
from optlab.training.evaluate import (
    TRAIN_EVAL_IMAGES,
    TestPredictions,
    TestResults,
    evaluate,
    write_classification_report,
    write_mistakes,
    write_test_probabilities,
)
from optlab.training.optimizer_cost import OptimizerCost
from optlab.training.optimizer_trial import check_resumes
from optlab.training.process import prepare_process
from optlab.training.run_id import resolve_path, run_dir
from optlab.training.validate import on_cuda, validate_config
from optlab.training.weight_averages import RecomputeBatchNorm

log = logging.getLogger(__name__)


def run(config: DictConfig) -> list[RunRecord]:
    """Train, test and record the run of a config, or each of its replicas.

    Resumes from the last checkpoint if there is one. A run that has a result (it finished, or it
    diverged) is not trained again, unless rerun=true.

    Returns:
        The record of the run, or one of each replica in the order of their seeds.

    Raises:
        ValueError: if options contradict each other, or data is missing.
    """
    validate_config(config)
    if config.num_replicas > 1:
        from optlab.training.replicas import run_replicas

        return run_replicas(config)
    folder = run_dir(config)
    with RunFolder(folder).lock():
        if needs_training(config, folder):
            clear(config, folder)
            return [train(config, folder)]
        return [read_record(folder)]


def train(config: DictConfig, folder: Path) -> RunRecord:
    """Build the parts of one run, fit, test and write its record."""
    started_at, start_s = now(), time.perf_counter()
    code = own_code(config)  # fingerprints of the user's modules, before they can be edited
    prepare_process(config.num_threads, on_cuda=on_cuda(config))
    datamodule = build.build_data(config)
    net = build.build_net(config, datamodule)
    build.use_cached_features(net, datamodule)
    module = build.build_module(config, net, datamodule)
    net = module if net is None else net  # a module that brings its own network
    checksum = getattr(datamodule, "checksum", None)
    resume = ResumeCheckpoint(folder, {"own_code": code, "dataset_checksum": checksum})
    checkpoint = resume_point(resume.path, config, checksum)
    check_resumes(config.optimizer, checkpoint)
    clock, cost, results = TrainingClock(), OptimizerCost(), TestResults(datamodule.num_classes)
    # False if ckpt_path starts this run from another run's checkpoint: the rows are in that run
    expects_earlier_rows = checkpoint is not None or config.ckpt_path is None
    csv = CSVMetrics(
        folder, datamodule.num_classes, clock, expects_earlier_rows=expects_earlier_rows
    )
    batch_norm = RecomputeBatchNorm()
    callbacks = [clock, cost, csv, *build.build_callbacks(config, module)]
    callbacks += [batch_norm, results, resume]
    lr_finders = [callback for callback in callbacks if isinstance(callback, LearningRateFinder)]
    # A checkpoint holds the learning rate that was found. A second search would make Lightning
    # drop the checkpoint
    if checkpoint is not None:
        callbacks = [callback for callback in callbacks if callback not in lr_finders]
    trainer = build.build_trainer(config, callbacks, build.build_loggers(config))

    start = resolve_path(config.ckpt_path) if config.ckpt_path else None
    reason = fit(trainer, module, datamodule, checkpoint or start)
    # Nothing was left to train: an earlier process was killed between the last epoch and the test
    if checkpoint is not None and not csv.has_started:
        if any(isinstance(callback, StochasticWeightAveraging) for callback in callbacks):
            resume.path.unlink()  # the averaged weights are computed only when training ends
            return train(config, folder)
        module.load_state_dict(load_checkpoint(checkpoint)["state_dict"])
    record = RunRecord(
        **describe.describe_run(config, trainer, net, datamodule),
        own_code=code,
        status="finished" if reason is None else "diverged",
        reason=reason,
        **describe.validation_results(folder, config),
        **describe.training_cost(trainer, clock.train_time_s, csv.num_images, cost),
        batch_norm_time_s=batch_norm.time_s or None,
        started_at=started_at,
    )
    if lr_finders:
        record.optimizer.lr = describe.first_lr(folder)
    if reason is None:
        test(config, record, trainer, module, datamodule, results, folder)
        if trainer.is_global_zero:
            write_run_report(record, trainer, net, datamodule, results, folder)
    if trainer.is_global_zero:
        describe.log_hyperparameters(trainer.loggers, config, record)
    finish(record, folder, start_s, trainer)
    return record


def fit(
    trainer: L.Trainer, module: L.LightningModule, datamodule: Any, checkpoint: Path | str | None
) -> str | None:
    """Train to the end; return why the run diverged, or None."""
    # Convert the module now: Lightning would do it only after it has restored the weights and
    # callbacks have copied them
    if isinstance(trainer.precision_plugin, DoublePrecision | HalfPrecision):
        trainer.precision_plugin.convert_module(module)
    try:
        trainer.fit(module, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True)
    except Diverged as divergence:
        log.warning("diverged: %s", divergence)
        return str(divergence)
    except MisconfigurationException as error:  # Lightning's message is enough for the user
        raise ValueError(str(error)) from error
    return None


def test(
    config: DictConfig,
    record: RunRecord,
    trainer: L.Trainer,
    module: L.LightningModule,
    datamodule: Any,
    results: TestResults,
    folder: Path,
) -> None:
    """Evaluate on the test set, after all choices have been made, and complete the record.

    Adds results on the test set and on training images, at the last and at the best weights, and
    the confusion matrix of the best weights. Afterwards the module has the best weights.
    """
    _validate_last_weights(config, record, trainer, module, datamodule, folder)
    predictions = {"last": _evaluate(record, "last", trainer, module, datamodule, results)}
    validation = record.validation
    if validation and validation.best != validation.last:
        best = load_checkpoint(RunFolder(folder).checkpoint("best"))
        module.load_state_dict(best["state_dict"])
        predictions["best"] = _evaluate(record, "best", trainer, module, datamodule, results)
    else:
        predictions["best"] = predictions["last"]
        for evaluation in (record.train, record.test):
            if evaluation is not None:
                evaluation.best = evaluation.last
    record.confusion_matrix = results.results["confusion"].tolist()
    if trainer.world_size == 1:  # with several devices, this process has seen only its share
        write_test_probabilities(RunFolder(folder).test_probabilities, predictions)
        judged = predictions[record.judged_weights]
        write_mistakes(RunFolder(folder).test_mistakes, judged, datamodule)


def _validate_last_weights(
    config: DictConfig,
    record: RunRecord,
    trainer: L.Trainer,
    module: L.LightningModule,
    datamodule: Any,
    folder: Path,
) -> None:
    """Validate the last weights, unless the last validation was of these weights.

    Callbacks such as StochasticWeightAveraging replace the weights with their average when training
    ends, or in an extra epoch that recomputes batch-norm statistics. The average is then saved as
    the last weights, and also as the best weights if its validation score is the best. If
    validation does not run after every epoch, the last epoch may not have been validated.
    """
    last = RunFolder(folder).checkpoint("last")
    if not last.is_file():  # fast_dev_run writes none
        return
    checkpoint = load_checkpoint(last)
    saved, final = checkpoint["state_dict"], module.state_dict()
    is_last_epoch = checkpoint["epoch"] + 1 == record.num_epochs
    is_saved = is_last_epoch and all(torch.equal(saved[name], final[name].cpu()) for name in saved)
    validation = record.validation
    is_validated = validation is not None and validation.last.step == record.num_steps
    if (is_saved and is_validated) or not trainer.enable_validation:
        return
    metrics = evaluate(trainer, module, datamodule.val_dataloader(), datamodule.num_classes)
    result = EpochMetrics(
        loss=metrics["loss"].item(),
        accuracy=metrics["accuracy"].item(),
        epoch=record.num_epochs,
        step=record.num_steps,
    )
    validation = record.validation = record.validation or Validation(best=result, last=result)
    validation.last = result
    state: dict[str, Any] = checkpoint
    if not is_saved:
        state = {"state_dict": {name: tensor.cpu() for name, tensor in final.items()}}
        if trainer.is_global_zero:
            save_atomically(state, last)
    monitor, mode = best_rule(config)
    name = monitor.removeprefix("val/")
    new, old = (
        ranking_key(getattr(epoch, name), mode, math.nan if epoch.loss is None else epoch.loss)
        for epoch in (validation.last, validation.best)
    )
    if mode == "last" or new >= old:
        validation.best = validation.last
        if trainer.is_global_zero:
            save_atomically(state, RunFolder(folder).checkpoint("best"))


def _evaluate(
    record: RunRecord,
    weights: str,
    trainer: L.Trainer,
    module: L.LightningModule,
    datamodule: Any,
    results: TestResults,
) -> TestPredictions:
    """Test the module's weights, the `best` or the `last`, and add the results to the record."""
    loggers, trainer.loggers = trainer.loggers, []  # log_hyperparameters logs these later
    trainer.test(module, datamodule=datamodule, verbose=False)
    trainer.loggers = loggers
    metrics_by_split = {"test": results.results}
    if hasattr(datamodule, "train_eval_dataloader"):
        batches = datamodule.train_eval_dataloader(max_images=TRAIN_EVAL_IMAGES)
        metrics_by_split["train"] = evaluate(trainer, module, batches, datamodule.num_classes)
    for split, metrics in metrics_by_split.items():
        add_metrics(record, split, weights, metrics)
    return results.predictions


def add_metrics(
    record: RunRecord, split: str, weights: str, metrics: Mapping[str, torch.Tensor]
) -> None:
    """Record `loss` and `accuracy` on `train` or `test` with the `best` or the `last` weights."""
    evaluation = getattr(record, split) or Evaluation()
    result = Metrics(loss=metrics["loss"].item(), accuracy=metrics["accuracy"].item())
    setattr(evaluation, weights, result)
    setattr(record, split, evaluation)


def write_run_report(
    record: RunRecord,
    trainer: L.Trainer,
    net: Any,
    datamodule: Any,
    results: TestResults,
    folder: Path,
    loggers: Sequence[Any] | None = None,
) -> None:
    """Write the classification report and the figures of one finished run."""
    from optlab.training.figures import RunFigures

    try:
        write_classification_report(folder, record)
        # With several devices, this process has seen only its share of the test images
        predictions = results.predictions if trainer.world_size == 1 else None
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, RunFigures):
                shown_in = trainer.loggers if loggers is None else loggers
                callback.draw(folder, record, predictions, net, datamodule, shown_in)
    except Exception as error:  # the result is valid without its figures
        log.exception("figures could not be drawn")
        message = f"{folder}: figures could not be drawn ({error}); see train.log for the traceback"
        print(message, file=sys.stderr)


def finish(record: RunRecord, folder: Path, start_s: float, trainer: L.Trainer) -> None:
    """Write the record. It is the last file that a run writes and marks the run as done."""
    record.wall_time_s, record.finished_at = time.perf_counter() - start_s, now()
    if trainer.is_global_zero:
        write_record(folder, record)
        print(f"{folder}: {record.outcome}", flush=True)
        # If this run was a replica, the checkpoint shared with the others is no longer needed
        for common in RunFolder(folder).checkpoints.glob("*-replicas-*.ckpt"):
            common.unlink()


def needs_training(config: DictConfig, folder: Path) -> bool:
    """Return whether the run has no result yet, or rerun=true."""
    record = find_record(folder)
    return bool(config.rerun) or record is None or not record.has_result


def clear(config: DictConfig, folder: Path) -> None:
    """Remove the record of a failure, and with rerun=true the files of the earlier training."""
    if not is_main_process():
        return
    files = RunFolder(folder)
    files.record.unlink(missing_ok=True)
    if config.rerun:
        lightning_csv = folder / "lightning_csv"
        for subfolder in (files.checkpoints, files.snapshots, files.figures, lightning_csv):
            shutil.rmtree(subfolder, ignore_errors=True)
        for path in (files.test_probabilities, files.test_mistakes):
            path.unlink(missing_ok=True)
        for events in files.event_files:
            events.unlink()
