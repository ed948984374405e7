"""Build the fields of a run's record: description, validation results and training cost."""

import logging
from pathlib import Path
from typing import Any, get_type_hints

import lightning as L
import pandas as pd
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig, OmegaConf
from torch import nn

from optlab.runs.folder import RunFolder
from optlab.runs.json_fields import from_json
from optlab.runs.record import (
    DatasetFacts,
    Device,
    EpochMetrics,
    ModelFacts,
    OptimizerFacts,
    RunRecord,
    Validation,
)
from optlab.training.best_epoch import best_rule, ranking_key
from optlab.training.build import image_shape
from optlab.training.environment import cpu_name, initial_record_fields, peak_memory_gib
from optlab.training.optimizer_cost import OptimizerCost, state_bytes

log = logging.getLogger(__name__)


def describe_run(
    config: DictConfig, trainer: L.Trainer, net: nn.Module, datamodule: Any
) -> dict[str, Any]:
    """Return the fields of `RunRecord` that describe the run, without its results.

    If the module builds its own network or optimizer, that one is described, with `name` from the
    config as its label.
    """
    parameters = list(net.parameters())
    targets = OmegaConf.to_container(config.targets) if config.targets else {}
    model, optimizer = config.model or {}, config.optimizer or {}
    model_options = OmegaConf.to_container(config.model, resolve=True) if config.model else {}
    assert isinstance(targets, dict) and isinstance(model_options, dict)
    device = trainer.strategy.root_device
    on_gpu = device.type == "cuda"
    lr = optimizer.get("lr")
    if optimizer.get("_target_") is None:
        (own, *_) = trainer.optimizers
        lr, optimizer = own.defaults.get("lr"), {"_target_": _path(own), **_named(optimizer, own)}
    else:
        lr = None if lr is None else lr * config.lr_multiplier
    if model.get("_target_") is None:
        model = {"_target_": _path(net), **_named(model, net)}
    return {
        **initial_record_fields(config),
        "dataset": dataset_facts(config, datamodule),
        "model": ModelFacts(
            name=str(model["name"]),
            target=model["_target_"],
            kwargs={
                **{str(k): v for k, v in model_options.items() if k != "name" and str(k)[0] != "_"},
                **image_shape(datamodule),
            },
            source=getattr(net, "source", None),
            num_parameters=sum(p.numel() for p in parameters),
            num_trainable_parameters=sum(p.numel() for p in parameters if p.requires_grad),
            num_buffer_elements=sum(b.numel() for b in net.buffers()),
        ),
        "optimizer": OptimizerFacts(
            name=str(optimizer["name"]), target=optimizer["_target_"], lr=lr
        ),
        "target": targets.get(f"{config.data.name}-{model['name']}"),
        "device": Device(
            type=device.type,
            name=torch.cuda.get_device_name(device) if on_gpu else cpu_name(),
            num_threads=torch.get_num_threads(),
            num_devices=trainer.num_devices,
        ),
    }


def _path(part: Any) -> str:
    return f"{type(part).__module__}.{type(part).__qualname__}"


def _named(node: Any, part: Any) -> dict[str, str]:
    return {"name": node.get("name") or type(part).__name__}


def dataset_facts(config: DictConfig, datamodule: Any) -> DatasetFacts:
    """Return the facts of the data set; None for attributes that a user's data module lacks."""
    kinds = get_type_hints(DatasetFacts)
    values = {fact: getattr(datamodule, fact, None) for fact in kinds}
    values["name"] = str(values["name"] or config.data.get("name") or type(datamodule).__name__)
    values["title"] = values["title"] or values["name"]
    values["preparation"] = values["preparation"] or "resize"
    values["class_names"] = list(map(str, values["class_names"] or range(datamodule.num_classes)))
    facts = {}
    for fact, value in values.items():
        try:
            facts[fact] = from_json(kinds[fact], list(value) if isinstance(value, tuple) else value)
        except ValueError as error:
            log.warning("%s.%s is not recorded: it %s", type(datamodule).__name__, fact, error)
    return DatasetFacts(**facts)


