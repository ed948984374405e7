"""CSVMetrics: write the metrics of a run to steps.csv and epochs.csv while it trains.

A run that validates within its epochs has a third file, validation.csv. All reports are made from
these files, and loggers get the same numbers. Step rows are written every few seconds and at the
end of an epoch, before the checkpoint of that epoch. A run that resumes from a checkpoint drops the
rows that came after it, so the files of a resumed run equal those of a run that was never
interrupted.
"""

import csv
import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from optlab.files import atomic_write
from optlab.runs.folder import EPOCH_COLUMNS, STEP_COLUMNS, VALIDATION_COLUMNS, RunFolder
from optlab.training.clock import TrainingClock

# Uniform predictions have a loss of log(num_classes). A loss ten times as high at the end of an
# epoch means that training has diverged, even if no number is infinite yet.
DIVERGENCE_FACTOR = 10.0
DIVERGENCE_WINDOW = 100  # the median loss of this many last optimizer steps is compared
WRITE_INTERVAL_S = 2.0  # seconds between two transfers from the device within an epoch
COUNT_EVERY = 64  # batches whose predictions are counted at once: one kernel instead of many


class Diverged(Exception):
    """Raised when training diverges; the message gives the step and the reason."""


class CSVMetrics(Callback):
    """Writes the CSV files, feeds the loggers and ends a run that diverges.

    LBFGS and two-pass optimizers evaluate the loss several times within an optimizer step. The
    first of these losses is recorded. `train/accuracy` comes from the
    "logits" of a `training_step` that returns {"loss": ..., "logits": ...}; it is empty for one
    that does not. Validation metrics are those that the module logged as `val/loss` and
    `val/accuracy`.
    """

    time_share = 1.0  # fraction of the clock's time; replicas share it
    logged: tuple[str, ...] = ("train/",)  # prefixes logged here; the module logs the others

    def __init__(
        self,
        run_dir: Path,
        num_classes: int,
        clock: TrainingClock,
        *,
        expects_earlier_rows: bool = True,
    ) -> None:
        """
        Args:
            run_dir: folder of the files.
            num_classes: number of classes; uniform predictions have a loss of log(num_classes)
                nats.
            clock: measures the training time; it is stopped while files are written.
            expects_earlier_rows: whether the files must have all rows up to the checkpoint's step;
                False for a checkpoint of another run.
        """
        self.files = RunFolder(run_dir)
        self.clock = clock
        self.expects_earlier_rows = expects_earlier_rows
        self.loss_limit = DIVERGENCE_FACTOR * math.log(max(num_classes, 2))
        self.num_images = 0  # trained on so far
        self.has_started = False  # whether this process has trained
        self._begin_epoch()

    def _begin_epoch(self) -> None:
        self._first_loss: Tensor | None = None  # of the batch that is trained on
        self._num_losses = 0  # evaluated for that batch
        self._batch_losses: list[Tensor] = []  # of the current optimizer step
        self._losses: list[Tensor] = []  # scalars, of the steps that are not yet written
        self._lrs: list[float] = []
        self._lr = math.nan
        self._written_losses: list[float] = []  # losses of the epoch's steps so far
        self._predictions: list[tuple[Tensor, Tensor]] = []  # logits and labels, not yet counted
        self._num_correct: Tensor | None = None
        self._num_images = 0
        self._validated_at = -1  # optimizer steps at the latest validation of the epoch

    # --- state ---------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        return {"num_images": self.num_images}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.num_images = state_dict["num_images"]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.has_started = True
        # With 16-mixed, on_before_backward gets a loss that the gradient scaler has scaled
        self._is_scaled = getattr(trainer.precision_plugin, "scaler", None) is not None
        self._outputs_have_loss = pl_module.automatic_optimization
        schedulers = trainer.lr_scheduler_configs
        # False if a scheduler has already set the next step's learning rate when a batch ends
        self._lr_is_of_this_step = all(config.reduce_on_plateau for config in schedulers)
        # Reading a loss from a GPU would wait for it, and each of several devices sees only its
        # share of the batch. In both cases losses are checked when rows are written.
        self._is_one_process = trainer.world_size == 1
        self._checks_every_step = pl_module.device.type == "cpu" and self._is_one_process
        self._step = trainer.global_step  # optimizer steps made so far
        self._num_batches = 0  # of the current optimizer step
        self._validates_within_epochs = (
            trainer.check_val_every_n_epoch is None or trainer.val_check_interval != 1.0
        )
        if not trainer.is_global_zero:
            return
        if self._validates_within_epochs:
            keep_rows(self.files.validation, VALIDATION_COLUMNS, "step", trainer.global_step)
        for path, columns in ((self.files.steps, STEP_COLUMNS), (self.files.epochs, EPOCH_COLUMNS)):
            last = keep_rows(path, columns, "step", trainer.global_step)
            if self.expects_earlier_rows and last != trainer.global_step:
                raise ValueError(
                    f"{path} ends at step {last}, but the checkpoint was written at step "
                    f"{trainer.global_step}: the run was trained differently in between.\n\n"
                    "hint: rerun=true starts it again from the beginning"
                )

    # --- one epoch -----------------------------------------------------------------------------

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._begin_epoch()
        self._next_write_s = time.perf_counter() + WRITE_INTERVAL_S

    def on_before_backward(
        self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Tensor
    ) -> None:
        self._num_losses += 1
        if self._num_losses == 1:
            self._first_loss = loss
            if not self._lr_is_of_this_step:
                self._lr = trainer.optimizers[0].param_groups[0].get("lr", math.nan)
        elif trainer.accumulate_grad_batches > 1:
            raise ValueError(
                f"{type(trainer.optimizers[0]).__name__} calls its closure repeatedly in a step. "
                f"With trainer.accumulate_grad_batches={trainer.accumulate_grad_batches}, earlier "
                "batches would count twice.\n\nhint: raise data.batch_size instead"
            )

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        loss = self._loss_of(outputs)
        self._first_loss, self._num_losses = None, 0
        self._num_images += _num_images(batch)
        logits = self._logits_of(outputs)
        if logits is not None:
            self._predictions.append((logits, self._labels_of(batch)))
            if len(self._predictions) >= COUNT_EVERY:
                self._count()
        if trainer.accumulate_grad_batches > 1:
            self._num_batches += 1
            if loss is not None:
                self._batch_losses.append(loss)
            if trainer.fit_loop._should_accumulate():
                return
            # Lightning has divided each by accumulate_grad_batches; a last group may be shorter
            scale = trainer.accumulate_grad_batches / self._num_batches
            loss = torch.stack(self._batch_losses).sum() * scale if self._batch_losses else None
            self._batch_losses.clear()
            self._num_batches = 0
        self._step += 1
        if loss is None:  # training_step returned None: no loss, no row
            return
        if self._lr_is_of_this_step:  # read now: some optimizers adapt it during the step
            self._lr = trainer.optimizers[0].param_groups[0].get("lr", math.nan)
        self._losses.append(loss)
        self._lrs.append(float(self._lr))
        if self._checks_every_step and not math.isfinite(loss.item()):
            with self.clock.stopped(pl_module):
                self._write_steps(trainer)
                self._end_if_diverged(self._divergence())
        elif self._is_one_process and time.perf_counter() > self._next_write_s:
            with self.clock.stopped(pl_module):
                self._write_steps(trainer)
                self._next_write_s = time.perf_counter() + WRITE_INTERVAL_S

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.sanity_checking:
            return
        self._validated_at = trainer.global_step
        if self._validates_within_epochs and trainer.is_global_zero:
            with self.clock.stopped(pl_module):
                row = [trainer.current_epoch + 1, trainer.global_step, *self._validation(trainer)]
                append_rows(self.files.validation, [[*row, self._train_time_s]])

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._write_steps(trainer)
        if not self._written_losses:  # an epoch without a step, which some callbacks add
            return
        self._end_if_diverged(self._divergence(only_if_not_finite=True))
        accuracy = self._accuracy(trainer, pl_module)
        # An earlier validation in this epoch used other weights
        has_validated = self._validated_at == trainer.global_step
        val_loss, val_accuracy = self._validation(trainer) if has_validated else (math.nan,) * 2
        row = [
            trainer.current_epoch + 1,
            trainer.global_step,
            float(self._lr),
            float(torch.tensor(self._written_losses, dtype=torch.float32).double().mean()),
            accuracy,
            val_loss,
            val_accuracy,
            self._train_time_s,
        ]
        if trainer.is_global_zero:
            append_rows(self.files.epochs, [row])
            self._log_epoch(trainer, dict(zip(EPOCH_COLUMNS, row, strict=True)))
        reason = self._divergence()
        if reason is None and has_validated and not math.isfinite(val_loss):
            reason = f"the validation loss was not finite after step {trainer.global_step}"
        self._end_if_diverged(reason)

    # --- overridden by replicas, which train several runs at once --------------------------------

    def _loss_of(self, outputs: Any) -> Tensor | None:
        """Return the batch loss, shape (), at its first evaluation, or None without a loss."""
        is_only_one = self._num_losses == 1 and self._outputs_have_loss
        if outputs and (self._is_scaled or is_only_one):
            return outputs["loss"]  # detached already
        return None if self._first_loss is None else self._first_loss.detach()

    def _logits_of(self, outputs: Any) -> Tensor | None:
        return outputs.get("logits") if isinstance(outputs, dict) else None

    def _labels_of(self, batch: Any) -> Tensor:
        labels: Tensor = batch[1]
        return labels

    def _validation(self, trainer: L.Trainer) -> tuple[float, float]:
        """Return the loss and the accuracy of the latest validation."""
        metrics = trainer.callback_metrics
        for name in ("val/loss", "val/accuracy"):
            if name not in metrics:
                raise ValueError(
                    f"{type(trainer.lightning_module).__name__} did not log {name} during "
                    "validation, but OptLab compares runs by it.\n\n"
                    f'hint: call self.log("{name}", ...) in validation_step'
                )
        return float(metrics["val/loss"]), float(metrics["val/accuracy"])

    def _loggers(self, trainer: L.Trainer) -> list[Any]:
        return trainer.loggers

    def _end_if_diverged(self, reason: str | None) -> None:
        """End a run that has diverged.

        Raises:
            Diverged: if there is a reason.
        """
        if reason is not None:
            raise Diverged(reason)

    # --------------------------------------------------------------------------------------------

    @property
    def _train_time_s(self) -> float:
        return self.clock.train_time_s * self.time_share

    def _write_steps(self, trainer: L.Trainer) -> None:
        """Write the steps so far to steps.csv and to the loggers."""
        if not self._losses:
            return
        losses = across_devices(trainer, torch.stack(self._losses), "mean").float().tolist()
        last = self._step
        rows = list(zip(range(last - len(losses) + 1, last + 1), losses, self._lrs, strict=True))
        self._losses.clear()
        self._lrs.clear()
        self._written_losses += losses
        if not trainer.is_global_zero:
            return
        append_rows(self.files.steps, rows)
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        for logger in self._loggers(trainer):
            for step, loss, _ in rows:
                is_bad_end = step == last and not math.isfinite(loss)
                if step % every == 0 or step == 1 or is_bad_end:
                    logger.log_metrics({"train/loss_step": loss}, step=step)
            logger.save()

    def _log_epoch(self, trainer: L.Trainer, row: dict[str, float]) -> None:
        row = {name: value for name, value in row.items() if not math.isnan(value)}
        step = int(row["step"])
        metrics = {name: row[name] for name in row if name.startswith(self.logged)}
        metrics |= {"train/lr": row["lr"]} if "lr" in row else {}
        for logger in self._loggers(trainer):
            logger.log_metrics(metrics, step=step)
            logger.save()

    def _count(self) -> None:
        """Count the correct predictions of the batches collected so far."""
        if not self._predictions:
            return
        logits, labels = zip(*self._predictions, strict=True)
        correct = (torch.cat(logits).argmax(dim=-1) == torch.cat(labels)).sum()
        self._num_correct = correct if self._num_correct is None else self._num_correct + correct
        self._predictions.clear()

    def _accuracy(self, trainer: L.Trainer, pl_module: L.LightningModule) -> float:
        self._count()
        counted = torch.tensor(self._num_images, device=pl_module.device)
        num_images = int(across_devices(trainer, counted, "sum"))
        self.num_images += num_images
        if self._num_correct is None:
            return math.nan
        return int(across_devices(trainer, self._num_correct, "sum")) / num_images

    def _divergence(self, only_if_not_finite: bool = False) -> str | None:
        """Return why the epoch's steps show divergence, or None."""
        losses = torch.tensor(self._written_losses)
        first_step = self._step - len(losses) + 1
        finite = losses.isfinite()
        if not finite.all():
            step = first_step + int(finite.logical_not().nonzero()[0])
            return f"the training loss was not finite at step {step}"
        if only_if_not_finite:
            return None
        typical = float(losses[-DIVERGENCE_WINDOW:].median())
        if typical > self.loss_limit:
            return (
                f"the training loss was {typical:.3g} at step {self._step}, over "
                f"{self.loss_limit:.3g}, ten times the loss of uniform predictions"
            )
        return None


