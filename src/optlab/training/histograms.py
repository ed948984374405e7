"""Histograms of weights and gradients in TensorBoard, once an epoch."""

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger

from optlab.training.classifier import ImageClassifier


class Histograms(Callback):
    """Looks at the last step of each epoch: before validation, which clears the gradients."""

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if not (trainer.is_last_batch or trainer.should_stop):
            return
        assert isinstance(pl_module, ImageClassifier)
        for logger in trainer.loggers[:1]:  # of replicas the first: their weights lie in one stack
            if not isinstance(logger, TensorBoardLogger):
                continue
            for name, parameter in pl_module.net.named_parameters():
                values = {"weights": parameter, "gradients": parameter.grad}
                for kind, tensor in values.items():
                    if tensor is not None and tensor.isfinite().all():
                        logger.experiment.add_histogram(
                            f"{kind}/{name}", tensor.detach().float().cpu(), trainer.global_step
                        )
