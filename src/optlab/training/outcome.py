"""What came of a run: the test, and the facts that its record holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from omegaconf import DictConfig, OmegaConf
from torch import nn

from optlab import PROTOCOL_VERSION
from optlab.training import record as records
from optlab.training.build import shape_of
from optlab.training.classifier import ImageClassifier
from optlab.training.history import History
from optlab.training.identity import identity, run_hash, task_overrides
from optlab.training.record import write_json
from optlab.training.replicas import StackedNet

DATASET_FACTS = (
    "name",
    "title",
    "checksum",
    "num_train",
    "num_val",
    "num_test",
    "class_names",
    "in_channels",
    "image_size",
    "mean",
    "std",
)
TRAIN_EVAL_IMAGES = 10_000  # training images on which the generalisation gap is measured


@dataclass
class TestPredictions:
    """What a run's best weights say of the test images, (N,) each."""

    true: np.ndarray  # int64
    predicted: np.ndarray  # int64
    confidence: np.ndarray  # probability of the predicted class

    @classmethod
    def of(cls, classifier: ImageClassifier, replica: int) -> "TestPredictions":
        """Of the last pass over the test set, for one replica."""
        labels, predicted, confidence = zip(*classifier.test_predictions, strict=True)
        num_images = sum(map(len, labels))
        return cls(
            torch.cat(labels).cpu().numpy(),
            torch.cat(predicted, dim=-1).reshape(-1, num_images)[replica].cpu().numpy(),
            torch.cat(confidence, dim=-1).reshape(-1, num_images)[replica].cpu().numpy(),
        )


def write_classification_report(folder: Path, record: dict[str, Any]) -> None:
    """classification_report.{json,txt}: precision, recall and F1 a class, by scikit-learn."""
    from sklearn.metrics import classification_report

    confusion = np.asarray(record["confusion_matrix"])
    true, predicted = np.indices(confusion.shape)
    images = {
        "y_true": true.ravel(),
        "y_pred": predicted.ravel(),
        "sample_weight": confusion.ravel(),
        "labels": range(len(confusion)),
        "target_names": record["dataset"]["class_names"],
        "zero_division": 0.0,
    }
    as_dict = classification_report(**images, output_dict=True)
    write_json(folder / "classification_report.json", as_dict)
    (folder / "classification_report.txt").write_text(classification_report(**images, digits=4))


def test(
    new: list[dict[str, Any]],
    trainer: L.Trainer,
    classifier: ImageClassifier,
    datamodule: Any,
    folders: Sequence[Path],
) -> None:
    """Reads the test set, once, now that nothing is left to choose, and completes the records.

    Adds test and train results at the last and at the best weights, and the confusion matrix of
    the best weights on the test set. The classifier is left with the best weights.
    """
    results = {"last": _evaluate(trainer, classifier, datamodule)}
    results["best"] = results["last"]
    seen = [record["validation"] for record in new if record["validation"]]
    if any(validation["best"]["step"] != validation["last"]["step"] for validation in seen):
        _load_best(classifier, folders, [record["status"] for record in new])
        results["best"] = _evaluate(trainer, classifier, datamodule)
    for index, record in enumerate(new):
        if record["status"] != "finished":
            continue
        for split, loader in (("test", "test"), ("train", "train_eval")):
            record[split] = {
                weights: {
                    name: result[loader][name].reshape(-1)[index].item()
                    for name in ("loss", "accuracy")
                }
                for weights, result in results.items()
            }
        confusion = results["best"]["test"]["confusion"]
        record["confusion_matrix"] = confusion[index].tolist()
        if trainer.loggers and trainer.is_global_zero:
            _log_hparams(trainer.loggers[index], record)


def _evaluate(
    trainer: L.Trainer, classifier: ImageClassifier, datamodule: Any
) -> dict[str, dict[str, Any]]:
    loaders = [
        datamodule.test_dataloader(),
        datamodule.train_eval_dataloader(max_images=TRAIN_EVAL_IMAGES),
    ]
    trainer.test(classifier, loaders, verbose=False)
    return dict(classifier.test_results)


def _load_best(
    classifier: ImageClassifier, folders: Sequence[Path], statuses: Sequence[str]
) -> None:
    states = []
    for folder, status in zip(folders, statuses, strict=True):
        best, last = (folder / "checkpoints" / f"{name}.ckpt" for name in ("best", "last"))
        # A replica that diverged in its first epoch has no best weights
        path = last if status == "diverged" and not best.is_file() else best
        states.append(torch.load(path, weights_only=True, map_location="cpu")["state_dict"])
    if isinstance(classifier.net, StackedNet):
        classifier.net.load_states(states)
    else:
        classifier.load_state_dict(states[0])


