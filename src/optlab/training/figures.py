"""The figures of one run: curves, confusion matrix, sample predictions, first-layer filters."""

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from optlab.plots.classes import ConfusionMatrixDisplay
from optlab.plots.curves import LossAndAccuracyDisplay
from optlab.plots.images import FirstLayerFiltersDisplay, SamplePredictionsDisplay
from optlab.plots.style import Display
from optlab.runs.folder import RunFolder
from optlab.runs.record import DatasetFacts, RunRecord
from optlab.training.evaluate import TestPredictions
from optlab.training.loggers import log_figure, log_graph


class RunFigures(Callback):
    """Draws the figures of a run when its test is done, from its best weights."""

    def __init__(self, to_loggers: bool = False) -> None:
        """
        Args:
            to_loggers: whether to send the figures and the network's graph to the loggers as well,
                if they support them.
        """
        self.to_loggers = to_loggers

    def draw(
        self,
        folder: Path,
        record: RunRecord,
        predictions: TestPredictions | None,
        net: nn.Module,
        datamodule: Any,
        loggers: Sequence[Any],
    ) -> None:
        """Save each figure as figures/NAME.png.

        Args:
            folder: folder of the run, with epochs.csv.
            record: record of the run, with its confusion matrix.
            predictions: predictions of the best weights on the test set; None draws no sample.
            net: the network, with the best weights.
            datamodule: data module with the test images.
            loggers: loggers of the run.
        """
        shown = list(loggers) if self.to_loggers else []
        for name, picture in self._pictures(folder, record, predictions, net, datamodule):
            picture.plot().save(RunFolder(folder).figures / f"{name}.png")
            for logger in shown:
                log_figure(logger, name, picture.figure, record.num_steps or 0)
            del picture  # its texts keep its pixels, 5 MB, in reference cycles
            gc.collect()
        for logger in shown:
            log_graph(logger, net, next(iter(datamodule.val_dataloader()))[0][:1])

    def _pictures(
        self,
        folder: Path,
        record: RunRecord,
        predictions: TestPredictions | None,
        net: nn.Module,
        datamodule: Any,
    ) -> Iterator[tuple[str, Display]]:
        """Yield each picture with its name, made one at a time."""
        names = record.dataset.class_names
        title = f"{record.run_name} on {record.dataset.title}"
        epochs = pd.read_csv(RunFolder(folder).epochs)
        best_epoch = record.validation.best.epoch if record.validation else None
        yield "curves", LossAndAccuracyDisplay(epochs=epochs, title=title, best_epoch=best_epoch)
        confusion = ConfusionMatrixDisplay(
            matrix=np.asarray(record.confusion_matrix), class_names=names, title=title
        )
        yield "confusion_matrix", confusion
        if predictions is not None and hasattr(datamodule, "test_pictures"):
            yield "sample_predictions", _sample(predictions, datamodule.test_pictures, names)
        filters = first_layer_filters(net.state_dict(), record.dataset)
        if filters is not None:
            yield "filters", FirstLayerFiltersDisplay(filters=filters)


def _sample(
    predictions: TestPredictions, test_images: Callable[[np.ndarray], np.ndarray], names: list[str]
) -> SamplePredictionsDisplay:
    every = SamplePredictionsDisplay(
        images=np.empty(0),
        true=predictions.true,
        predicted=predictions.predicted,
        confidence=predictions.confidence,
        class_names=names,
    )
    shown = every.order()
    return replace(
        every,
        images=test_images(shown),
        true=every.true[shown],
        predicted=every.predicted[shown],
        confidence=every.confidence[shown],
    )


def first_layer_filters(weights: dict[str, Tensor], dataset: DatasetFacts) -> np.ndarray | None:
    """Return the first layer's weights as images (N, C, H, W); None if they have no such shape."""
    first = next((w for w in weights.values() if w.ndim in (2, 4)), None)
    if first is None:
        return None
    channels, size = dataset.in_channels, dataset.image_size
    if first.ndim == 2 and channels and size and first.shape[1] == channels * size * size:
        first = first.reshape(-1, channels, size, size)
    if first.ndim != 4 or first.shape[1] not in (1, 3):
        return None
    return np.asarray(first.float().cpu().numpy())
