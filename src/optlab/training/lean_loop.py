"""Lightning's training loop without the cost of unused hooks.

Lightning calls every hook of every callback at every step and wraps each call in a profiler
context. For a small network this costs more than the optimizer step. `LeanEpochLoop` looks up once
per epoch which hooks the callbacks and the module override. It calls only those, in the same order
and with the same arguments as Lightning. The results are bitwise identical. Cases that it does not
cover run in Lightning's own loop; `standard_loop_reason` lists them.

To read it, start at `advance` (one batch) and `_train_on`, which calls `optimizer.step`.

Checked against Lightning 2.6.6. The base class is private, so `tests/training/test_lean_loop.py`
compares the source of the replaced methods and fails when Lightning changes them.
"""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.precision.precision import Precision as FabricPrecision
from lightning.fabric.utilities.apply_func import move_data_to_device
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loops.fetchers import (
    _DataFetcher,
    _DataLoaderIterDataFetcher,
    _profile_nothing,
)
from lightning.pytorch.loops.optimization.automatic import ClosureResult
from lightning.pytorch.loops.optimization.closure import OutputResult
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.plugins.precision import DoublePrecision, MixedPrecision, Precision
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import SingleDeviceStrategy
from lightning.pytorch.utilities.exceptions import MisconfigurationException, SIGTERMException
from lightning.pytorch.utilities.model_helpers import is_overridden
from lightning.pytorch.utilities.signature_utils import is_param_in_hook_signature
from torch import Tensor
from torch.optim import Optimizer

from optlab.training.classifier import ImageClassifier

log = logging.getLogger(__name__)

STEP_HOOKS = (
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
)
TRANSFER_HOOKS = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")


def standard_loop_reason(trainer: L.Trainer) -> str | None:
    """Return why a run needs Lightning's own loop, or None if the lean loop covers it."""
    module, precision = trainer.lightning_module, trainer.precision_plugin
    if not module.automatic_optimization:
        return "the module uses manual optimization"
    if is_overridden("optimizer_step", module):
        return "the module overrides optimizer_step"
    if not isinstance(trainer.profiler, PassThroughProfiler):  # type: ignore[attr-defined]
        return "a profiler is on"
    if type(trainer.strategy) is not SingleDeviceStrategy:
        return f"the strategy is {type(trainer.strategy).__name__}"
    if type(precision) not in (Precision, MixedPrecision, DoublePrecision):
        return f"the precision plugin is {type(precision).__name__}"
    if getattr(precision, "scaler", None) is not None:
        return f"trainer.precision={precision.precision} scales the loss"
    return None


class _UncopiedResult(ClosureResult):
    """A result whose detached loss shares its memory with the loss itself."""

    def _clone_loss(self) -> None:
        if self.closure_loss is not None:
            self.loss = self.closure_loss.detach()


