"""Save snapshots of a network during training, to plot its path."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from optlab.files import atomic_write
from optlab.ranges import check
from optlab.runs.folder import snapshot_name


class Snapshots(Callback):
    """Saves the trained weights before training, after some optimizer steps and after each epoch.

    Each file, such as `step-000030.pt`, is the state_dict of the LightningModule on the CPU, in
    float16, which halves its size. A resumed run writes the same files again.
    """

    def __init__(self, dirpath: str, steps: Sequence[int] = (10, 30, 100, 300)) -> None:
        """
        Args:
            dirpath: folder of the files.
            steps: optimizer steps after which to save, in addition to step 0 and epoch ends.
        """
        check("callbacks.snapshots.steps", steps, ">= 1")
        self.folder = Path(dirpath)
        self.steps = frozenset(steps)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.global_step == 0:
            self._save(trainer, pl_module)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        if trainer.global_step in self.steps:
            self._save(trainer, pl_module)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._save(trainer, pl_module)

    def _save(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        state = {
            name: tensor.to("cpu", torch.float16 if tensor.is_floating_point() else None)
            for name, tensor in module.state_dict().items()
        }
        with atomic_write(self.folder / snapshot_name(trainer.global_step)) as partial:
            torch.save(state, partial)
