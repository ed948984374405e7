"""Show the progress of a run: a bar on a terminal, otherwise one line per epoch."""

import sys
import time
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

REFRESH_INTERVAL_S = 0.2  # the bar costs nothing at five updates a second


class RunProgress(Callback):
    """One bar over all optimizer steps of the run."""

    def __init__(self, title: str) -> None:
        """
        Args:
            title: label of the bar, such as the run's name.
        """
        self.title = title
        self._bar: Progress | None = None
        self._shown_s = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._start_s = time.perf_counter()
        has_bar = trainer.progress_bar_callback is not None  # such as RichProgressBar
        if trainer.is_global_zero and sys.stderr.isatty() and not has_bar:
            from rich.console import Console

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TaskProgressColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[metrics]}"),
                console=Console(stderr=True),
                auto_refresh=False,
            )
            self._bar.start()
            self._task = self._bar.add_task(
                self.title,
                total=trainer.estimated_stepping_batches,
                completed=trainer.global_step,
                metrics="",
            )

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if self._bar is not None and time.perf_counter() - self._shown_s > REFRESH_INTERVAL_S:
            self._bar.update(self._task, completed=trainer.global_step, refresh=True)
            self._shown_s = time.perf_counter()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        metrics = trainer.callback_metrics
        values = ""
        if {"val/loss", "val/accuracy"} <= metrics.keys():
            loss, accuracy = metrics["val/loss"], metrics["val/accuracy"]
            values = f"val loss {loss:.4f}, val accuracy {accuracy:.2%}"
        if self._bar is not None:
            self._bar.update(
                self._task, completed=trainer.global_step, metrics=values, refresh=True
            )
        elif trainer.is_global_zero:
            elapsed_s = time.perf_counter() - self._start_s
            epoch = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
            print(f"{self.title}: {epoch}, {values}, {elapsed_s:.1f} s", flush=True)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
