"""Evaluate a run on the test set and on training images, at its best and its last weights."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from optlab.files import atomic_write, write_json
from optlab.models.load import RETRAIN, load_checkpoint
from optlab.runs.folder import RunFolder
from optlab.runs.record import RunRecord
from optlab.training.metrics import ClassificationMetrics

MISTAKES_BYTES = 1_000_000  # of the pictures that a run keeps, before compression
TRAIN_EVAL_IMAGES = 10_000  # training images on which the generalization gap is measured


@dataclass
class TestPredictions:
    """The predictions of a run's weights for the test images."""

    true: np.ndarray  # int64 (N,)
    probabilities: np.ndarray  # float32 (N, num_classes)

    @property
    def predicted(self) -> np.ndarray:
        """Class of each image, (N,)."""
        return np.asarray(self.probabilities.argmax(axis=1))

    @property
    def confidence(self) -> np.ndarray:
        """Probability of the predicted class, (N,)."""
        return np.asarray(self.probabilities.max(axis=1))


class TestResults(Callback):
    """Collects the metrics and predictions of `trainer.test`.

    It takes the logits that `test_step` returns; for a module whose `test_step` returns no tensor
    it calls the module on the images.
    """

    def __init__(self, num_classes: int) -> None:
        self.metrics = ClassificationMetrics(num_classes)
        self._predictions: list[tuple[Tensor, Tensor]] = []

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.metrics = self.metrics.to(pl_module.device)
        self.metrics.reset()
        self._predictions.clear()

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        images, labels = pair(batch)
        logits = outputs if isinstance(outputs, Tensor) else pl_module(images)
        self.add(logits, labels)

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # Compute now, while the sums are still on the devices, as several devices reduce them
        self.results = self.metrics.compute()

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Count a batch of logits (B, num_classes)."""
        self.metrics.update(logits, labels)
        self._predictions.append((labels, logits.float().softmax(dim=-1)))

    @property
    def predictions(self) -> TestPredictions:
        """The predictions of the last pass over the test set."""
        parts = zip(*self._predictions, strict=True)
        return TestPredictions(*(torch.cat(part).cpu().numpy() for part in parts))


def pair(batch: Any) -> tuple[Tensor, Tensor]:
    """Return images and labels of a batch.

    Raises:
        ValueError: if the batch is not a pair of tensors.
    """
    if isinstance(batch, tuple | list) and len(batch) == 2:
        images, labels = batch
        if isinstance(images, Tensor) and isinstance(labels, Tensor):
            return images, labels
    raise ValueError(
        f"the data module yielded a batch of type {type(batch).__name__}, but a batch must be a "
        "pair of tensors (images, labels).\n\n"
        "hint: change the return value of its Dataset, collate_fn or on_after_batch_transfer"
    )


def evaluate(
    trainer: L.Trainer, module: L.LightningModule, batches: Iterable[Any], num_classes: int
) -> dict[str, Tensor]:
    """Return the metrics of a module on batches (images, labels), without calling hooks."""
    device, precision = trainer.strategy.root_device, trainer.precision_plugin
    module.to(device).eval()
    metrics = ClassificationMetrics(num_classes).to(device)
    with torch.inference_mode(), precision.forward_context():
        for images, labels in map(pair, batches):
            logits = module(precision.convert_input(images.to(device)))
            metrics.update(logits, labels.to(device))
    return metrics.compute()


def write_test_probabilities(path: Path, predictions: Mapping[str, TestPredictions]) -> None:
    """Write the probabilities at the last and best weights as float16, and the labels."""
    arrays: dict[str, Any] = {
        name: each.probabilities.astype(np.float16) for name, each in predictions.items()
    }
    with atomic_write(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, labels=predictions["last"].true.astype(np.uint16), **arrays)


def write_mistakes(path: Path, predictions: TestPredictions, datamodule: Any) -> None:
    """Write the misclassified test images, which reports and the page show.

    At most `MISTAKES_BYTES` of images are kept, in a fixed random order of the test set. Different
    runs thus keep the same images, and of a data set sorted by class images of every class. Nothing
    is written for a data module without `test_pictures`.
    """
    test_pictures = getattr(datamodule, "test_pictures", None)
    indices = np.flatnonzero(predictions.predicted != predictions.true)
    if test_pictures is None or not len(indices):
        path.unlink(missing_ok=True)
        return
    size = test_pictures(indices[:1]).nbytes
    place = np.random.default_rng(0).permutation(len(predictions.true))
    kept = place[indices].argsort()[: MISTAKES_BYTES // size]
    indices = np.sort(indices[kept])
    with atomic_write(path) as partial, partial.open("wb") as file:
        images = test_pictures(indices)
        np.savez_compressed(file, indices=indices.astype(np.int32), images=images)


def write_classification_report(folder: Path, record: RunRecord) -> None:
    """Write classification_report.{json,txt}: precision, recall and F1 per class (scikit-learn).

    Classes without test images are listed separately and excluded from the averages.
    """
    from sklearn.metrics import classification_report

    confusion = np.asarray(record.confusion_matrix)
    names = record.dataset.class_names
    there = np.flatnonzero(confusion.sum(axis=1))
    true, predicted = np.nonzero(confusion)
    images = {
        "y_true": true,
        "y_pred": predicted,
        "sample_weight": confusion[true, predicted],
        "labels": there,
        "target_names": [names[label] for label in there],
        "zero_division": 0.0,
    }
    as_dict = classification_report(**images, output_dict=True)
    text = classification_report(**images, digits=4)
    missing = [name for label, name in enumerate(names) if label not in there]
    if missing:
        as_dict["without_test_images"] = missing
        text += f"\nwithout test images, and not in the averages: {', '.join(missing)}\n"
    write_json(folder / "classification_report.json", as_dict)
    (folder / "classification_report.txt").write_text(text)


def evaluate_checkpoint(run_dir: Path, checkpoint: Path, split: str) -> dict[str, float]:
    """Run `trainer.validate` or `trainer.test` on a checkpoint of a run.

    Args:
        run_dir: the run's folder, with the config that Hydra keeps in `.hydra`.
        checkpoint: a checkpoint of that run.
        split: `val` or `test`.

    Returns:
        The metrics that the module logged, such as `val/accuracy`.

    Raises:
        ValueError: if the folder has no config, or the checkpoint does not fit its module.
    """
    from hydra.core.plugins import Plugins
    from omegaconf import DictConfig, OmegaConf

    from optlab.training import build

    path = RunFolder(run_dir).config
    for file in (path, checkpoint):
        if not file.is_file():
            raise ValueError(
                f"{file} is missing.\n\nhint: use the folder of a run, outputs/<study>/<run>, "
                "or a checkpoint in it"
            )
    Plugins.instance()  # registers the resolvers that the config holds
    config = OmegaConf.load(path)
    assert isinstance(config, DictConfig)
    datamodule = build.build_data(config)
    module = build.build_module(config, build.build_net(config, datamodule), datamodule)
    hint = f"use another checkpoint, or {RETRAIN}"
    state = load_checkpoint(checkpoint, hint=hint)
    try:
        module.load_state_dict(state["state_dict"])
    except (RuntimeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{checkpoint} does not fit the module of {path}: {error}\n\nhint: {hint}"
        ) from error
    options = {key: config.trainer[key] for key in ("accelerator", "devices", "precision")}
    trainer = L.Trainer(
        **options, logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    evaluate_split = trainer.validate if split == "val" else trainer.test
    (metrics,) = evaluate_split(module, datamodule=datamodule, verbose=False)
    return {name: float(value) for name, value in metrics.items()}
