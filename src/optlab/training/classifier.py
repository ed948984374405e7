"""ImageClassifier: the one LightningModule. It maps batch to loss and hands over the optimizer.

Why manual optimization: Lightning spends 0.3 to 0.5 ms on each call of `training_step`, more than a
small network needs for its own step. So one call here takes a chunk of batches and makes an
optimizer step for each, and whatever counts steps (schedules, logs, max_steps, checkpoints) counts
optimizer steps, not calls. The numbers are those of one step per call.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from optlab.optim.schedules import PlateauMaker, Schedule
from optlab.training.cuda_graph import LossAndLogits, Replayed, can_be_recorded
from optlab.training.evaluation import Evaluation
from optlab.training.seeds import derive_seed

EVAL_LOADERS = ("test", "train_eval")  # what the loaders handed to trainer.test mean, in order


class ImageClassifier(L.LightningModule):
    """Cross-entropy training of one network; knows no data set and no optimizer by name."""

    def __init__(
        self,
        net: nn.Module,
        make_optimizer: Callable[[], Optimizer],
        schedule: Schedule | PlateauMaker,
        *,
        num_classes: int,
        seed: int,
        num_replicas: int = 1,
        accumulate: int = 1,
        max_steps: int = -1,
        clip_norm: float | None = None,
        label_smoothing: float = 0.0,
        compiled: bool = False,
        graphed: bool = False,
    ) -> None:
        """
        Args:
            net: maps images (B, C, H, W) to logits (B, num_classes).
            make_optimizer: builds the optimizer over the parameters of `net`.
            schedule: the factor on the peak rate as a function of the optimizer steps already
                taken, or a maker of a scheduler that follows the validation loss.
            seed: of the run; randomness within an epoch is derived from it and the epoch alone.
            accumulate: batches whose gradients are averaged into one optimizer step.
            max_steps: optimizer steps of the run at most; -1 for no bound.
            clip_norm: largest global gradient norm; None does not clip.
            compiled: whether training (not evaluation) runs the network through torch.compile.
            graphed: whether the kernels of a training step are recorded once and replayed; on one
                CUDA device. Of optimizers that cannot be recorded, those of its passes.
        """
        super().__init__()
        self.automatic_optimization = False
        self.net = net
        self.make_optimizer = make_optimizer
        self.schedule = schedule
        self.seed = seed
        self.accumulate = accumulate
        self.max_steps = max_steps
        self.clip_norm = clip_norm
        self.label_smoothing = label_smoothing
        self.compiled = compiled
        self.graphed = graphed
        self.replayed_pass: Replayed | None = None
        self.replayed_step: Replayed | None = None
        # A function, not a module: a second name for `net` would double it in checkpoints
        self.train_net: Callable[[Tensor], Tensor] = net.__call__
        self.evaluations = nn.ModuleDict(
            {split: Evaluation(num_classes, num_replicas) for split in ("val", *EVAL_LOADERS)}
        )
        self.validation: dict[str, list[float]] = {}  # of the last epoch, one value a replica
        self.test_results: dict[str, dict[str, Tensor]] = {}  # of EVAL_LOADERS
        self.test_predictions: list[tuple[Tensor, Tensor, Tensor]] = []  # see test_step

    # --- optimizer -----------------------------------------------------------------------------

    def configure_optimizers(self) -> Any:
        optimizer = self.make_optimizer()
        if isinstance(self.schedule, PlateauMaker):  # has a state, which Lightning checkpoints
            return [optimizer], [self.schedule(optimizer)]
        for group in optimizer.param_groups:  # a function of the step has none
            group["initial_lr"] = group["lr"]
        return optimizer

    def on_fit_start(self) -> None:
        if self.compiled:  # evaluation is not: its other batch sizes would each be compiled anew
            # Each run of a process has networks of its own; torch gives up after eight
            torch._dynamo.config.recompile_limit = 1024
            self.train_net = torch.compile(self.net.forward, dynamic=False)

    def on_train_start(self) -> None:
        optimizer = self.trainer.optimizers[0]  # has the state of a checkpoint by now
        if self.graphed and can_be_recorded(optimizer):
            self.replayed_step = Replayed(self._optimizer_step, self.net, optimizer)
        elif self.graphed:
            self.replayed_pass = Replayed(self._pass, self.net)
        elif self.device.type == "cpu":
            for group in optimizer.param_groups:
                if "capturable" in group:  # set where a run was begun on a GPU, with graphs
                    group["capturable"] = False

    # --- training ------------------------------------------------------------------------------

    def on_train_epoch_start(self) -> None:
        # Dropout depends on (seed, epoch) alone: a resumed run draws what it would have drawn
        torch.manual_seed(derive_seed(self.seed, "epoch", self.current_epoch))
        set_epoch = getattr(self.net, "set_epoch", None)  # of networks that unfreeze on the way
        if callable(set_epoch):
            set_epoch(self.current_epoch)
            replayed = self.replayed_step or self.replayed_pass
            if replayed is not None:
                replayed.follow_unfreezing()
        self._set_optimizer_mode(training=True)

    def training_step(self, chunk: Sequence[Any], chunk_idx: int) -> dict[str, Any]:
        """Makes one optimizer step per batch (or per `accumulate` batches) of the chunk.

        Returns:
            losses: (K,) loss of each optimizer step, before its update; on the device.
            learning_rates: K floats.
            num_correct: () int64, num_images: int; of the chunk.
        """
        optimizer = self.trainer.optimizers[0]
        progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        step_losses: list[Tensor] = []
        learning_rates: list[float] = []
        all_logits: list[Tensor] = []
        all_labels: list[Tensor] = []

        for batches in self._per_step(chunk):
            learning_rates.append(self._set_learning_rate(optimizer))
            loss, logits = (self.replayed_step or self._optimizer_step)(batches)
            # The raw optimizer's step costs half of LightningOptimizer's, but keeps no count
            progress.increment_ready()
            progress.increment_completed()
            step_losses.append(loss)
            all_logits += logits
            all_labels += [batch.labels for batch in batches]

        if 0 <= self.max_steps <= self.global_step:
            self.trainer.should_stop = True  # after a last validation
        labels = torch.cat(all_labels, dim=-1)
        predicted = torch.cat(all_logits, dim=-2).argmax(dim=-1)
        return {
            "losses": torch.stack(step_losses),
            "learning_rates": learning_rates,
            "num_correct": (predicted == labels).sum(dim=-1),
            "num_images": labels.shape[-1],
        }

    def _per_step(self, chunk: Sequence[Any]) -> Iterator[Sequence[Any]]:
        """The batches of each optimizer step that the run may still make."""
        for first in range(0, len(chunk), self.accumulate):
            if 0 <= self.max_steps <= self.global_step:
                return
            yield chunk[first : first + self.accumulate]

    def _set_learning_rate(self, optimizer: Optimizer) -> float:
        if not isinstance(self.schedule, PlateauMaker):
            factor = self.schedule(self.global_step)
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
        return float(optimizer.param_groups[0]["lr"])

    def _optimizer_step(self, batches: Sequence[Any]) -> LossAndLogits:
        """One update. Returns its loss () and the logits of its batches, before the update."""
        optimizer = self.trainer.optimizers[0]
        passes: list[LossAndLogits] = []

        def closure() -> Tensor:  # LBFGS calls it several times in one step, the others once
            passes.append((self.replayed_pass or self._pass)(batches))
            return passes[-1][0]

        # Lightning's autocast covers all of training_step; the update's own arithmetic is no part
        # of the network and stays in the precision of the weights.
        device = self.device.type
        mixed = torch.is_autocast_enabled(device)
        with torch.autocast(device, enabled=False) if mixed else nullcontext():
            optimizer.step(closure)  # type: ignore[arg-type]  # a tensor: no waiting
        if not passes:
            raise ValueError(
                f"{type(optimizer).__name__}.step did not call the closure that it was given, so "
                "nothing was trained.\n\nhint: docs/adding_an_optimizer.md, section 1"
            )
        return passes[0]

    def _pass(self, batches: Sequence[Any]) -> LossAndLogits:
        """Forward and backward through the batches of one optimizer step.

        Leaves the gradient in the weights; returns the loss () and the logits of each batch.
        """
        self.trainer.optimizers[0].zero_grad()
        num_images = sum(batch.global_size for batch in batches)
        losses, all_logits = [], []
        for batch in batches:
            with self.trainer.precision_plugin.forward_context():
                logits = self.train_net(batch.images)
                loss = self._loss(logits, batch.labels)
            share = batch.labels.shape[-1] * self.trainer.world_size / num_images
            if share != 1.0:  # this rank's and this batch's part in the mean over all images
                loss = loss * share
            self._backward(loss)
            losses.append(loss.detach())
            all_logits.append(logits.detach())
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.net.parameters(), self.clip_norm)
        return losses[0] if len(losses) == 1 else torch.stack(losses).sum(dim=0), all_logits

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy: () for logits (B, C), one per replica (R,) for logits (R, B, C)."""
        if not labels.numel():  # a device without a share of a small last batch
            return logits.sum()
        if logits.ndim == 2:
            return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        losses = F.cross_entropy(
            logits.flatten(0, 1),
            labels.flatten(),
            label_smoothing=self.label_smoothing,
            reduction="none",
        )
        return losses.reshape(labels.shape).mean(dim=1)

    def _backward(self, loss: Tensor) -> None:
        if loss.ndim:  # the sum's gradient is each replica's own: no parameter is shared
            loss = loss.sum()
        if self.trainer.world_size > 1:
            self.manual_backward(loss)  # arms DDP's gradient averaging for this backward pass
        else:
            loss.backward()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["stopped"] = self.trainer.should_stop

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # A run that was killed after max_steps or early stopping had ended it trains no further
        self.trainer.should_stop = checkpoint["stopped"]

    # --- evaluation ----------------------------------------------------------------------------

    def evaluation(self, split: str) -> Evaluation:
        """The sums over one of the splits val, test and train_eval."""
        evaluation = self.evaluations[split]
        assert isinstance(evaluation, Evaluation)
        return evaluation

    def on_validation_start(self) -> None:
        self._set_optimizer_mode(training=False)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.evaluation("val").update(self.net(batch.images), batch.labels)

    def on_validation_epoch_end(self) -> None:
        result = self.evaluation("val").compute()
        self.evaluation("val").reset()
        # torchmetrics squeezes what has one element
        self.validation = {name: result[name].reshape(-1).tolist() for name in ("loss", "accuracy")}
        means = {f"val/{name}": sum(each) / len(each) for name, each in self.validation.items()}
        self.log_dict(means, logger=False)  # what checkpoints and early stopping watch
        for config in self.trainer.lr_scheduler_configs:  # a plateau schedule, if any
            assert isinstance(config.scheduler, ReduceLROnPlateau)
            config.scheduler.step(means["val/loss"])

    def on_test_start(self) -> None:
        self.test_predictions.clear()
        for split in EVAL_LOADERS:
            self.evaluation(split).reset()

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        split = EVAL_LOADERS[dataloader_idx]
        logits = self.net(batch.images)
        self.evaluation(split).update(logits, batch.labels)
        if split == "test":
            confidence, predicted = logits.float().softmax(dim=-1).max(dim=-1)
            self.test_predictions.append((batch.labels, predicted, confidence))

    def on_test_epoch_end(self) -> None:
        # Here and not later: several devices add up where the sums still lie on them
        self.test_results = {split: self.evaluation(split).compute() for split in EVAL_LOADERS}

    def _set_optimizer_mode(self, *, training: bool) -> None:
        """Schedule-free methods evaluate at another point than the one they take gradients at."""
        for optimizer in self.trainer.optimizers:
            switch = getattr(optimizer, "train" if training else "eval", None)
            if switch is not None:
                switch()
