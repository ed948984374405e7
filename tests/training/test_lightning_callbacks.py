"""Callbacks of Lightning and of a user have the effect in a run that they have without OptLab.

They are compared with those of `plain`: a lightning.Trainer with the same module and data.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import lightning as L
import pandas as pd
import pytest
import torch
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback, timer
from torch import Tensor

from optlab.training import build, run
from optlab.training.classifier import ImageClassifier

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{message}")
    for message in (
        ".*many workers",
        ".*LeafSpec:FutureWarning",  # Lightning 2.6 with torch 2.15
        ".*Checkpoint directory .* is not empty",
        ".*Detected call of .lr_scheduler.step",
    )
]

# 8 batches of 64 an epoch; SGD's steps are large enough to see, and it keeps no state of its own
SHORT = ("optimizer=sgd", "+trainer.limit_train_batches=8", "model.hidden_sizes=[32,16]")
LIGHTNING = "lightning.pytorch.callbacks"


@dataclass
class Plain:
    """What a plain lightning.Trainer ends with."""

    trainer: L.Trainer
    module: L.LightningModule
    datamodule: Any
    val_losses: list[float]  # of each epoch

    @property
    def weights(self) -> dict[str, Tensor]:
        state = self.module.state_dict()
        return {name: state[name].clone() for name in state if name.startswith("net.")}

    def metric(self, name: str) -> float:
        """Of the weights that it has now."""
        look = self.trainer.test if name.startswith("test/") else self.trainer.validate
        (metrics,) = look(self.module, datamodule=self.datamodule, verbose=False)
        return metrics[name]


class ValidationLosses(Callback):
    def __init__(self) -> None:
        self.losses: list[float] = []

    def on_validation_end(self, trainer, pl_module):
        if trainer.state.fn == "fit":
            self.losses.append(float(trainer.callback_metrics["val/loss"]))


@pytest.fixture
def plain(make_config) -> Callable[..., Plain]:
    def fit(*overrides: str, logger: Any = False) -> Plain:
        config = make_config(*SHORT, *overrides)
        datamodule = build.build_data(config)
        module = build.build_module(config, build.build_net(config, datamodule), datamodule)
        added = [config.callbacks[name] for name in config.callbacks if name not in OURS]
        losses = ValidationLosses()
        trainer = L.Trainer(
            accelerator="cpu",
            max_epochs=config.trainer.max_epochs,
            limit_train_batches=config.trainer.limit_train_batches,
            log_every_n_steps=config.trainer.log_every_n_steps,
            callbacks=[losses, *(instantiate(node, _convert_="all") for node in added if node)],
            logger=logger,
            enable_checkpointing=any("ModelCheckpoint" in node._target_ for node in added if node),
            enable_model_summary=False,
            enable_progress_bar=config.trainer.enable_progress_bar,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            default_root_dir=config.run_dir,
        )
        trainer.fit(module, datamodule=datamodule)
        return Plain(trainer, module, datamodule, losses.losses)

    return fit


OURS = ("best", "early_stopping", "progress", "figures", "histograms")


def adding(target: str, **options: Any) -> list[str]:
    """Overrides that add a callback."""
    target = target if "." in target else f"{LIGHTNING}.{target}"
    texts = {
        name: str(value).replace("'", "") if isinstance(value, dict) else value
        for name, value in options.items()
    }
    return [
        f"+callbacks.added._target_={target}",
        *(f"+callbacks.added.{name}={text}" for name, text in texts.items()),
    ]


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=0, msg=name)


def differ(some: dict[str, Tensor], others: dict[str, Tensor]) -> bool:
    return any(not torch.equal(some[name], others[name]) for name in others)


class Killed(BaseException):
    pass


class KilledIn(Callback):
    """Ends a run in an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == self.epoch:
            raise Killed


@pytest.fixture
def killed(train, monkeypatch) -> Callable[..., None]:
    """Trains a run until it is killed: in an epoch, or in a function of optlab.training.run."""

    def until(moment: int | str, *overrides: str) -> None:
        def kill(*_: Any) -> None:
            raise Killed

        with monkeypatch.context() as patch, pytest.raises(Killed):
            make = build.build_callbacks
            if isinstance(moment, str):
                patch.setattr(run, moment, kill)
            else:
                added = KilledIn(moment)
                patch.setattr(build, "build_callbacks", lambda *args: [*make(*args), added])
            train(*overrides)

    return until


# --- averages of weights -------------------------------------------------------------------------

EMA = (*adding("EMAWeightAveraging", decay=0.9), "trainer.max_epochs=2")
SWA = (
    *adding("StochasticWeightAveraging", swa_lrs=0.05, swa_epoch_start=1, annealing_epochs=1),
    "trainer.max_epochs=3",
)


