"""History: what a run leaves behind while it trains, as steps.csv and epochs.csv.

The two files are the source of every report. Rows are appended at the end of an epoch, before the
checkpoint of that epoch is written; a run that goes on from a checkpoint drops the rows that came
after it. So the files of a resumed run equal those of a run that was never cut off.
"""

import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from optlab.files import whole_file
from optlab.results.records import EPOCH_COLUMNS, STEP_COLUMNS
from optlab.training.classifier import ImageClassifier

LOG_EVERY_N_STEPS = 10  # step losses that loggers get; steps.csv has every one
# A network that knows nothing has a loss of log(num_classes). Ten times that, at the end of a whole
# epoch, is no rough patch: the weights have blown up, even where no number is infinite yet.
DIVERGENCE_FACTOR = 10.0
DIVERGENCE_WINDOW = 100  # optimizer steps whose median is looked at


class Diverged(Exception):
    """Training has left every useful region; the message says at which step and how."""


class History(Callback):
    """Writes the CSV files of each replica, keeps the training clock, sees divergence."""

    def __init__(
        self, run_dirs: list[Path], num_classes: int, origin: dict[str, Any] | None = None
    ) -> None:
        """
        Args:
            run_dirs: one folder a replica; a single one for a plain run.
            num_classes: sets the loss of a network that knows nothing, log(num_classes) nats.
            origin: what the run was begun with, for the checkpoint to go on from.
        """
        self.run_dirs = run_dirs
        self.origin = origin or {}
        self.loss_limit = DIVERGENCE_FACTOR * math.log(num_classes)
        self.train_time_s = 0.0  # training alone: no evaluation, no logging, no compiling
        self.num_images = 0  # images trained on within that time
        self.diverged: dict[int, str] = {}  # replica -> reason
        self.epoch_rows: list[list[float]] = []  # of the last epoch, one a replica
        self._start_s: float | None = None  # clock reading while it runs
        self._outputs: list[dict[str, Any]] = []

    # --- state ---------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        return {
            "train_time_s": self.train_time_s,
            "num_images": self.num_images,
            "diverged": dict(self.diverged),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.train_time_s = state_dict["train_time_s"]
        self.num_images = state_dict["num_images"]
        self.diverged = dict(state_dict["diverged"])

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint |= self.origin

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        for run_dir in self.run_dirs:
            for name, columns in (("steps.csv", STEP_COLUMNS), ("epochs.csv", EPOCH_COLUMNS)):
                last = keep_rows(run_dir / name, columns, "step", trainer.global_step)
                if last != trainer.global_step:
                    raise ValueError(
                        f"{run_dir / name} ends at step {last}, the checkpoint at step "
                        f"{trainer.global_step}: the run was trained in another way in between.\n\n"
                        "hint: rerun=true starts it anew"
                    )

    # --- one epoch -----------------------------------------------------------------------------

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._outputs.clear()
        synchronize(pl_module.device)
        self._start_s = time.perf_counter() - compiling_s()

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self._outputs.append(outputs)
        # On a GPU looking at a loss would wait for it, and of several devices each sees its own
        # share: there the epoch's end is soon enough.
        alone_on_cpu = pl_module.device.type == "cpu" and trainer.world_size == 1
        if alone_on_cpu and not outputs["losses"][-1].isfinite().any():
            self._stop_clock(pl_module)
            self._see_divergence(self._flush_steps(trainer), trainer.global_step)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._stop_clock(pl_module)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._stop_clock(pl_module)
        images = sum(output["num_images"] for output in self._outputs)
        correct = torch.stack([output["num_correct"] for output in self._outputs]).sum(dim=0)
        num_correct = across_devices(trainer, correct.reshape(-1), "sum").tolist()
        images = int(across_devices(trainer, torch.tensor(images, device=pl_module.device), "sum"))
        self.num_images += images
        lr = self._outputs[-1]["learning_rates"][-1]
        losses = self._flush_steps(trainer)  # (steps of the epoch, R)
        if not losses.isfinite().all(dim=0).any():  # on a CPU they would have ended within it
            self._see_divergence(losses, trainer.global_step)
        assert isinstance(pl_module, ImageClassifier)
        validation = pl_module.validation
        self.epoch_rows = [
            [
                trainer.current_epoch + 1,
                trainer.global_step,
                lr,
                float(losses[:, replica].double().mean()),
                num_correct[replica] / images,
                validation["loss"][replica],
                validation["accuracy"][replica],
                self.train_time_s / len(self.run_dirs),  # a replica's share of the common time
            ]
            for replica in range(len(self.run_dirs))
        ]
        if trainer.is_global_zero:
            for run_dir, row in zip(self.run_dirs, self.epoch_rows, strict=True):
                append_rows(run_dir / "epochs.csv", [row])
        self._log(trainer, losses)
        self._see_divergence(losses, trainer.global_step, validation["loss"])

    def _stop_clock(self, pl_module: L.LightningModule) -> None:
        if self._start_s is not None:
            synchronize(pl_module.device)
            self.train_time_s += time.perf_counter() - compiling_s() - self._start_s
            self._start_s = None

    def _flush_steps(self, trainer: L.Trainer) -> Tensor:
        """Writes the steps collected so far to steps.csv; returns their losses (steps, R)."""
        losses = torch.cat([output["losses"] for output in self._outputs])
        # Each device's loss is weighted by its share of the batch, so their mean is the batch's
        losses = across_devices(trainer, losses, "mean").reshape(len(losses), -1).float().cpu()
        rates = [rate for output in self._outputs for rate in output["learning_rates"]]
        self._outputs.clear()
        last = trainer.global_step
        if trainer.is_global_zero:
            for replica, run_dir in enumerate(self.run_dirs):
                of_replica = losses[:, replica].tolist()
                steps = range(last - len(of_replica) + 1, last + 1)
                append_rows(run_dir / "steps.csv", zip(steps, of_replica, rates, strict=True))
        return losses

    def _see_divergence(
        self, losses: Tensor, last_step: int, val_losses: Sequence[float] = ()
    ) -> None:
        """Notes replicas that have diverged. Raises Diverged when none is left."""
        first_step = last_step - len(losses) + 1
        for replica in range(losses.shape[1]):
            reason = self._divergence(losses[:, replica], first_step)
            if reason is None and val_losses and not math.isfinite(val_losses[replica]):
                reason = f"the validation loss was not finite after step {last_step}"
            if reason is not None:
                self.diverged.setdefault(replica, reason)
        if len(self.diverged) == len(self.run_dirs):
            raise Diverged(self.diverged[0])

    def _divergence(self, losses: Tensor, first_step: int) -> str | None:
        finite = losses.isfinite()
        if not finite.all():
            step = first_step + int(finite.logical_not().nonzero()[0])
            return f"the training loss was not finite at step {step}"
        typical = float(losses[-DIVERGENCE_WINDOW:].median())
        if typical > self.loss_limit:
            step = first_step + len(losses) - 1
            return (
                f"the training loss was {typical:.3g} at step {step}, over {self.loss_limit:.3g}: "
                "ten times that of a network that knows nothing"
            )
        return None

    def _log(self, trainer: L.Trainer, losses: Tensor) -> None:
        """The epoch to the loggers: step losses at their own steps, then the epoch's metrics."""
        if not trainer.is_global_zero:
            return
        last = trainer.global_step
        first = last - len(losses) + 1
        for replica, logger in enumerate(trainer.loggers):
            for step, loss in enumerate(losses[:, replica].tolist(), start=first):
                if step % LOG_EVERY_N_STEPS == 0 or step == 1:
                    logger.log_metrics({"train/loss_step": loss}, step=step)
            row = dict(zip(EPOCH_COLUMNS, self.epoch_rows[replica], strict=True))
            del row["step"]
            logger.log_metrics(row, step=last)


