"""When the first optimizer step was done: what a user waits for after pressing return."""

import time
from pathlib import Path
from typing import Any

import lightning as L


class FirstStep(L.Callback):
    """Writes the time (seconds since the epoch) of the first batch's end into a file, once."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if not self.path.exists():
            self.path.write_text(repr(time.time()))