def test_ema_is_what_is_validated_saved_and_tested(train, plain):
    done, expected = train(*SHORT, *EMA), plain(*EMA)
    assert list(done.epochs["val/loss"]) == expected.val_losses
    assert done.record["validation"]["last"]["loss"] == expected.val_losses[-1]
    for which in ("last", "best"):  # the second epoch's average is the better one
        assert_same(done.weights(which), expected.weights)
        assert done.record["test"][which]["loss"] == expected.metric("test/loss")
        assert done.record["test"][which]["accuracy"] == expected.metric("test/accuracy")
    without = train(*SHORT, "trainer.max_epochs=2")
    assert differ(without.weights(), done.weights())  # it is an average
    assert list(without.steps["train/loss"]) == list(done.steps["train/loss"])  # of this run


def test_ema_goes_on_after_an_interruption(train, killed, tmp_path):
    killed(1, *SHORT, *EMA)
    resumed = train(*SHORT, *EMA)
    resumed.assert_equals(train(*SHORT, *EMA, f"outputs={tmp_path}/whole"))


def test_ema_that_was_killed_in_its_test_is_tested_from_its_checkpoint(train, killed, tmp_path):
    killed("test", *SHORT, *EMA)
    resumed = train(*SHORT, *EMA)
    resumed.assert_equals(train(*SHORT, *EMA, f"outputs={tmp_path}/whole"))


@pytest.mark.parametrize("model", [(), ("model.batch_norm=true",)], ids=["mlp", "batch norm"])
@pytest.mark.filterwarnings("ignore:.*SWA is currently only supported every epoch")
def test_swa_ends_with_the_average_and_says_how_that_validates(model, train, plain):
    done, expected = train(*SHORT, *SWA, *model), plain(*SWA, *model)
    assert_same(done.weights("last"), expected.weights)
    record = done.record
    assert record["validation"]["last"]["loss"] == expected.metric("val/loss")
    assert record["validation"]["last"]["accuracy"] == expected.metric("val/accuracy")
    assert record["test"]["last"]["loss"] == expected.metric("test/loss")
    assert record["test"]["last"]["accuracy"] == expected.metric("test/accuracy")
    best = record["validation"]["best"]
    expected.module.load_state_dict(done.weights("best"), strict=False)
    assert best["accuracy"] == expected.metric("val/accuracy")
    assert record["test"]["best"]["loss"] == expected.metric("test/loss")


@pytest.mark.parametrize("model", [(), ("model.batch_norm=true",)], ids=["mlp", "batch norm"])
@pytest.mark.parametrize("moment", [1, "test", "_evaluate"])
def test_swa_goes_on_after_an_interruption(moment, model, train, killed, tmp_path):
    killed(moment, *SHORT, *SWA, *model)
    resumed = train(*SHORT, *SWA, *model)
    resumed.assert_equals(train(*SHORT, *SWA, *model, f"outputs={tmp_path}/whole"))


# --- learning rates and gradients ----------------------------------------------------------------


def test_learning_rate_finder_sets_the_rate_of_the_run(train, plain):
    overrides = adding("LearningRateFinder", num_training_steps=20, max_lr=10)
    overrides += ["trainer.max_epochs=1", "+trainer.limit_train_batches=1.0"]
    done, expected = train(*SHORT, *overrides), plain(*overrides)
    found = expected.module.lr
    assert found != 0.01  # of conf/optimizer/sgd.yaml
    assert list(done.steps["lr"]) == [found] * 21
    assert_same(done.weights(), expected.weights)
    assert done.record["optimizer"]["lr"] == found


def test_learning_rate_finder_searches_once_where_a_run_resumes(train, killed, tmp_path):
    overrides = adding("LearningRateFinder", num_training_steps=20, max_lr=10)
    overrides += ["optimizer=sgd", "trainer.max_epochs=2"]
    killed(1, *overrides)
    resumed = train(*overrides)
    resumed.assert_equals(train(*overrides, f"outputs={tmp_path}/whole"))


def test_learning_rate_monitor_logs_the_rate_of_each_step(train):
    overrides = adding("LearningRateMonitor", logging_interval="step")
    overrides += ["scheduler=cosine", "logger=csv", "trainer.max_epochs=1"]
    done = train(*SHORT, *overrides, "trainer.log_every_n_steps=1")
    (path,) = done.folder.rglob("metrics.csv")
    logged = pd.read_csv(path)["lr-SGD"].dropna()
    assert list(logged) == list(done.steps["lr"])
    assert len(set(logged)) == 8


def test_gradient_accumulation_scheduler_changes_the_steps_of_an_epoch(train, plain):
    overrides = adding("GradientAccumulationScheduler", scheduling={0: 1, 1: 3})
    overrides.append("trainer.max_epochs=2")
    done, expected = train(*SHORT, *overrides), plain(*overrides)
    assert list(done.epochs["step"]) == [8, 11]  # then 3 + 3 + 2 batches
    assert expected.trainer.global_step == 11
    assert_same(done.weights(), expected.weights)
    assert list(done.epochs["val/loss"]) == expected.val_losses