class LeanEpochLoop(_TrainingEpochLoop):
    """Runs the batches of one training epoch; see the module docstring."""

    def __init__(self, trainer: L.Trainer, **limits: Any) -> None:
        super().__init__(trainer, **limits)
        self._lean = False
        self._announced = False

    def on_run_start(self, data_fetcher: _DataFetcher) -> None:
        super().on_run_start(data_fetcher)
        reason = standard_loop_reason(self.trainer)
        if reason is None and isinstance(data_fetcher, _DataLoaderIterDataFetcher):
            reason = "training_step takes the data loader's iterator"
        if not self._announced:
            self._announced = True
            loop = "OptLab's lean loop" if reason is None else f"Lightning's own loop, as {reason}"
            log.info("training runs in %s", loop)
        # True in the extra epoch in which StochasticWeightAveraging updates batch-norm statistics
        without_backward = self.automatic_optimization._skip_backward
        self._lean = reason is None and not without_backward
        if self._lean:
            data_fetcher._start_profiler = data_fetcher._stop_profiler = _profile_nothing
            self._look_up_hooks()

    def _look_up_hooks(self) -> None:
        """Look up everything that stays the same for all batches of this epoch."""
        trainer: Any = self.trainer  # Lightning sets some of its attributes where mypy misses them
        module = trainer.lightning_module
        precision, datamodule = trainer.precision_plugin, trainer.datamodule
        self._module = module
        self._optimizer: Optimizer = trainer.optimizers[0]
        self._device = trainer.strategy.root_device
        self._callback_hooks = {
            hook: [
                getattr(callback, hook)
                for callback in trainer.callbacks
                if is_overridden(hook, callback, Callback)
                and not _never_saves_per_batch(callback, hook)
            ]
            for hook in STEP_HOOKS
        }
        self._module_hooks: dict[str, Callable[..., Any] | None] = {
            hook: getattr(module, hook) if is_overridden(hook, module) else None
            for hook in (*STEP_HOOKS, "optimizer_zero_grad", "backward")
        }
        self._training_step = module.training_step
        # Lightning clears gradients after training_step, and a user's training_step may read the
        # old ones. ImageClassifier's does not. Clearing them first frees their memory for the
        # forward pass, which saves 2 % of a small step.
        self._zeroes_grad_before_forward = type(
            module
        ).training_step is ImageClassifier.training_step and not (
            self._callback_hooks["on_before_zero_grad"]
            or self._module_hooks["on_before_zero_grad"]
            or self._module_hooks["optimizer_zero_grad"]
        )
        self._takes_batch_idx = is_param_in_hook_signature(
            module.training_step, "batch_idx", min_args=2
        )
        self._forward_context: Callable[[], AbstractContextManager[Any]] = (
            nullcontext if type(precision) is Precision else precision.train_step_context
        )
        self._converts_input = type(precision).convert_input is not FabricPrecision.convert_input
        owners = [owner for owner in (module, datamodule) if owner is not None]
        self._has_transfer_hooks = any(
            is_overridden(hook, owner) for owner in owners for hook in TRANSFER_HOOKS
        )
        self._clips = trainer.gradient_clip_val is not None or is_overridden(
            "configure_gradient_clipping", module
        )
        step_configs = [
            config for config in trainer.lr_scheduler_configs if config.interval == "step"
        ]
        self._step_schedulers = [
            config.scheduler for config in step_configs if not config.reduce_on_plateau
        ]
        self._steps_schedulers_itself = not is_overridden("lr_scheduler_step", module) and all(
            config.frequency == 1 for config in step_configs if not config.reduce_on_plateau
        )
        self._steps_plateau_within_epoch = any(
            config.reduce_on_plateau and config.frequency < trainer.num_training_batches
            for config in step_configs
        )
        self._validates_within_epoch = (
            trainer._val_check_time_interval is not None
            or trainer.check_val_every_n_epoch is None
            or (
                trainer.enable_validation
                and trainer.val_check_batch != float("inf")
                and trainer.val_check_batch < trainer.num_training_batches
            )
        )

    def advance(self, data_fetcher: _DataFetcher) -> None:
        """Train on one batch.

        Raises:
            StopIteration: if the data has ended, or a hook returned -1 to end the epoch.
        """
        if not self._lean or self.restarting:
            super().advance(data_fetcher)
            return
        if self.val_loop.restarting:
            self.val_loop.restarting = False
        connector = self.trainer._logger_connector
        progress, results = self.batch_progress, self._results
        batch, _, _ = next(data_fetcher)
        batch_idx = self.batch_idx + 1
        progress.is_last_batch = data_fetcher.done
        batch = self._to_device(batch)
        progress.increment_ready()
        # What connector.on_batch_start does, without looking up the running loop at every step
        connector._first_loop_iter = connector._first_loop_iter is None
        results.batch, results.batch_size, results.dataloader_idx = batch, None, None
        outputs: dict[str, Any] | None = None
        skips_rest = False
        if batch is None:
            self._warning_cache.warn(
                "train_dataloader yielded None. If this was on purpose, ignore this warning..."
            )
        else:
            skips_rest = self._call("on_train_batch_start", batch, batch_idx) == -1
            if skips_rest:
                progress.increment_by(0, is_last_batch=True)
            else:
                progress.increment_started()
                outputs = self._train_on(batch, batch_idx)
        progress.increment_processed()
        self._step_lr_schedulers()
        if skips_rest:
            raise StopIteration
        self._call("on_train_batch_end", outputs, batch, batch_idx)
        if results:  # something was logged
            connector.on_batch_end()
            progress.increment_completed()
            connector.update_train_step_metrics()
        else:
            results.batch = results.batch_size = None
            progress.increment_completed()

    def on_advance_end(self, data_fetcher: _DataFetcher) -> None:
        trainer = self.trainer
        ends_epoch = (
            self.batch_progress.is_last_batch
            or trainer.should_stop
            or self._num_ready_batches_reached()
        )
        if (
            not self._lean
            or self._skip_next_val
            or self._validates_within_epoch
            or self._steps_plateau_within_epoch
            or ends_epoch
        ):
            super().on_advance_end(data_fetcher)
            return
        if not self._accumulates():
            self._batches_that_stepped += 1
        if trainer.received_sigterm and not self._is_training_done:
            raise SIGTERMException

    def _train_on(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """Run the forward and backward pass, and `optimizer.step` unless gradients accumulate."""
        results: list[ClosureResult] = []

        def forward_and_backward() -> Tensor | None:
            with torch.enable_grad():
                results.append(self._forward_and_backward(batch, batch_idx))
            return results[-1].loss

        def closure() -> Tensor | None:
            loss = forward_and_backward()
            self._before_optimizer_step()
            return loss

        if self._accumulates():
            forward_and_backward()
        else:
            steps = self.automatic_optimization.optim_progress.optimizer.step
            steps.increment_ready()
            outer_hook = self._set_hook("optimizer_step")
            # The closure returns a tensor, since converting it to float would wait for the GPU
            self._optimizer.step(closure=closure)  # type: ignore[arg-type]
            self._set_hook(outer_hook)
            steps.increment_completed()
            if not results:
                raise MisconfigurationException(
                    f"{type(self._optimizer).__name__}.step did not call its closure, so nothing "
                    "was trained.\n\nhint: step(self, closure) has to call closure()"
                )
        result: OutputResult = results[-1]
        return result.asdict() if results[-1].loss is not None else {}

    def _forward_and_backward(self, batch: Any, batch_idx: int) -> ClosureResult:
        clears = batch_idx % self.trainer.accumulate_grad_batches == 0
        if clears and self._zeroes_grad_before_forward:
            self._zero_grad(batch_idx)
        outer_hook = self._set_hook("training_step")
        with self._forward_context():
            output = (
                self._training_step(batch, batch_idx)
                if self._takes_batch_idx
                else self._training_step(batch)
            )
        self._set_hook(outer_hook)
        result = self._closure_result(output)
        loss = result.closure_loss
        if loss is None:
            self._warning_cache.warn(
                "`training_step` returned `None`. If this was on purpose, ignore this warning..."
            )
        if clears and not self._zeroes_grad_before_forward:
            self._zero_grad(batch_idx)
        if loss is not None:
            self._set_hook("backward")
            self._call("on_before_backward", loss)
            backward = self._module_hooks["backward"]
            if backward is None:
                loss.backward()
            else:
                backward(loss)
            self._call("on_after_backward")
            self._set_hook(outer_hook)
        return result

    def _closure_result(self, output: Any) -> ClosureResult:
        """Convert the output of training_step to a ClosureResult.

        Lightning divides the loss by `accumulate_grad_batches` and copies it, in case a gradient
        scaler changes it. Dividing by 1 changes no bit and no scaler is used here, so both are
        skipped: the division and its backward pass take 2 % of a small step.
        """
        if self.trainer.accumulate_grad_batches == 1:
            if isinstance(output, Tensor):
                return _UncopiedResult(output)
            if isinstance(output, dict) and output.get("loss") is not None:
                extra = {key: value for key, value in output.items() if key != "loss"}
                return _UncopiedResult(output["loss"], extra=extra)
        return ClosureResult.from_training_step_output(output, self.trainer.accumulate_grad_batches)

    def _zero_grad(self, batch_idx: int) -> None:
        progress = self.automatic_optimization.optim_progress.optimizer.zero_grad
        progress.increment_ready()
        self._call("on_before_zero_grad", self._optimizer)
        progress.increment_started()
        zero_grad = self._module_hooks["optimizer_zero_grad"]
        if zero_grad is None:
            self._optimizer.zero_grad()
        else:
            outer_hook = self._set_hook("optimizer_zero_grad")
            zero_grad(self.trainer.current_epoch, batch_idx, self._optimizer)
            self._set_hook(outer_hook)
        progress.increment_completed()

    def _accumulates(self) -> bool:
        """Return whether this batch only accumulates gradients, without an optimizer step."""
        return self.trainer.accumulate_grad_batches > 1 and self._should_accumulate()

    def _before_optimizer_step(self) -> None:
        self._call("on_before_optimizer_step", self._optimizer)
        if self._clips:
            trainer = self.trainer
            trainer.precision_plugin._clip_gradients(
                self._module,
                self._optimizer,
                trainer.gradient_clip_val,
                gradient_clip_algorithm=trainer.gradient_clip_algorithm,
            )

    def _step_lr_schedulers(self) -> None:
        if not self._steps_schedulers_itself:
            self.update_lr_schedulers("step", update_plateau_schedulers=False)
        elif self._step_schedulers and not self._accumulates():
            for scheduler in self._step_schedulers:
                self.scheduler_progress.increment_ready()
                scheduler.step()
                self.scheduler_progress.increment_completed()
        if self._num_ready_batches_reached():
            self.update_lr_schedulers("epoch", update_plateau_schedulers=False)

    def _to_device(self, batch: Any) -> Any:
        trainer = self.trainer
        if self._converts_input:
            batch = trainer.precision_plugin.convert_input(batch)
        if self._has_transfer_hooks:
            batch = trainer.lightning_module._on_before_batch_transfer(batch, dataloader_idx=0)
            return trainer.strategy.batch_to_device(batch, dataloader_idx=0)
        if isinstance(batch, tuple | list):
            for part in batch:
                if not isinstance(part, Tensor) or part.device != self._device:
                    break
            else:
                return batch  # move_data_to_device would cost a tenth of a small step
        return move_data_to_device(batch, self._device)

    def _call(self, hook: str, *arguments: Any) -> Any:
        """Call a hook of the callbacks and of the module; return the module's return value."""
        callback_hooks, module_hook = self._callback_hooks[hook], self._module_hooks[hook]
        if not callback_hooks and module_hook is None:
            return None
        outer_hook = self._set_hook(hook)
        for callback_hook in callback_hooks:
            callback_hook(self.trainer, self._module, *arguments)
        response = module_hook(*arguments) if module_hook is not None else None
        self._set_hook(outer_hook)
        return response

    def _set_hook(self, hook: str | None) -> str | None:
        """Tell `self.log` which hook runs now; return the outer one, to restore it later."""
        attributes = self._module.__dict__  # avoids nn.Module.__setattr__, which is slow
        outer_hook, attributes["_current_fx_name"] = attributes["_current_fx_name"], hook
        return outer_hook


def _never_saves_per_batch(callback: Callback, hook: str) -> bool:
    """Return whether this is the hook of a ModelCheckpoint that never saves after a batch."""
    return (
        hook == "on_train_batch_end"
        and isinstance(callback, ModelCheckpoint)
        and type(callback).on_train_batch_end is ModelCheckpoint.on_train_batch_end
        and callback._every_n_train_steps < 1
        and callback._train_time_interval is None
    )


def use_lean_loop(trainer: L.Trainer) -> None:
    """Replace the trainer's epoch loop with a `LeanEpochLoop`. Call this before `trainer.fit`."""
    standard = trainer.fit_loop.epoch_loop
    trainer.fit_loop.epoch_loop = LeanEpochLoop(
        trainer, min_steps=standard.min_steps, max_steps=standard.max_steps
    )
