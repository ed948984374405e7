"""Log histograms of weights and gradients once per epoch."""

import lightning as L
from lightning.pytorch.callbacks import Callback
from torch.optim import Optimizer

from optlab.training.loggers import log_histogram


class Histograms(Callback):
    """Log histograms before the last optimizer step of each epoch."""

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer
    ) -> None:
        if not trainer.fit_loop.epoch_loop._num_ready_batches_reached():
            return
        for name, parameter in pl_module.named_parameters():
            values = {"weights": parameter, "gradients": parameter.grad}
            for kind, tensor in values.items():
                if tensor is not None and tensor.isfinite().all():
                    for logger in trainer.loggers:
                        log_histogram(logger, f"{kind}/{name}", tensor, trainer.global_step)