class WithBackbone(ImageClassifier):
    """What BackboneFinetuning asks of a module."""

    @property
    def backbone(self):
        return self.net.body

    def configure_optimizers(self):
        trained = [each for each in self.net.parameters() if each.requires_grad]
        return torch.optim.SGD(trained, lr=0.1)


def test_backbone_finetuning_trains_the_head_then_all(train, plain):
    overrides = adding("BackboneFinetuning", unfreeze_backbone_at_epoch=1)
    overrides += ["trainer.max_epochs=2", f"module._target_={__name__}.WithBackbone"]
    done, expected = train(*SHORT, *overrides), plain(*overrides)
    assert_same(done.weights(), expected.weights)
    head = train(*SHORT, *overrides, "trainer.max_epochs=1").weights()
    start = build_weights(plain)
    moved = {name for name in head if not torch.equal(head[name], start[name])}
    assert moved == set(list(head)[-2:])  # weight and bias of the last layer
    assert differ(done.weights(), head)


def build_weights(plain: Callable[..., Plain]) -> dict[str, Tensor]:
    """The initial weights: those after an epoch of no batch."""
    return plain("trainer.max_epochs=1", "trainer.limit_train_batches=0").weights


class GradientNorms(Callback):
    """What a user writes to look at gradients."""

    seen: list[tuple[str, float]] = []  # noqa: RUF012  # read by the test, which has no object

    def note(self, hook: str, module: L.LightningModule) -> None:
        norms = torch.stack([each.grad.norm() for each in module.parameters()])
        self.seen.append((hook, norms.norm().item()))
        module.log(f"norm/{hook}", norms.norm())

    def on_after_backward(self, trainer, pl_module):
        self.note("backward", pl_module)

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.note("step", pl_module)


def test_gradient_monitor_of_a_user_sees_the_gradients_of_each_batch_and_step(train, plain):
    overrides = adding(f"{__name__}.GradientNorms")
    overrides += ["trainer.max_epochs=1", "trainer.accumulate_grad_batches=1", "logger=csv"]
    GradientNorms.seen = []
    done = train(*SHORT, *overrides, "trainer.log_every_n_steps=1")
    ours = GradientNorms.seen
    GradientNorms.seen = []
    plain(*overrides)
    assert ours == GradientNorms.seen
    assert [hook for hook, _ in ours] == ["backward", "step"] * 8
    (path,) = done.folder.rglob("metrics.csv")
    logged = pd.read_csv(path)["norm/step"].dropna()
    assert list(logged) == pytest.approx([norm for hook, norm in ours if hook == "step"], rel=1e-6)


# --- looking on, saving, stopping ----------------------------------------------------------------


def test_device_stats_monitor_logs_at_every_step(train):
    overrides = adding("DeviceStatsMonitor", cpu_stats="true")
    overrides += ["logger=csv", "trainer.max_epochs=1", "trainer.log_every_n_steps=2"]
    done = train(*SHORT, *overrides)
    (path,) = done.folder.rglob("metrics.csv")
    table = pd.read_csv(path)
    name = "DeviceStatsMonitor.on_train_batch_end/cpu_percent"
    assert table[name].count() == 4  # every second one of 8 steps


def test_rich_progress_bar_replaces_optlabs(train, capsys):
    overrides = adding("RichProgressBar")
    train(*SHORT, *overrides, "callbacks.progress=null", "trainer.max_epochs=1")
    assert "Epoch 0/0" in capsys.readouterr().out


def test_second_checkpoint_every_few_steps_holds_the_weights_of_those_steps(train, plain):
    overrides = adding(
        "ModelCheckpoint",
        dirpath="${run_dir}/often",
        filename="'{step}'",
        every_n_train_steps=5,
        save_top_k=-1,
    )
    overrides.append("trainer.max_epochs=2")
    done = train(*SHORT, *overrides)
    paths = sorted((done.folder / "often").iterdir())
    assert [path.name for path in paths] == ["step=10.ckpt", "step=15.ckpt", "step=5.ckpt"]
    ours = [torch.load(path, weights_only=True)["state_dict"] for path in paths]
    plain(*overrides)
    for path, state in zip(paths, ours, strict=True):
        assert_same(state, torch.load(path, weights_only=True)["state_dict"])


class Tick(Callback):
    """A clock on which a batch takes a second."""

    now = 0

    def on_train_batch_end(self, *_):
        Tick.now += 1


def test_timer_ends_the_run_in_mid_epoch(train, plain, monkeypatch):
    monkeypatch.setattr(timer, "time", SimpleNamespace(monotonic=lambda: Tick.now))
    overrides = [f"+callbacks.tick._target_={__name__}.Tick"]
    overrides += adding("Timer", duration={"seconds": 12}, interval="step")
    overrides.append("trainer.max_epochs=2")
    Tick.now = 0
    done = train(*SHORT, *overrides)
    Tick.now = 0
    expected = plain(*overrides)
    assert len(done.steps) == expected.trainer.global_step == 12
    assert_same(done.weights(), expected.weights)
    assert list(done.epochs["val/loss"]) == expected.val_losses