def synchronize(device: torch.device) -> None:
    """Waits until the device has done what it was given, so that a clock reads the truth."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def compiling_s() -> float:
    """Seconds that this process has spent in torch.compile, which its first run pays for all."""
    dynamo = sys.modules.get("torch._dynamo.utils")
    spent = dynamo.calculate_time_spent() if dynamo else {}
    return float(spent.get("total_wall_time", 0.0))


def across_devices(trainer: L.Trainer, values: Tensor, operation: str) -> Tensor:
    """Sum or mean over the devices of the run."""
    if trainer.world_size == 1:
        return values
    reduced = trainer.strategy.reduce(values, reduce_op=operation)
    assert isinstance(reduced, Tensor)
    return reduced


def append_rows(path: Path, rows: Any) -> None:
    """Adds rows to a CSV file; numbers are written so that they read back as the same float."""
    lines = "".join(",".join(map(repr, row)) + "\n" for row in rows)
    with path.open("a") as file:
        file.write(lines)


def keep_rows(path: Path, columns: tuple[str, ...], by: str, last: int) -> int:
    """Starts a CSV file, or keeps of an old one the rows whose column `by` is at most `last`.

    Returns:
        `by` of the last row that is kept; 0 without one.
    """
    index = columns.index(by)
    kept = []
    if path.is_file() and last > 0:
        # A line without its end was cut off while it was written
        lines = [
            line for line in path.read_text().splitlines(keepends=True)[1:] if line[-1] == "\n"
        ]
        kept = [line for line in lines if int(line.split(",")[index]) <= last]
    with whole_file(path) as partial:
        partial.write_text(",".join(columns) + "\n" + "".join(kept))
    return int(kept[-1].split(",")[index]) if kept else 0
