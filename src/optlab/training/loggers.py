"""TensorBoardLogger without the epoch curve; log figures, histograms and graphs to loggers.

TensorBoard supports all three, Weights & Biases figures and histograms, MLflow figures.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import loggers
from lightning.pytorch.loggers import MLFlowLogger, WandbLogger
from torch import Tensor, nn


class TensorBoardLogger(loggers.TensorBoardLogger):
    """Lightning's logger without the curve of the epoch number, which would be the first card."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        super().log_metrics({k: v for k, v in metrics.items() if k != "epoch"}, step)


def log_figure(logger: Any, name: str, figure: Any, step: int) -> None:
    """Send a matplotlib figure to a logger, at an optimizer step."""
    if isinstance(logger, loggers.TensorBoardLogger):
        logger.experiment.add_figure(name, figure, step)
    elif isinstance(logger, WandbLogger):
        logger.log_image(f"figures/{name}", [figure], step=step)
    elif isinstance(logger, MLFlowLogger):
        logger.experiment.log_figure(logger.run_id, figure, f"figures/{name}.png")


def log_histogram(logger: Any, name: str, values: Tensor, step: int) -> None:
    """Send the distribution of a tensor to a logger, at an optimizer step."""
    values = values.detach().float().cpu()
    if isinstance(logger, loggers.TensorBoardLogger):
        logger.experiment.add_histogram(name, values, step)
    elif isinstance(logger, WandbLogger):
        import wandb

        histogram = wandb.Histogram(values.numpy())
        logger.experiment.log({name: histogram, "trainer/global_step": step})


def log_graph(logger: Any, net: nn.Module, example: Tensor) -> None:
    """Send the graph of a network to TensorBoard.

    Args:
        logger: any logger; only TensorBoard's has a place for a graph.
        net: the network, on any device.
        example: images of shape (1, C, H, W).
    """
    if not isinstance(logger, loggers.TensorBoardLogger):
        return
    weight = next(net.parameters())
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the writer's own way to trace
        logger.experiment.add_graph(net.eval(), example.to(weight.device, weight.dtype))
    logger.experiment.flush()