def describe_run(
    config: DictConfig, trainer: L.Trainer, net: nn.Module, datamodule: Any
) -> dict[str, Any]:
    """What the run was, before anything is said of what came of it."""
    num_replicas = getattr(net, "num_replicas", 1)
    sizes = [p.numel() // num_replicas for p in net.parameters()]
    targets = OmegaConf.to_container(config.targets)
    assert isinstance(targets, dict)
    overrides = task_overrides()
    device = trainer.strategy.root_device
    on_gpu = device.type == "cuda"
    model_knobs = OmegaConf.to_container(config.model, resolve=True)
    assert isinstance(model_knobs, dict)
    return {
        "protocol_version": PROTOCOL_VERSION,
        "study": config.study,
        "run_name": config.run_name,
        "hash": run_hash(config),
        "command": records.command(overrides),
        "overrides": overrides,
        "seed": config.seed,
        "config": identity(config),
        "dataset": {name: getattr(datamodule, name) for name in DATASET_FACTS},
        "model": {
            "name": config.model.name,
            "target": config.model._target_,
            "kwargs": {
                **{k: v for k, v in model_knobs.items() if k != "name" and str(k)[0] != "_"},
                **shape_of(datamodule),
            },
            "source": getattr(net, "source", None),  # what a fine-tuned network was built from
            "num_parameters": sum(sizes),
            "num_trainable_parameters": sum(
                size for size, p in zip(sizes, net.parameters(), strict=True) if p.requires_grad
            ),
            "num_buffer_elements": sum(b.numel() for b in net.buffers()) // num_replicas,
        },
        "optimizer": {
            "name": config.optimizer.name,
            "target": config.optimizer._target_,
            "lr": config.optimizer.lr * config.lr_scale,
        },
        "target": targets.get(f"{config.data.name}-{config.model.name}"),
        "device": {
            "type": device.type,
            "name": torch.cuda.get_device_name(device) if on_gpu else records.cpu_name(),
            "num_threads": torch.get_num_threads(),
            "num_devices": trainer.num_devices,
        },
        "versions": records.versions(),
        "git_commit": records.git_commit(),
        "train": None,
        "test": None,
        "confusion_matrix": None,
        "replica": _replica_facts(net),
    }


def _replica_facts(net: nn.Module) -> dict[str, Any] | None:
    if not isinstance(net, StackedNet):
        return None
    exact = not net.draws_random_numbers()
    return {
        "of": net.num_replicas,
        "equality": "the seed alone, within float tolerance" if exact else "in distribution",
    }


def validation_results(folder: Path, config: DictConfig) -> dict[str, Any]:
    """Validation at the best and the last epoch, out of epochs.csv; None without an epoch."""
    epochs = pd.read_csv(folder / "epochs.csv")
    best = config.callbacks.best
    values = epochs[best.monitor].dropna()
    if values.empty:
        return {"validation": None, "num_epochs": 0}
    at = {
        "best": values.idxmax() if best.mode == "max" else values.idxmin(),
        "last": epochs.index[-1],
    }
    return {
        "validation": {
            name: {
                "epoch": int(epochs.epoch[row]),
                "step": int(epochs.step[row]),
                "loss": float(epochs["val/loss"][row]),
                "accuracy": float(epochs["val/accuracy"][row]),
            }
            for name, row in at.items()
        },
        "num_epochs": int(epochs.epoch.iloc[-1]),
    }


def training_cost(trainer: L.Trainer, history: History) -> dict[str, Any]:
    """Time of training alone (no evaluation, logging, compiling), speed and memory."""
    memory_gib = records.peak_memory_gib()
    if trainer.strategy.root_device.type == "cuda":
        memory_gib = torch.cuda.max_memory_allocated(trainer.strategy.root_device) / 2**30
    train_time_s = history.train_time_s / len(history.run_dirs)  # a replica's share
    speed = history.num_images / train_time_s if train_time_s else None
    return {
        "num_steps": trainer.global_step,
        "train_time_s": train_time_s,
        "images_per_s": speed,
        "peak_memory_gib": memory_gib,
    }


def _log_hparams(logger: Logger, record: dict[str, Any]) -> None:
    """The run's settings with its final metrics, for TensorBoard's HParams tab."""
    flat = pd.json_normalize(record["config"]).iloc[0].to_dict()
    settings = {str(name): value for name, value in flat.items() if not isinstance(value, list)}
    metrics = {
        "best/val_accuracy": record["validation"]["best"]["accuracy"],
        "best/test_accuracy": record["test"]["best"]["accuracy"],
        "best/test_loss": record["test"]["best"]["loss"],
        "best/train_time_s": record["train_time_s"],
    }
    if isinstance(logger, TensorBoardLogger):
        logger.log_hyperparams(settings, metrics)
    else:
        logger.log_hyperparams(settings)
        logger.log_metrics(metrics, step=record["num_steps"])
    logger.save()
    logger.finalize("success")
