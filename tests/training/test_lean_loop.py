"""Lightning's own loop and the lean loop: equal weights, equal hook calls, equal logged numbers."""

import hashlib
import inspect
import logging
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import Callback, LambdaCallback
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.loops.optimization.automatic import (
    Closure,
    ClosureResult,
    _AutomaticOptimization,
)
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from lightning.pytorch.strategies import Strategy
from lightning.pytorch.trainer import call
from lightning.pytorch.trainer.connectors.logger_connector import _LoggerConnector
from lightning.pytorch.utilities import CombinedLoader
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from optlab.training import build, lean_loop
from optlab.training.checkpoints import ResumeCheckpoint
from optlab.training.classifier import ImageClassifier
from optlab.training.clock import TrainingClock
from optlab.training.csv_metrics import CSVMetrics
from optlab.training.lean_loop import standard_loop_reason, use_lean_loop
from optlab.training.run import fit

ROOT = Path(__file__).parents[2]
OPTIMIZERS = sorted(path.stem for path in ROOT.glob("conf/optimizer/*.yaml"))

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{message}")
    for message in (
        ".*many workers",
        ".*your dataloader is not resumable",  # in mid-epoch: both loops draw its order anew
        ".*training_step.* returned .*None",
        ".*yielded None",
        ".*this fit will run with no optimizer",
        ".*but this logger cannot log the graph",
        ".*overridden in both",
        ".*dataloader_iter",
        ".*LeafSpec:FutureWarning",  # Lightning 2.6 with torch 2.15
    )
]

# --- with Hydra: what conf/ offers ---------------------------------------------------------------


def trained(config: Any, folder: Path) -> tuple[dict[str, Tensor], str, list[str], L.Trainer]:
    """Fit the run of a config; return weights, steps.csv, epochs.csv without its clock, trainer."""
    folder.mkdir()
    datamodule = build.build_data(config)
    module = build.build_module(config, build.build_net(config, datamodule), datamodule)
    clock = TrainingClock()
    csv = CSVMetrics(folder, datamodule.num_classes, clock)
    callbacks = [clock, csv, *build.build_callbacks(config, module), ResumeCheckpoint(folder, {})]
    trainer = build.build_trainer(config, callbacks, [])
    assert fit(trainer, module, datamodule, None) is None
    epochs = (folder / "epochs.csv").read_text().splitlines()
    assert epochs[0].endswith(",train_time_s")
    without_clock = [row.rpartition(",")[0] for row in epochs]
    return module.state_dict(), (folder / "steps.csv").read_text(), without_clock, trainer


RUNS = {  # overrides, and the optimizer steps of two epochs of 6 batches
    **{name: ([], 12) for name in OPTIMIZERS},
    # 6 batches in groups of 4: the second group of an epoch has two
    "accumulation with a short last group": (["trainer.accumulate_grad_batches=4"], 4),
    "clipping by norm": (["trainer.gradient_clip_val=0.1"], 12),
    "clipping by value": (
        ["trainer.gradient_clip_val=0.001", "trainer.gradient_clip_algorithm=value"],
        12,
    ),
    "clipping of an accumulated gradient": (
        ["trainer.gradient_clip_val=0.1", "trainer.accumulate_grad_batches=4"],
        4,
    ),
    "bf16-mixed": (["trainer.precision=bf16-mixed"], 12),
    "64-true": (["trainer.precision=64-true"], 12),
    "plateau": (["scheduler=plateau", "scheduler.patience=0", "scheduler.threshold=0.9"], 12),
    "cosine": (["scheduler=cosine"], 12),
    "StepLR of torch": (
        [
            "scheduler._target_=torch.optim.lr_scheduler.StepLR",
            "scheduler._partial_=true",
            "+scheduler.step_size=3",
        ],
        12,
    ),
    "max_steps in mid-epoch": (["trainer.max_steps=8"], 8),
    "val_check_interval": (["+trainer.val_check_interval=0.25"], 12),
    "dropout": (["model.dropout=0.5"], 12),
    "label smoothing and decay of kernels": (
        ["optimizer=adamw", "module.label_smoothing=0.1", "module.decay_norm_and_bias=false"],
        12,
    ),
    "convolutions with batch normalization": (["model=cnn", "+trainer.limit_val_batches=1"], 12),
}


def test_an_optimizer_file_was_found():
    assert len(OPTIMIZERS) >= 35


