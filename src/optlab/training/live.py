"""Report the progress of a run to the live race of the web page."""

import json
import math
import os
from pathlib import Path

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback


class LiveReports(Callback):
    """Appends a line of JSON before training and after each validation.

    A line has `step`, `val_accuracy` (a fraction; null before training) and `probabilities`, the
    network's prediction for the drawing, (num_classes,). It is null if there is no drawing or a
    value is not finite. The drawing is read again for each line. A run whose parent process has
    ended stops at its next report.
    """

    def __init__(self, file: str, drawing: str) -> None:
        """
        Args:
            file: to append to.
            drawing: NumPy file with uint8 pixels (C, H, W) as the network reads them; it need not
                exist.
        """
        self.file = Path(file)
        self.drawing = Path(drawing)
        self._parent = os.getppid()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._report(trainer, pl_module, None)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.sanity_checking:
            self._report(trainer, pl_module, trainer.callback_metrics["val/accuracy"].item())

    def _report(
        self, trainer: L.Trainer, module: L.LightningModule, val_accuracy: float | None
    ) -> None:
        if os.getppid() != self._parent:
            trainer.should_stop = True
        report = {
            "step": trainer.global_step,
            "val_accuracy": val_accuracy,
            "probabilities": self._predict(trainer, module),
        }
        with self.file.open("a") as file:
            file.write(json.dumps(report) + "\n")

    def _predict(self, trainer: L.Trainer, module: L.LightningModule) -> list[float] | None:
        if not self.drawing.is_file():
            return None
        data = trainer.datamodule  # type: ignore[attr-defined]
        images = data.normalize(torch.from_numpy(np.load(self.drawing))[None])  # (1, C, H, W)
        trains = module.training
        module.eval()
        with torch.no_grad():
            logits = module(images.to(module.device))
        module.train(trains)
        probabilities: list[float] = logits[0].softmax(dim=0).tolist()
        return probabilities if all(map(math.isfinite, probabilities)) else None
