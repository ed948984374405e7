from types import SimpleNamespace

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn
from torch.optim.swa_utils import update_bn

from optlab.training import build
from optlab.training.weight_averages import (
    BATCH_NORM_IMAGES,
    LAWA,
    SWA,
    recompute_batch_norm,
    trained_batch_norms,
)

SHORT = ("optimizer=sgd", "+trainer.limit_train_batches=8", "trainer.max_epochs=2")
BATCH_NORM = ("model=mlp", "model.batch_norm=true")


class OneWeight(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))


def average_over(callback, weights, batches=4, accumulate=1):
    """The average after each optimizer step of a run whose weights are given."""
    module = OneWeight()
    trainer = SimpleNamespace(
        global_step=0,
        num_training_batches=batches,
        accumulate_grad_batches=accumulate,
        estimated_stepping_batches=len(weights),
    )
    callback.setup(trainer, module, "fit")
    callback.on_train_start(trainer, module)
    averages = []
    for step, weight in enumerate(weights, start=1):
        trainer.global_step = step
        module.weight.data.fill_(weight)
        callback.on_train_batch_end(trainer, module, None, None, 0)
        callback.on_validation_epoch_start(trainer, module)
        averages.append(module.weight.item())
        callback.on_validation_epoch_end(trainer, module)
        assert module.weight == weight  # training goes on with its own
    return averages


def test_swa_averages_the_last_part_and_is_the_weights_before():
    averages = average_over(SWA(start=0.5, every_n_steps=2), [1, 2, 3, 4, 5, 6, 7, 8])
    assert averages == [1, 2, 3, 4, 5, 6, 6, (6 + 8) / 2]


def test_swa_takes_the_ends_of_epochs_by_default_counted_in_optimizer_steps():
    averages = average_over(SWA(start=0.0), [1, 2, 3, 4], batches=4, accumulate=2)
    assert averages == [1, 2, 2, (2 + 4) / 2]


def test_lawa_averages_the_latest_weights_only():
    averages = average_over(LAWA(k=2, every_n_steps=1), [1, 2, 4, 8])
    assert averages == [1, (1 + 2) / 2, (2 + 4) / 2, (4 + 8) / 2]


@pytest.mark.parametrize("refused", [{"start": 1.0}, {"start": -0.1}, {"every_n_steps": 0}])
def test_swa_refuses_what_is_out_of_range(refused):
    with pytest.raises(ValueError, match=f"callbacks.average.{next(iter(refused))}"):
        SWA(**refused)


@pytest.mark.parametrize("refused", [{"k": 1}, {"every_n_steps": 0}])
def test_lawa_refuses_what_is_out_of_range(refused):
    with pytest.raises(ValueError, match=f"callbacks.average.{next(iter(refused))}"):
        LAWA(**refused)


def test_statistics_equal_those_of_torch():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU()).train()
    batches = list(torch.randn(4, 8, 1, 6, 6))
    update_bn(batches, net)
    expected = {name: value.clone() for name, value in net[1].state_dict().items()}
    net(torch.randn(8, 1, 6, 6))  # other statistics
    recompute_batch_norm(net, trained_batch_norms(net), batches)
    torch.testing.assert_close(net[1].state_dict(), expected)
    assert not net[1].training
    assert net[1].momentum == 0.1


def test_frozen_statistics_stay():
    net = nn.Sequential(nn.BatchNorm2d(1), nn.BatchNorm2d(1)).train()
    net[0].eval()
    recompute_batch_norm(net, trained_batch_norms(net), [torch.randn(8, 1, 2, 2) + 5])
    assert net[0].running_mean.item() == 0
    assert net[1].running_mean.item() == pytest.approx(5, abs=1)


AVERAGES = {
    "ema": ("callbacks=ema", "callbacks.average.decay=0.9"),
    "swa": ("callbacks=swa", "callbacks.average.start=0.5", "callbacks.average.every_n_steps=4"),
    "lawa": ("callbacks=lawa", "callbacks.average.k=2", "callbacks.average.every_n_steps=4"),
    "schedule_free": ("optimizer=schedule_free",),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", AVERAGES)
def test_evaluated_weights_have_statistics_of_their_own(name, train, make_config):
    overrides = (*SHORT, *BATCH_NORM, *AVERAGES[name])
    done = train(*overrides)
    config = make_config(*overrides)
    datamodule = build.build_data(config)
    net = build.build_net(config, datamodule)
    weights = {key.removeprefix("net."): value for key, value in done.weights().items()}
    net.load_state_dict(weights, strict=False)
    update_bn(datamodule.train_eval_dataloader(max_images=BATCH_NORM_IMAGES), net.train())
    for key, value in net.state_dict().items():
        if "running" in key:
            torch.testing.assert_close(weights[key], value)
    assert done.record["batch_norm_time_s"] > 0


@pytest.mark.parametrize("optimizer", ["adam", "sam"])
def test_trained_weights_keep_their_running_statistics(optimizer, train):
    assert train(*SHORT, *BATCH_NORM, f"optimizer={optimizer}").record["batch_norm_time_s"] is None


class Killed(BaseException):
    pass


class KillInSecondEpoch(Callback):
    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            raise Killed


@pytest.mark.slow
@pytest.mark.parametrize("name", AVERAGES)
def test_averages_resume_to_the_same_numbers(name, train, tmp_path):
    overrides = (*SHORT, *BATCH_NORM, *AVERAGES[name])
    whole = train(*overrides, f"outputs={tmp_path}/whole")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        make = build.build_callbacks
        patch.setattr(build, "build_callbacks", lambda *args: [*make(*args), KillInSecondEpoch()])
        train(*overrides)
    train(*overrides).assert_equals(whole)