# The loops know no optimizer by name; these differ in how they use the closure, modes and state
QUICK = ("adam", "lbfgs", "lookahead", "muon", "sam", "schedule_free", "sgd", "sophia")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name in OPTIMIZERS and name not in QUICK))
        for name in RUNS
    ],
)
def test_run_with_lightnings_own_loop_has_the_same_weights_and_curves(name, make_config, tmp_path):
    overrides, num_steps = RUNS[name]
    wraps = name in ("asam", "lookahead", "sam")
    overrides = [f"optimizer={name}", *overrides] if wraps else overrides
    config = make_config("trainer.max_epochs=2", "+trainer.limit_train_batches=6", *overrides)
    config.callbacks = None
    if name in OPTIMIZERS and not wraps:  # composing takes longer than the training
        config.optimizer = OmegaConf.load(ROOT / "conf" / "optimizer" / f"{name}.yaml")
    if name == "lbfgs":
        config.optimizer.max_iter = 2
    weights, steps, epochs, trainer = trained(config, tmp_path / "lean")
    config.lean_loop = False
    own_weights, own_steps, own_epochs, own_trainer = trained(config, tmp_path / "own")
    assert trainer.fit_loop.epoch_loop._lean
    assert type(own_trainer.fit_loop.epoch_loop) is _TrainingEpochLoop
    assert trainer.global_step == num_steps == len(steps.splitlines()) - 1
    assert steps == own_steps
    assert epochs == own_epochs
    for key, tensor in own_weights.items():
        assert torch.equal(weights[key], tensor), key


# --- without Hydra: modules, callbacks and loaders of every kind ----------------------------------

NUM_IMAGES, BATCH_SIZE = 26, 4  # 7 batches, the last one of 2