def validation_results(folder: Path, config: DictConfig) -> dict[str, Any]:
    """Return the validation fields of `RunRecord` from epochs.csv; None without a validation."""
    epochs = pd.read_csv(RunFolder(folder).epochs)
    monitor, mode = best_rule(config)
    values = epochs[monitor].dropna()
    if values.empty:
        return {"validation": None, "num_epochs": 0 if epochs.empty else int(epochs.epoch.iloc[-1])}
    last = values.index[-1]
    chosen = last
    if mode != "last":
        losses = epochs["val/loss"]
        chosen = max(
            values.index, key=lambda row: (ranking_key(values[row], mode, losses[row]), row)
        )
    return {
        "validation": Validation(best=_epoch(epochs, chosen), last=_epoch(epochs, last)),
        "num_epochs": int(epochs.epoch.iloc[-1]),
    }


def _epoch(epochs: pd.DataFrame, row: int) -> EpochMetrics:
    return EpochMetrics(
        loss=float(epochs["val/loss"][row]),
        accuracy=float(epochs["val/accuracy"][row]),
        epoch=int(epochs.epoch[row]),
        step=int(epochs.step[row]),
    )


def first_lr(folder: Path) -> float | None:
    """Return the learning rate of the first step, or None if there was no step."""
    lrs = pd.read_csv(RunFolder(folder).steps).lr
    return None if lrs.empty else float(lrs.iloc[0])


def training_cost(
    trainer: L.Trainer,
    train_time_s: float,
    num_images: int,
    cost: OptimizerCost,
    num_replicas: int = 1,
) -> dict[str, Any]:
    """Return the fields of `RunRecord` for steps, time, speed, memory and optimizer share."""
    memory_gib = peak_memory_gib()
    if trainer.strategy.root_device.type == "cuda":
        memory_gib = torch.cuda.max_memory_allocated(trainer.strategy.root_device) / 2**30
    return {
        "num_steps": trainer.global_step,
        "train_time_s": train_time_s,
        "images_per_s": num_images / train_time_s if train_time_s and num_images else None,
        "peak_memory_gib": memory_gib,
        "optimizer_share": cost.share,
        "evaluations_per_step": cost.evaluations_per_step,
        "optimizer_state_bytes": state_bytes(trainer.optimizers) // num_replicas,
    }


def log_hyperparameters(loggers: list[Any], config: DictConfig, record: RunRecord) -> None:
    """Log the main hyperparameters, the outcome and the final metrics.

    TensorBoard sorts both by name, and its HParams table first shows five of them. Each metric has
    its own card; names that sort after "train" and "val" put these cards below the curves.
    """
    hyperparameters = {
        "learning_rate": record.optimizer.lr,
        "model": record.model.name,
        "optimizer": record.optimizer.name,
        "scheduler": (config.scheduler or {}).get("name") or "constant",
        "seed": config.seed,
        "status": record.status,
        "train_batch_size": config.data.get("batch_size"),
        "train_epochs": config.trainer.get("max_epochs"),
        "train_on": record.dataset.title,
        "weight_decay": (config.optimizer or {}).get("weight_decay"),
    }
    hyperparameters = {name: value for name, value in hyperparameters.items() if value is not None}
    metrics = {
        "with_best_weights/val_accuracy": record.metric("validation", "best"),
        "with_best_weights/test_accuracy": record.metric("test", "best"),
        "with_best_weights/test_loss": record.metric("test", "best", "loss"),
        "with_best_weights/train_time_s": record.train_time_s,
    }
    metrics = {name: value for name, value in metrics.items() if value is not None}
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(hyperparameters, metrics)
        else:
            logger.log_hyperparams(hyperparameters)
            logger.log_metrics(metrics, step=record.num_steps)
        logger.save()
        logger.finalize("success" if record.status == "finished" else "failed")
