"""The pictures of one run: curves, confusion matrix, sample predictions, first-layer filters."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from torch import Tensor, nn

from optlab.results.figures import (
    ConfusionMatrix,
    FirstLayerFilters,
    LossAndAccuracy,
    SamplePredictions,
)
from optlab.training.outcome import TestPredictions


def draw_run(
    folder: Path,
    record: dict[str, Any],
    predictions: TestPredictions | None,
    test_images: Callable[[np.ndarray], np.ndarray],
    weights: dict[str, Tensor],
) -> dict[str, Any]:
    """Draws a run into figures/*.png. Returns the pictures by name.

    Args:
        folder: of the run; epochs.csv is read from it.
        record: of the run, with its confusion matrix.
        predictions: on the test set, of the best weights; None draws no sample of them.
        test_images: from indices (N,) to uint8 images (N, H, W) or (N, H, W, 3).
        weights: the best weights by name.
    """
    names = record["dataset"]["class_names"]
    title = f"{record['run_name']} on {record['dataset']['title']}"
    pictures: dict[str, Any] = {
        "curves": LossAndAccuracy(
            pd.read_csv(folder / "epochs.csv"), title, record["validation"]["best"]["epoch"]
        ),
        "confusion_matrix": ConfusionMatrix(np.asarray(record["confusion_matrix"]), names, title),
    }
    if predictions is not None:
        pictures["sample_predictions"] = _sample(predictions, test_images, names)
    filters = first_layer_filters(weights, record["dataset"])
    if filters is not None:
        pictures["filters"] = FirstLayerFilters(filters)
    (folder / "figures").mkdir(exist_ok=True)
    for name, picture in pictures.items():
        picture.plot().save(folder / "figures" / f"{name}.png")
    return pictures


def _sample(
    predictions: TestPredictions, test_images: Callable[[np.ndarray], np.ndarray], names: list[str]
) -> SamplePredictions:
    every = SamplePredictions(
        np.empty(0), predictions.true, predictions.predicted, predictions.confidence, names
    )
    shown = every.order()
    return SamplePredictions(
        test_images(shown),
        every.true[shown],
        every.predicted[shown],
        every.confidence[shown],
        names,
    )


def first_layer_filters(weights: dict[str, Tensor], dataset: dict[str, Any]) -> np.ndarray | None:
    """Weights of the first layer as pictures (N, C, H, W); None where they are none."""
    first = next((w for w in weights.values() if w.ndim in (2, 4)), None)
    if first is None:
        return None
    channels, size = dataset["in_channels"], dataset["image_size"]
    if first.ndim == 2 and first.shape[1] == channels * size * size:
        first = first.reshape(-1, channels, size, size)
    if first.ndim != 4 or first.shape[1] not in (1, 3):
        return None
    return np.asarray(first.float().cpu().numpy())


def show_in_tensorboard(
    logger: Logger, pictures: dict[str, Any], net: nn.Module, example: Tensor, step: int
) -> None:
    """The same pictures and the network's graph in TensorBoard."""
    if not isinstance(logger, TensorBoardLogger):
        return
    for name, picture in pictures.items():
        logger.experiment.add_figure(name, picture.figure, step)
    weight = next(net.parameters())  # Lightning has moved the network off the device by now
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the writer's own way to trace
        logger.experiment.add_graph(net.eval(), example.to(weight.device, weight.dtype))
    logger.experiment.flush()