def _num_images(batch: Any) -> int:
    is_pair = isinstance(batch, tuple | list) and len(batch) > 1 and isinstance(batch[1], Tensor)
    return batch[1].shape[-1] if is_pair and batch[1].ndim else 0


def across_devices(trainer: L.Trainer, values: Tensor, operation: str) -> Tensor:
    """Return the "sum" or the "mean" of values over the devices of the run."""
    if trainer.world_size == 1:
        return values
    reduced = trainer.strategy.reduce(values, reduce_op=operation)
    assert isinstance(reduced, Tensor)
    return reduced


def append_rows(path: Path, rows: Iterable[Iterable[Any]]) -> None:
    """Append rows to a CSV file. Floats have all their digits, so they are read back exactly."""
    with path.open("a") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def keep_rows(path: Path, columns: tuple[str, ...], by: str, last: int) -> int:
    """Start a CSV file, or keep the rows of an old one whose column `by` is at most `last`.

    Returns:
        Value of `by` in the last row that is kept, or 0 if there is none.
    """
    index = columns.index(by)
    kept = []
    if path.is_file() and last > 0:
        # A line without a newline was cut off while being written
        lines = [
            line for line in path.read_text().splitlines(keepends=True)[1:] if line[-1] == "\n"
        ]
        kept = [line for line in lines if int(line.split(",")[index]) <= last]
    with atomic_write(path) as partial:
        partial.write_text(",".join(columns) + "\n" + "".join(kept))
    return int(kept[-1].split(",")[index]) if kept else 0
