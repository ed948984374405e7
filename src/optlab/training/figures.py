"""The pictures of one run: curves, confusion matrix, sample predictions, first-layer filters."""

import gc
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn

from optlab.results.figures import (
    ConfusionMatrix,
    FirstLayerFilters,
    LossAndAccuracy,
    SamplePredictions,
)
from optlab.results.figures.canvas import Picture
from optlab.training.outcome import TestPredictions


def draw(
    pictures: Iterable[tuple[str, Picture]],
    folder: Path,
    board: TensorBoardLogger | None,
    step: int,
) -> None:
    """Saves each picture as folder/name.png, and shows it at `step` of TensorBoard where given."""
    for name, picture in pictures:
        picture.plot().save(folder / f"{name}.png")
        if board is not None:
            board.experiment.add_figure(name, picture.figure, step)
        del picture  # its texts keep its pixels, 5 MB, and lie in reference cycles
        gc.collect()


def pictures_of(
    folder: Path,
    record: dict[str, Any],
    predictions: TestPredictions | None,
    test_images: Callable[[np.ndarray], np.ndarray],
    weights: dict[str, Tensor],
) -> Iterator[tuple[str, Picture]]:
    """The pictures of a run by name, made one at a time.

    Args:
        folder: of the run; epochs.csv is read from it.
        record: of the run, with its confusion matrix.
        predictions: on the test set, of the best weights; None draws no sample of them.
        test_images: from indices (N,) to uint8 images (N, H, W) or (N, H, W, 3).
        weights: the best weights by name.
    """
    names = record["dataset"]["class_names"]
    title = f"{record['run_name']} on {record['dataset']['title']}"
    epochs, best_epoch = pd.read_csv(folder / "epochs.csv"), record["validation"]["best"]["epoch"]
    yield "curves", LossAndAccuracy(epochs, title, best_epoch)
    confusion = np.asarray(record["confusion_matrix"])
    yield "confusion_matrix", ConfusionMatrix(confusion, names, title)
    if predictions is not None:
        yield "sample_predictions", _sample(predictions, test_images, names)
    filters = first_layer_filters(weights, record["dataset"])
    if filters is not None:
        yield "filters", FirstLayerFilters(filters)


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


def show_graph(board: TensorBoardLogger, net: nn.Module, example: Tensor) -> None:
    """The network's graph in TensorBoard."""
    weight = next(net.parameters())  # Lightning has moved the network off the device by now
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the writer's own way to trace
        board.experiment.add_graph(net.eval(), example.to(weight.device, weight.dtype))
    board.experiment.flush()