def fingerprint(value: Any) -> Any:
    """What can be compared of a hook's argument."""
    if isinstance(value, Tensor):
        return value.detach().clone().double().tolist() if value.numel() < 64 else value.shape
    if isinstance(value, dict):
        return {key: fingerprint(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [fingerprint(each) for each in value]
    if isinstance(value, int | float | str | bool | None):
        return value
    return type(value).__name__


class Diary:
    """What the hooks of one training saw, in the order in which they were called."""

    def __init__(self) -> None:
        self.entries: list[tuple[Any, ...]] = []

    def note(self, whose: str, hook: str, module: L.LightningModule, arguments: Any) -> None:
        trainer = module._trainer
        seen: list[Any] = [fingerprint(arguments), module._current_fx_name]
        seen.append(hash(torch.get_rng_state().numpy().tobytes()))
        trainer = module._trainer
        if trainer is not None and trainer.state.fn == "fit":
            loop = trainer.fit_loop
            seen += [trainer.global_step, trainer.current_epoch, loop.epoch_loop.batch_idx]
            for parameter in module.parameters():
                grad = 0 if parameter.grad is None else parameter.grad.double().sum().item()
                seen += [parameter.detach().double().sum().item(), parameter.grad is None, grad]
            if hook.endswith("_end") and (trainer.training or trainer.validating):
                seen += [loop.state_dict(), fingerprint(trainer.callback_metrics)]
                seen += [fingerprint(trainer.logged_metrics), dict(trainer.progress_bar_metrics)]
        self.entries.append((f"{whose}.{hook}", *seen))

    @property
    def hooks(self) -> list[str]:
        return [entry[0] for entry in self.entries]


def hooks_of(base: type) -> list[str]:
    return [name for name in dir(base) if name.startswith("on_") or name in ("setup", "teardown")]


class Recorder(Callback):
    """Overrides every hook of Callback."""

    def __init__(self, diary: Diary) -> None:
        self.diary = diary


def _recording(hook: str) -> Callable[..., None]:
    def record(self: Recorder, trainer: Any, module: Any, *arguments: Any, **named: Any) -> None:
        arguments = () if "checkpoint" in hook else (*arguments, *named.values())
        self.diary.note("callback", hook, module, arguments)

    return record


for _hook in hooks_of(Callback):
    setattr(Recorder, _hook, _recording(_hook))


class Linear(L.LightningModule):
    """A textbook module: returns its loss and overrides nothing else."""

    diary: Diary

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.net = nn.Sequential(nn.Linear(5, 4), nn.Dropout(0.3), nn.Linear(4, 3))

    def loss(self, batch: Any) -> Tensor:
        images, labels = batch
        return F.cross_entropy(self.net(images), labels)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return self.loss(batch)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val/loss", self.loss(batch))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


class WithoutBatchIdx(Linear):
    def training_step(self, batch):
        return self.loss(batch)


class ReturnsDict(Linear):
    def training_step(self, batch, batch_idx):
        loss = self.loss(batch)
        return {"loss": loss, "twice": 2 * loss.detach(), "name": "extra"}


class ReturnsNoneNowAndThen(Linear):
    def training_step(self, batch, batch_idx):
        return None if batch_idx % 3 == 1 else self.loss(batch)


class Logs(Linear):
    def training_step(self, batch, batch_idx):
        loss = self.loss(batch)
        self.log("both", loss, on_step=True, on_epoch=True, prog_bar=True)
        self.log("step", loss * 2)
        self.log("epoch", loss * 3, on_step=False, on_epoch=True)
        self.log_dict({"a": 1.0, "b": batch_idx}, prog_bar=True)
        if batch_idx % 2:
            self.log("odd", loss)
        return loss

    def on_train_epoch_end(self):
        self.log("at_end", self.trainer.callback_metrics["epoch"] + 1)


class LogsFromTheSecondEpochOn(Linear):
    def training_step(self, batch, batch_idx):
        loss = self.loss(batch)
        if self.current_epoch > 0 and batch_idx > 2:
            self.log("late", loss, on_step=True, on_epoch=True)
        return loss


class LogsInEveryHook(Linear):
    def training_step(self, batch, batch_idx):
        self.log("training_step", float(batch_idx))
        return self.loss(batch)

    def backward(self, loss):
        self.log("backward", loss.detach())
        loss.backward()

    def optimizer_zero_grad(self, epoch, batch_idx, optimizer):
        self.log("optimizer_zero_grad", float(batch_idx))
        optimizer.zero_grad()

    def configure_gradient_clipping(
        self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None
    ):
        self.log("configure_gradient_clipping", 1.0)
        self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        optimizer.register_step_post_hook(lambda *_: self.log("after_step", 2.0))
        return optimizer


def _logging(hook: str) -> Callable[..., None]:
    def log(self: L.LightningModule, *arguments: Any) -> None:
        self.log(hook, float(self.trainer.global_step), on_step=True, on_epoch=True)

    return log


for _hook in lean_loop.STEP_HOOKS:
    setattr(LogsInEveryHook, _hook, _logging(_hook))


class LoggingCallback(Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.log("of_callback", outputs["loss"], on_step=True, on_epoch=True)

    def on_after_backward(self, trainer, pl_module):
        pl_module.log("of_module", 1.0)


class EndsItsEpoch(Linear):
    def on_train_batch_start(self, batch, batch_idx):
        return -1 if batch_idx == 3 else None


class EndsEpochCallback(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        return -1  # Lightning reads the module's answer, and no callback's


class OverridesHooks(Linear):
    """Every hook that Lightning calls in an epoch, and the methods that a module may replace."""

    def backward(self, loss, *args):
        self.diary.note("module", "backward", self, [loss])
        (loss * 1.5).backward(*args)

    def optimizer_zero_grad(self, epoch, batch_idx, optimizer):
        self.diary.note("module", "optimizer_zero_grad", self, [epoch, batch_idx])
        optimizer.zero_grad(set_to_none=False)

    def configure_gradient_clipping(
        self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None
    ):
        self.diary.note("module", "clip", self, [gradient_clip_val, gradient_clip_algorithm])
        for parameter in self.parameters():
            parameter.grad.clamp_(-0.01, 0.02)

    def lr_scheduler_step(self, scheduler, metric):
        self.diary.note("module", "lr_scheduler_step", self, [metric])
        scheduler.step()

    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        scheduler = lr_scheduler.ExponentialLR(optimizer, 0.9)
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]


def _noting(hook: str) -> Callable[..., None]:
    def note(self: Linear, *arguments: Any) -> None:
        self.diary.note("module", hook, self, () if "checkpoint" in hook else arguments)

    return note


for _hook in hooks_of(L.LightningModule):
    if "transfer" not in _hook and _hook not in ("on_gpu", "on_validation_model_zero_grad"):
        setattr(OverridesHooks, _hook, _noting(_hook))
del OverridesHooks.setup, OverridesHooks.teardown


class OverridesOptimizerStep(Linear):
    def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure):
        optimizer.step(closure=optimizer_closure)


class Manual(Linear):
    automatic_optimization = False

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(self.loss(batch))
        optimizer.step()


class TakesTheIterator(Linear):
    def training_step(self, dataloader_iter):
        batch, _, _ = next(dataloader_iter)
        return self.loss(batch)


class TransfersInModule(Linear):
    def on_before_batch_transfer(self, batch, dataloader_idx):
        return [batch[0] * 2, batch[1]]

    def transfer_batch_to_device(self, batch, device, dataloader_idx):
        return super().transfer_batch_to_device([batch[0] + 1, batch[1]], device, dataloader_idx)

    def on_after_batch_transfer(self, batch, dataloader_idx):
        return [batch[0] ** 2, batch[1]]


class DictBatch(Linear):
    def loss(self, batch):
        return super().loss((batch["image"], batch["label"]))


class TwoLoaders(Linear):
    def loss(self, batch):
        if isinstance(batch, dict):
            return super().loss(batch["a"]) + super().loss(batch["b"])
        return super().loss(batch)


class OwnBatch(Linear):
    def loss(self, batch):
        return super().loss(batch if isinstance(batch, list) else batch.parts)


class Moves:
    """A batch of one's own, which says itself how it moves."""

    moves = 0

    def __init__(self, samples: Any) -> None:
        self.parts = tuple(map(torch.stack, zip(*samples, strict=True)))

    def to(self, device: Any, **_: Any) -> "Moves":
        Moves.moves += 1
        return self


class TwoPasses(torch.optim.SGD):
    """Calls its closure twice, as sharpness-aware minimization does."""

    @torch.no_grad()
    def step(self, closure=None):
        with torch.enable_grad():
            closure()
        before = [parameter.clone() for parameter in self.param_groups[0]["params"]]
        for parameter in self.param_groups[0]["params"]:
            parameter.add_(parameter.grad, alpha=0.05)
        with torch.enable_grad():
            loss = closure()
        for parameter, value in zip(self.param_groups[0]["params"], before, strict=True):
            parameter.copy_(value)
        super().step()
        return loss


class KeywordOnly(torch.optim.SGD):
    def step(self, *, closure):
        return super().step(closure)


class ForgetsItsClosure(torch.optim.SGD):
    def step(self, closure=None):
        return None


def with_optimizer(make: Callable[..., Any], base: type = Linear) -> type:
    def configure_optimizers(self: L.LightningModule) -> Any:
        return make(self.parameters())

    name = getattr(make, "__name__", "optimizer")
    return type(f"With{name}", (base,), {"configure_optimizers": configure_optimizers})


def with_schedulers(*makes: tuple[Callable[..., Any], dict[str, Any]], base: type = Logs) -> type:
    def configure_optimizers(self: L.LightningModule) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)
        return [optimizer], [{"scheduler": make(optimizer), **how} for make, how in makes]

    return type("WithSchedulers", (base,), {"configure_optimizers": configure_optimizers})


class Data(L.LightningDataModule):
    """Its transfer hooks are its own."""

    def __init__(self, train: Any, val: Any) -> None:
        super().__init__()
        self.train_dataloader, self.val_dataloader = lambda: train, lambda: val

    def on_after_batch_transfer(self, batch, dataloader_idx):
        return [batch[0] - 3, batch[1]]


class RecordingLogger(DummyLogger):
    def __init__(self, diary: Diary) -> None:
        super().__init__()
        self.diary = diary

    def log_metrics(self, metrics, step=None):
        self.diary.entries.append(("logger.log_metrics", dict(metrics), step))

    def save(self):
        self.diary.entries.append(("logger.save",))


def samples() -> TensorDataset:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(NUM_IMAGES, 5, generator=generator)
    return TensorDataset(images, torch.randint(3, (NUM_IMAGES,), generator=generator))


def loader(**options: Any) -> DataLoader[Any]:
    return DataLoader(samples(), batch_size=BATCH_SIZE, **{"shuffle": True, **options})


def in_order() -> DataLoader[Any]:
    return loader(shuffle=False)


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(samples())


def as_dict(batch: Any) -> dict[str, Tensor]:
    images, labels = torch.utils.data.default_collate(batch)
    return {"image": images, "label": labels}


Pair = namedtuple("Pair", ["images", "labels"])


def as_pair(batch: Any) -> Pair:
    return Pair(*torch.utils.data.default_collate(batch))


def none_with_ninth_image(batch: Any) -> Any:
    """None for the batch that holds the ninth image."""
    images, labels = torch.utils.data.default_collate(batch)
    return None if (images == samples()[8][0]).all(dim=1).any() else [images, labels]


class StopsAt(Callback):
    """Sets trainer.should_stop in a hook once so many steps are made."""

    def __init__(self, hook: str, step: int) -> None:
        def stop(trainer: L.Trainer, *_: Any) -> None:
            if trainer.global_step >= step:
                trainer.should_stop = True

        setattr(self, hook, stop)


class AccumulatesFromTheSecondEpochOn(Callback):
    def on_train_epoch_start(self, trainer, pl_module):
        trainer.accumulate_grad_batches = 1 + 2 * trainer.current_epoch


@dataclass
class Case:
    """A training; `steps` is how many optimizer steps it takes: 7 an epoch, unless it says why."""

    module: Callable[[], Any] = Linear
    steps: int = 14
    train: Callable[[], Any] = loader
    val: Callable[[], Any] = in_order
    callbacks: Callable[[], list[Callback]] = list
    trainer: dict[str, Any] = field(default_factory=dict)
    datamodule: Callable[..., Any] | None = None
    reason: str | None = None  # a word of the reason for Lightning's own loop


def by_step(make: Callable[..., Any], **how: Any) -> tuple[Any, dict[str, Any]]:
    return make, {"interval": "step", **how}


def by_epoch(make: Callable[..., Any], **how: Any) -> tuple[Any, dict[str, Any]]:
    return make, {"interval": "epoch", **how}


halves = partial(lr_scheduler.StepLR, step_size=1, gamma=0.5)
plateau = partial(lr_scheduler.ReduceLROnPlateau, patience=0, threshold=0.9)
one_cycle = partial(lr_scheduler.OneCycleLR, max_lr=0.2, total_steps=15)
in_threes = {"accumulate_grad_batches": 3}  # 3 + 3 + 1 batches: 3 steps an epoch

CASES = {
    "textbook": Case(),
    "no batch_idx": Case(WithoutBatchIdx),
    "dict with extras": Case(ReturnsDict),
    "dict with extras, accumulated": Case(ReturnsDict, 6, trainer=in_threes),
    "None now and then": Case(ReturnsNoneNowAndThen),
    "None now and then, accumulated": Case(ReturnsNoneNowAndThen, 6, trainer=in_threes),
    "logs": Case(Logs),
    "logs, accumulated": Case(Logs, 6, trainer=in_threes),
    "logs, every third step to loggers": Case(Logs, trainer={"log_every_n_steps": 3}),
    "logs from the second epoch on": Case(LogsFromTheSecondEpochOn),
    "logs in every hook": Case(LogsInEveryHook),
    "callback logs": Case(callbacks=lambda: [LoggingCallback()]),
    "callback made of functions": Case(
        callbacks=lambda: [LambdaCallback(on_train_batch_end=lambda t, m, *_: m.log("x", 1.0))]
    ),
    "module ends its epoch": Case(EndsItsEpoch, 6),  # 3 batches an epoch
    # batches 1 to 3 make a step, and batch 4 of an epoch starts a group that never ends
    "module ends its epoch, accumulated": Case(EndsItsEpoch, 2, trainer=in_threes),
    "module ends its epoch, scheduler by step": Case(
        with_schedulers(by_step(halves), base=EndsItsEpoch), 6
    ),
    "callback returns -1": Case(callbacks=lambda: [EndsEpochCallback()]),
    "module overrides hooks": Case(OverridesHooks, trainer={"gradient_clip_val": 0.5}),
    "module overrides hooks, accumulated": Case(OverridesHooks, 6, trainer=in_threes),
    "hooks of module and data transfer": Case(TransfersInModule),
    "hooks of the data module transfer": Case(datamodule=Data),
    "clipping by norm": Case(trainer={"gradient_clip_val": 0.1}),
    "clipping by value": Case(
        trainer={"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"}
    ),
    "bf16-mixed": Case(trainer={"precision": "bf16-mixed"}),
    "64-true": Case(Logs, trainer={"precision": "64-true"}),
    "scheduler by step": Case(with_schedulers(by_step(halves))),
    "scheduler every second step": Case(with_schedulers(by_step(halves, frequency=2))),
    "scheduler every second step, accumulated": Case(
        with_schedulers(by_step(halves, frequency=2)), 6, trainer=in_threes
    ),
    "scheduler by epoch": Case(with_schedulers(by_epoch(halves))),
    "scheduler every second epoch": Case(with_schedulers(by_epoch(halves, frequency=2))),
    "schedulers by step and by epoch": Case(with_schedulers(by_step(one_cycle), by_epoch(halves))),
    "plateau by step": Case(with_schedulers(by_step(plateau, frequency=2, monitor="step"))),
    "plateau by epoch": Case(with_schedulers(by_epoch(plateau, monitor="val/loss"))),
    "plateau and schedule": Case(
        with_schedulers(by_step(plateau, monitor="step"), by_step(one_cycle))
    ),
    "two passes": Case(with_optimizer(partial(TwoPasses, lr=0.1)), trainer=in_threes, steps=6),
    "lbfgs": Case(with_optimizer(partial(torch.optim.LBFGS, lr=0.1, max_iter=3), base=Logs)),
    "closure by keyword": Case(with_optimizer(partial(KeywordOnly, lr=0.1))),
    "no optimizer": Case(with_optimizer(lambda parameters: None)),  # counted, though nothing moves
    "max_steps in mid-epoch": Case(Logs, 9, trainer={"max_steps": 9}),
    "max_steps in mid-epoch, accumulated": Case(Logs, 5, trainer={**in_threes, "max_steps": 5}),
    "stop in mid-epoch": Case(Logs, 4, callbacks=lambda: [StopsAt("on_train_batch_end", 4)]),
    "stop in a backward pass": Case(Logs, 5, callbacks=lambda: [StopsAt("on_after_backward", 4)]),
    "stop in validation": Case(
        callbacks=lambda: [StopsAt("on_validation_end", 4)],
        steps=4,
        trainer={"val_check_interval": 2},
    ),
    "stop before min_epochs": Case(
        callbacks=lambda: [StopsAt("on_train_batch_end", 4)], trainer={"min_epochs": 2}
    ),
    "val_check_interval is a fraction": Case(Logs, trainer={"val_check_interval": 0.25}),
    "val_check_interval counts batches": Case(Logs, trainer={"val_check_interval": 3}),
    "val_check_interval across epochs": Case(
        Logs, trainer={"val_check_interval": 4, "check_val_every_n_epoch": None}
    ),
    "val_check_interval is a time": Case(trainer={"val_check_interval": timedelta(0)}),
    "validation every second epoch": Case(trainer={"check_val_every_n_epoch": 2}),
    "no validation": Case(Logs, trainer={"limit_val_batches": 0}),
    "limit_train_batches": Case(Logs, 10, trainer={"limit_train_batches": 5}),
    "limit_train_batches, accumulated": Case(
        Logs, 4, trainer={"limit_train_batches": 5, **in_threes}
    ),
    "overfit_batches": Case(steps=4, train=in_order, trainer={"overfit_batches": 2}),
    "fast_dev_run": Case(Logs, 3, trainer={"fast_dev_run": 3}),
    "reloads its loader": Case(trainer={"reload_dataloaders_every_n_epochs": 1}),
    "sanity check": Case(Logs, trainer={"num_sanity_val_steps": 2}),
    "anomaly detection": Case(trainer={"detect_anomaly": True}),
    "accumulation changes": Case(  # 7 steps, then 3
        Logs, 10, callbacks=lambda: [AccumulatesFromTheSecondEpochOn()]
    ),
    "batch is a dict": Case(
        DictBatch,
        train=partial(loader, collate_fn=as_dict),
        val=partial(loader, collate_fn=as_dict, shuffle=False),
    ),
    "batch is a named tuple": Case(train=partial(loader, collate_fn=as_pair)),
    "batch is an object": Case(OwnBatch, train=lambda: loader(collate_fn=Moves)),
    "one batch of an epoch is None": Case(
        steps=12, train=partial(loader, collate_fn=none_with_ninth_image)
    ),
    "two loaders": Case(
        TwoLoaders, train=lambda: CombinedLoader({"a": loader(), "b": loader()}, "max_size_cycle")
    ),
    "no length": Case(Logs, train=lambda: DataLoader(Stream(), batch_size=BATCH_SIZE)),
    "no length, accumulated": Case(
        Logs, 6, train=lambda: DataLoader(Stream(), batch_size=BATCH_SIZE), trainer=in_threes
    ),
    "no length, limited and validated": Case(
        Logs,
        10,
        train=lambda: DataLoader(Stream(), batch_size=BATCH_SIZE),
        trainer={"limit_train_batches": 5, "val_check_interval": 2},
    ),
    # What Lightning's own code runs
    "overridden optimizer_step": Case(OverridesOptimizerStep, reason="optimizer_step"),
    "manual optimization": Case(Manual, reason="manual"),
    "profiler": Case(trainer={"profiler": "simple"}, reason="profiler"),
    "bf16-true": Case(trainer={"precision": "bf16-true"}, reason="HalfPrecision"),
    "the loader's iterator": Case(TakesTheIterator, reason="iterator"),
}


def train_case(
    case: Case, *, lean: bool, checkpoint: Path | None = None, **trainer_options: Any
) -> tuple[L.Trainer, Linear, Diary]:
    torch.manual_seed(0)
    diary = Diary()
    module = case.module()
    module.diary = diary
    options = {
        "accelerator": "cpu",
        "max_epochs": 2,
        "log_every_n_steps": 1,
        "num_sanity_val_steps": 0,
        "limit_val_batches": 2,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "logger": RecordingLogger(diary),
        **case.trainer,
        **trainer_options,
    }
    callbacks = [*case.callbacks(), Recorder(diary), *options.pop("callbacks", [])]
    trainer = L.Trainer(callbacks=callbacks, **options)
    if lean:
        use_lean_loop(trainer)
    train, val = case.train(), case.val()
    data = {"train_dataloaders": train, "val_dataloaders": val}
    if case.datamodule is not None:
        data = {"datamodule": case.datamodule(train, val)}
    trainer.fit(module, **data, ckpt_path=checkpoint, weights_only=False if checkpoint else None)
    return trainer, module, diary


def quiet_trainer(lean: bool, **options: Any) -> L.Trainer:
    trainer = L.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    if lean:
        use_lean_loop(trainer)
    return trainer


def assert_same_training(found: Any, expected: Any) -> None:
    (trainer, module, diary), (own_trainer, own_module, own_diary) = found, expected
    pairs = zip(diary.entries, own_diary.entries, strict=False)  # the first difference, not all
    for number, (entry, own_entry) in enumerate(pairs):
        assert entry == own_entry, f"after {diary.hooks[max(0, number - 5) : number]}"
    assert diary.hooks == own_diary.hooks
    for (key, tensor), own in zip(
        module.state_dict().items(), own_module.state_dict().values(), strict=True
    ):
        assert torch.equal(tensor, own), key
    assert fingerprint(trainer.callback_metrics) == fingerprint(own_trainer.callback_metrics)
    assert fingerprint(trainer.logged_metrics) == fingerprint(own_trainer.logged_metrics)
    assert trainer.fit_loop.state_dict() == own_trainer.fit_loop.state_dict()
    assert trainer.global_step == own_trainer.global_step
    states = [each.optimizers[0].state_dict().get("state") for each in (trainer, own_trainer)]
    assert fingerprint(states[0]) == fingerprint(states[1])
    lrs = [
        [group["lr"] for group in each.optimizers[0].param_groups]
        for each in (trainer, own_trainer)
    ]
    assert lrs[0] == lrs[1]


@pytest.mark.parametrize("name", CASES)
def test_hooks_weights_and_metrics_are_those_of_lightnings_own_loop(name, caplog):
    case = CASES[name]
    caplog.set_level(logging.INFO, lean_loop.__name__)
    found = train_case(case, lean=True)
    assert_same_training(found, train_case(case, lean=False))
    trainer, _, diary = found
    assert trainer.global_step == case.steps
    assert "callback.on_train_batch_end" in diary.hooks
    loop = trainer.fit_loop.epoch_loop
    assert loop._lean == (case.reason is None)
    reason = standard_loop_reason(trainer)
    if "iterator" not in name:  # which the trainer alone cannot tell
        assert (reason is None) == (case.reason is None)
    logged = [each.getMessage() for each in caplog.records if each.name == lean_loop.__name__]
    (message,) = logged  # once, though there are two epochs
    assert ("Lightning" in message) == (case.reason is not None)
    assert (case.reason or "") in message
    assert (reason or "") in message


@pytest.mark.parametrize("saved_in", ["on_train_batch_end", "on_validation_end"])
@pytest.mark.parametrize("resumed", ["lean", "own"])
@pytest.mark.parametrize("begun", ["lean", "own"])
def test_training_resumes_in_mid_epoch_with_either_loop(begun, resumed, saved_in, tmp_path):
    schedulers = by_step(one_cycle), by_epoch(halves)
    case = Case(with_schedulers(*schedulers, base=Linear), trainer={"val_check_interval": 3})
    for loop in {"own", begun}:  # step 10 is the third of the second epoch

        def save(trainer, *_, path=tmp_path / f"{loop}.ckpt"):
            if trainer.global_step == 10 and not path.exists():
                trainer.save_checkpoint(path)

        train_case(case, lean=loop == "lean", callbacks=[LambdaCallback(**{saved_in: save})])
    found = train_case(case, lean=resumed == "lean", checkpoint=tmp_path / f"{begun}.ckpt")
    assert_same_training(found, train_case(case, lean=False, checkpoint=tmp_path / "own.ckpt"))
    assert found[0].global_step > 10


@pytest.mark.parametrize(
    ("returned", "message"),
    [({"logits": 1}, "the 'loss' key needs to be present"), ("a loss", "must return a Tensor")],
)
def test_training_step_that_returns_no_loss_is_refused_by_both_loops(returned, message):
    class ReturnsOther(Linear):
        def training_step(self, batch, batch_idx):
            return returned

    for lean in (True, False):
        with pytest.raises(MisconfigurationException, match=message):
            train_case(Case(ReturnsOther), lean=lean)


def test_optimizer_that_does_not_call_its_closure_is_refused_by_both_loops():
    case = Case(with_optimizer(partial(ForgetsItsClosure, lr=0.1)))
    with pytest.raises(
        MisconfigurationException, match=r"ForgetsItsClosure\.step (?s:.*)hint: .*closure\(\)"
    ):
        train_case(case, lean=True)
    with pytest.raises(MisconfigurationException, match="closure hasn't been executed"):
        train_case(case, lean=False)


def test_second_fit_of_a_trainer_goes_on_where_the_first_ended():
    ends = []
    for lean in (True, False):
        trainer, module, diary = train_case(Case(Logs), lean=lean)
        trainer.fit_loop.max_epochs = 3
        trainer.fit(module, loader(), in_order())
        ends.append((trainer, module, diary))
    assert_same_training(*ends)
    assert ends[0][0].global_step == 21


def test_batches_reach_an_object_through_its_own_way_to_a_device():
    Moves.moves = 0
    train_case(CASES["batch is an object"], lean=True, limit_val_batches=0)
    assert Moves.moves == 14


@pytest.mark.parametrize("lean", [True, False])
def test_training_step_of_a_user_finds_the_gradients_of_the_step_before(lean):
    class Remembers(ImageClassifier):
        def training_step(self, batch, batch_idx):
            found.append([weight.grad is not None for weight in self.parameters()])
            return super().training_step(batch, batch_idx)

    found: list[list[bool]] = []
    optimizer = partial(torch.optim.SGD, lr=0.1)
    net = nn.Linear(5, 3)
    trainer = quiet_trainer(lean, max_steps=3)
    trainer.fit(Remembers(net, optimizer, num_classes=3), loader(), in_order())
    assert found == [[False, False], [True, True], [True, True]]


def test_gradients_are_cleared_before_the_forward_pass_where_nobody_sees_it():
    class Net(nn.Linear):
        def forward(self, images):
            if self.training:
                found.append(self.weight.grad is not None)
            return super().forward(images)

    found: list[bool] = []
    net = Net(5, 3)
    trainer = quiet_trainer(lean=True, max_steps=3)
    trainer.fit(
        ImageClassifier(net, partial(torch.optim.SGD, lr=0.1), num_classes=3), loader(), in_order()
    )
    assert found == [False, False, False]


def test_lean_loop_calls_no_hook_that_nobody_overrides(monkeypatch):
    """The reason for the lean loop: Lightning's own calls 15 hooks a step, used or not."""
    called: list[str] = []
    for name in ("_call_callback_hooks", "_call_lightning_module_hook", "_call_strategy_hook"):
        original = getattr(call, name)

        def counted(trainer, hook, *arguments, _original=original, **named):
            called.append(hook)
            return _original(trainer, hook, *arguments, **named)

        monkeypatch.setattr(call, name, counted)
    counts = {}
    for lean in (True, False):
        called.clear()
        trainer = quiet_trainer(lean, max_epochs=1)
        trainer.fit(Linear(), loader(), in_order())
        counts[lean] = len(called)
    # As many at the start and end of the run, and of the epoch
    per_step = [hook for hook in called if hook == "on_train_batch_start"]
    assert len(per_step) == 3 * 7  # callbacks, module, strategy
    assert counts[False] - counts[True] > 15 * 7


@pytest.mark.slow
def test_two_processes_end_alike_with_either_loop(tmp_path):
    """DDP runs in Lightning's own loop, whatever lean_loop says."""
    ends = []
    for lean in ("true", "false"):
        overrides = ["data=digits", "trainer=ddp", "trainer.accelerator=cpu", f"lean_loop={lean}"]
        overrides += ["trainer.max_epochs=2", "logger=none", f"outputs={tmp_path / lean}"]
        command = [sys.executable, str(ROOT / "train.py"), *overrides]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=250)
        (folder,) = (tmp_path / lean).glob("*/*/")
        state = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        ends.append((state, (folder / "steps.csv").read_text()))
        assert ("DDPStrategy" in (folder / "train.log").read_text()) == (lean == "true")
    (state, steps), (own_state, own_steps) = ends
    assert len(steps.splitlines()) == 1 + 2 * 21  # 1,293 images in batches of 64
    assert steps == own_steps
    for key in own_state:
        assert torch.equal(state[key], own_state[key]), key


# --- Lightning's own code ------------------------------------------------------------------------

# What the lean loop replaces, of Lightning 2.6.6: the first 12 digits of each source's SHA-256
SOURCES = {
    "_TrainingEpochLoop.run": "e8393a2170cc",
    "_TrainingEpochLoop.advance": "c7555c016027",
    "_TrainingEpochLoop.on_advance_end": "2d1ddaa4e45e",
    "_TrainingEpochLoop.on_run_start": "4993b0dcc52b",
    "_TrainingEpochLoop.update_lr_schedulers": "7ea198b469a4",
    "_TrainingEpochLoop._update_learning_rates": "26ac8752d7a3",
    "_TrainingEpochLoop._should_check_val_fx": "cf0916b12e18",
    "_TrainingEpochLoop._save_loggers_on_train_batch_end": "bd82b8b33ac2",
    "_TrainingEpochLoop._build_kwargs": "4a80f7e4608b",
    "_AutomaticOptimization": "598543662a7b",
    "ClosureResult": "2da8d8114d30",
    "Closure": "bbca72c1722b",
    "Precision.optimizer_step": "868b323ae627",
    "Precision._wrap_closure": "2d25ccda9ac5",
    "Precision._after_closure": "395e946246fa",
    "Precision.pre_backward": "f94c53cfe4fc",
    "Precision.backward": "c45a6fcf5963",
    "Precision.post_backward": "26b545c12fad",
    "MixedPrecision.optimizer_step": "63b0bee2018b",
    "MixedPrecision.pre_backward": "8132c2d0f501",
    "call._call_callback_hooks": "c413fb9a6a9c",
    "call._call_lightning_module_hook": "558a87d04c46",
    "call._call_strategy_hook": "ff429e3ac60d",
    "LightningModule.backward": "798293b0ae8e",
    "LightningModule.optimizer_step": "f07278673bfa",
    "LightningModule.optimizer_zero_grad": "9edadf25870b",
    "LightningModule.lr_scheduler_step": "7cd01c527733",
    "LightningModule._on_before_batch_transfer": "4ccf3831e453",
    "LightningModule._apply_batch_transfer_handler": "4e7f81882614",
    "LightningOptimizer.step": "a080b1c57c3a",
    "Strategy.backward": "627cfe606608",
    "Strategy.optimizer_step": "ff24a5097b26",
    "Strategy.training_step": "e0755d72cd8b",
    "Strategy.batch_to_device": "e7b211b006fe",
    "_LoggerConnector.on_batch_start": "5022a98e255d",
    "_LoggerConnector.on_batch_end": "87c0a9cd43e9",
    "_LoggerConnector.update_train_step_metrics": "44584c0c55de",
}
OWNERS = (
    _TrainingEpochLoop,
    _AutomaticOptimization,
    ClosureResult,
    Closure,
    Precision,
    MixedPrecision,
    L.LightningModule,
    LightningOptimizer,
    Strategy,
    _LoggerConnector,
    call,
)


@pytest.mark.parametrize("name", SOURCES)
def test_code_that_the_lean_loop_replaces_is_that_which_it_was_checked_against(name):
    owner, _, attribute = name.partition(".")
    (replaced,) = [each for each in OWNERS if each.__name__.rpartition(".")[2] == owner]
    if attribute:
        replaced = getattr(replaced, attribute)
    found = hashlib.sha256(inspect.getsource(replaced).encode()).hexdigest()[:12]
    assert found == SOURCES[name], (
        f"Lightning {L.__version__} has another {name} than the version that the lean loop was "
        f"checked against. Compare it with src/optlab/training/lean_loop.py, change the loop where "
        f"they differ, then enter {found} here and the version in the loop's docstring."
    )


def test_docstring_names_the_lightning_that_the_hashes_are_of():
    assert "Lightning 2.6.6" in lean_loop.__doc__
