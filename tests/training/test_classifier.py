"""Training against torch used by hand."""

from functools import partial

import lightning as L
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import Callback

from optlab.optim.schedules import build_scheduler
from optlab.training import build
from optlab.training.classifier import ImageClassifier
from optlab.training.instantiate import instantiate_partial

NUM_STEPS = 5  # as many as the comparisons by hand make

# What the YAML files say, written for torch itself
BY_HAND = {
    "sgd": partial(torch.optim.SGD, lr=0.01, momentum=0.9, fused=True),
    "adam": partial(torch.optim.Adam, lr=1e-3, fused=True),
    "rmsprop": partial(torch.optim.RMSprop, lr=1e-3, alpha=0.99),
    "adagrad": partial(torch.optim.Adagrad, lr=0.01, fused=True),
    "adamw": partial(torch.optim.AdamW, lr=1e-3, weight_decay=0.01, fused=True),
}


def start_by_hand(config):
    """Initial network and the batches of the first epoch."""
    datamodule = build.build_data(config)
    return build.build_net(config, datamodule), list(datamodule.train_dataloader())


def train_by_hand(config, make_optimizer, clip_norm=None, label_smoothing=0.0):
    """Weights after NUM_STEPS, and the loss of each step before its update."""
    net, batches = start_by_hand(config)
    optimizer = make_optimizer(net.parameters())
    losses = []
    for images, labels in batches[:NUM_STEPS]:

        def closure(images=images, labels=labels):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(images), labels, label_smoothing=label_smoothing)
            loss.backward()
            if clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(net.parameters(), clip_norm)
            return loss

        losses.append(optimizer.step(closure).item())
    return {f"net.{name}": tensor for name, tensor in net.state_dict().items()}, losses


def assert_equal(trained, weights, losses):
    assert list(trained.steps.step) == list(range(1, NUM_STEPS + 1))
    assert list(trained.steps["train/loss"]) == losses  # bit for bit, as the weights
    found = trained.weights()
    assert found.keys() == weights.keys()
    for name in weights:
        torch.testing.assert_close(found[name], weights[name], rtol=0, atol=0)


@pytest.mark.parametrize("name", BY_HAND)
def test_five_steps_equal_torch_by_hand(name, train, make_config):
    overrides = (f"optimizer={name}", f"trainer.max_steps={NUM_STEPS}")
    expected = train_by_hand(make_config(*overrides), BY_HAND[name])
    assert_equal(train(*overrides), *expected)


def test_lbfgs_steps_equal_torch_by_hand(train, make_config):
    overrides = ("optimizer=lbfgs", "data.batch_size=256", f"trainer.max_steps={NUM_STEPS}")
    config = make_config(*overrides)
    options = {k: v for k, v in config.optimizer.items() if k != "name" and k[0] != "_"}
    assert options["line_search_fn"] == "strong_wolfe"
    expected = train_by_hand(config, partial(torch.optim.LBFGS, **options))
    assert_equal(train(*overrides), *expected)


def test_clipping_equals_clip_grad_norm_by_hand(train, make_config):
    overrides = (
        "optimizer=sgd_plain",  # Adam's first steps would hide the gradient's length
        "trainer.gradient_clip_val=0.01",
        f"trainer.max_steps={NUM_STEPS}",
    )
    config = make_config(*overrides)
    make_optimizer = partial(torch.optim.SGD, lr=config.optimizer.lr)
    expected = train_by_hand(config, make_optimizer, clip_norm=0.01)
    assert_equal(train(*overrides), *expected)


def test_label_smoothing_smooths_the_training_loss_alone(train, make_config):
    overrides = ("module.label_smoothing=0.3", "optimizer=sgd", f"trainer.max_steps={NUM_STEPS}")
    config = make_config(*overrides)
    expected = train_by_hand(config, BY_HAND["sgd"], label_smoothing=0.3)
    trained = train(*overrides)
    assert_equal(trained, *expected)

    net, _ = start_by_hand(config)
    net.load_state_dict({k.removeprefix("net."): v for k, v in trained.weights().items()})
    ((images, labels),) = build.build_data(config).val_dataloader()
    loss = F.cross_entropy(net(images), labels).item()
    assert trained.record["validation"]["last"]["loss"] == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize(("max_steps", "at_epoch_ends"), [(10, [10]), (30, [21, 30])])
def test_max_steps_ends_at_that_step_with_a_validation(max_steps, at_epoch_ends, train):
    trained = train(f"trainer.max_steps={max_steps}")
    assert list(trained.steps.step) == list(range(1, max_steps + 1))
    assert list(trained.epochs.step) == at_epoch_ends  # 21 steps are an epoch
    assert trained.epochs["val/accuracy"].between(0, 1).all()
    assert trained.record["num_steps"] == max_steps
    assert trained.record["validation"]["last"]["step"] == max_steps


def test_accumulating_two_batches_equals_one_of_twice_the_size(train):
    # 1,293 images are 20 batches of 64, which are 40 of 32, and a last one that is left out here
    common = ("trainer.max_epochs=2", "optimizer=sgd")
    whole = train(*common, "+trainer.limit_train_batches=20")
    halves = train(
        *common,
        "data.batch_size=32",
        "trainer.accumulate_grad_batches=2",
        "+trainer.limit_train_batches=40",
    )
    assert list(halves.steps.step) == list(whole.steps.step) == list(range(1, 41))
    assert list(halves.steps["train/loss"]) == pytest.approx(
        list(whole.steps["train/loss"]), rel=1e-5
    )
    pd.testing.assert_frame_equal(halves.epochs, whole.epochs, rtol=1e-5)
    for name, tensor in whole.weights().items():
        torch.testing.assert_close(halves.weights()[name], tensor, rtol=1e-5, atol=1e-6)


def test_batch_of_a_short_last_group_counts_as_in_a_full_one(train, make_config):
    """As in Lightning: of three batches, two by two, the last is half of a step's gradient."""
    overrides = (
        "optimizer=sgd_plain",
        "optimizer.lr=0.1",
        "data.batch_size=500",  # 500, 500 and 293 images
        "trainer.accumulate_grad_batches=2",
        "trainer.max_epochs=1",
    )
    net, batches = start_by_hand(make_config(*overrides))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    expected = []
    for group in (batches[:2], batches[2:]):
        optimizer.zero_grad()
        losses = [F.cross_entropy(net(images), labels) for images, labels in group]
        (sum(losses) / 2).backward()
        optimizer.step()
        expected.append(sum(losses).item() / len(group))  # what is recorded is the mean
    trained = train(*overrides)
    assert list(trained.steps["train/loss"]) == pytest.approx(expected, rel=1e-6)
    for name, tensor in net.state_dict().items():
        torch.testing.assert_close(trained.weights()[f"net.{name}"], tensor, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "name",
    [
        "constant",
        "step",
        "exponential",
        "cosine",
        "warmup_cosine",
        "onecycle",
        "warm_restarts",
    ],
)
def test_schedule_sets_the_rate_of_every_single_step(name, train, make_config):
    overrides = (f"scheduler={name}", "trainer.max_epochs=2", "lr_multiplier=3.0")
    make_scheduler = instantiate_partial(make_config(*overrides).scheduler)
    factors = [1.0] * 42  # of a constant rate, which has no scheduler
    if make_scheduler is not None:
        peak_1 = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        (factor,) = build_scheduler(make_scheduler, peak_1, 42).lr_lambdas
        factors = [factor(step) for step in range(42)]
    trained = train(*overrides)
    expected = [3.0 * 1e-3 * factor for factor in factors]
    assert list(trained.steps.lr) == pytest.approx(expected, rel=1e-12)
    assert list(trained.epochs.lr) == pytest.approx([expected[20], expected[41]], rel=1e-12)


def test_schedule_is_fitted_to_a_run_that_max_steps_shortens(train):
    trained = train("scheduler=cosine", "trainer.max_epochs=5", "trainer.max_steps=30")
    half_way = trained.steps.lr[15]  # 15 of 30 steps taken
    assert half_way == pytest.approx(0.5 * 1e-3)


def test_scheduled_rate_reaches_the_update(train, make_config):
    """With the rate at zero from the second step on, the weights stay as after the first one."""
    decayed = train(
        "scheduler=step",
        "scheduler.drop_every_fraction=null",
        "scheduler.drop_every_steps=1",
        "scheduler.gamma=1.0e-12",
        "optimizer=sgd_plain",
        "trainer.max_steps=6",
    )
    first = train("optimizer=sgd_plain", "trainer.max_steps=1")
    for name, tensor in first.weights().items():
        torch.testing.assert_close(decayed.weights()[name], tensor, rtol=0, atol=1e-9)


def test_plateau_halves_the_rate_when_validation_stops_falling(train):
    trained = train(
        "scheduler=plateau",
        "scheduler.patience=0",
        "scheduler.threshold=0.99",  # no epoch improves the loss by 99 %
        "trainer.max_epochs=4",
    )
    # the first epoch sets the mark; the fall after an epoch shows in the next one
    assert list(trained.epochs.lr) == pytest.approx([1e-3, 1e-3, 5e-4, 2.5e-4])
    assert list(trained.steps.lr) == pytest.approx([1e-3] * 42 + [5e-4] * 21 + [2.5e-4] * 21)


def test_early_stopping_ends_the_run_and_keeps_what_it_watched(train):
    trained = train(
        "callbacks=early_stopping",
        "callbacks.figures=null",
        "callbacks.early_stopping.patience=2",
        "callbacks.early_stopping.min_delta=100",  # no epoch improves the loss by so much
    )
    assert list(trained.epochs.epoch) == [1, 2, 3]
    assert trained.record["status"] == "finished"
    assert trained.record["num_epochs"] == 3
    best = int(trained.epochs["val/loss"].idxmin())
    assert trained.record["validation"]["best"]["epoch"] == best + 1


class OptimizerModes(Callback):
    """Notes which mode a schedule-free optimizer is in."""

    def __init__(self):
        self.training, self.validation, self.test = set(), set(), set()

    def on_train_batch_end(self, trainer, *args):
        self.training.add(trainer.optimizers[0].param_groups[0]["train_mode"])

    def on_validation_batch_end(self, trainer, *args, **kwargs):
        self.validation.add(trainer.optimizers[0].param_groups[0]["train_mode"])


def test_schedule_free_evaluates_the_average_and_trains_the_iterate(train, look_on):
    modes = OptimizerModes()
    look_on(modes)
    trained = train("optimizer=schedule_free", "trainer.max_epochs=3")
    assert modes.training == {True}
    assert modes.validation == {False}
    assert trained.record["validation"]["last"]["accuracy"] > 0.9


class Start(Callback):
    """Keeps the initial weights and the batches of the first epoch."""

    def __init__(self):
        self.images, self.labels = [], []

    def on_train_start(self, trainer, pl_module: L.LightningModule):
        self.weights = {k: v.clone() for k, v in pl_module.net.state_dict().items()}

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.current_epoch == 0:
            self.images.append(batch[0])
            self.labels.append(batch[1])


@pytest.fixture
def start_of(train, look_on):
    def start(*overrides):
        seen = Start()
        look_on(seen)
        train("trainer.max_epochs=1", *overrides)
        assert len(seen.images) == 21
        return seen

    return start


@pytest.mark.parametrize(
    ("other", "model"), [("adam", "mlp"), ("lbfgs", "mlp"), ("adam", "cnn"), ("lbfgs", "cnn")]
)
def test_every_optimizer_starts_from_the_same_weights_and_sees_the_same_batches(
    other, model, start_of
):
    both = [f"model={model}", "data.augment.rotation_degrees=10"]
    both += ["model.filters=[2,4]"] if model == "cnn" else []
    few = ["optimizer.max_iter=1"] if other == "lbfgs" else []
    first = start_of("optimizer=sgd", *both)
    second = start_of(f"optimizer={other}", "lr_multiplier=0.1", *few, *both)
    assert first.weights.keys() == second.weights.keys()
    for name in first.weights:
        assert torch.equal(first.weights[name], second.weights[name])
    assert all(map(torch.equal, first.images, second.images))
    assert all(map(torch.equal, first.labels, second.labels))


def test_seeds_differ_in_weights_and_batches(start_of):
    first, second = start_of("seed=0"), start_of("seed=1")
    kernels = [name for name, weight in first.weights.items() if weight.ndim == 2]
    assert kernels
    for name in kernels:
        assert not torch.equal(first.weights[name], second.weights[name])
    assert not any(map(torch.equal, first.images, second.images))


def test_batch_norm_network_trains_and_is_evaluated_with_its_running_statistics(train):
    from optlab.models import load_network

    trained = train("model.batch_norm=true", "trainer.max_epochs=3")
    assert trained.record["test"]["best"]["accuracy"] > 0.9
    net = load_network(trained.folder)
    means = [b for name, b in net.named_buffers() if name.endswith("running_mean")]
    assert means
    assert all(mean.abs().sum() > 0 for mean in means)


def test_update_is_computed_outside_the_autocast_of_the_network(train, monkeypatch):
    seen = []
    step = torch.optim.SGD.step

    def noted(self, closure):
        seen.append(torch.is_autocast_enabled("cpu"))
        return step(self, closure)

    monkeypatch.setattr(torch.optim.SGD, "step", noted)
    inside = []
    forward = F.cross_entropy

    def noted_forward(logits, *args, **kwargs):
        inside.append(logits.dtype)
        return forward(logits, *args, **kwargs)

    monkeypatch.setattr("optlab.training.classifier.F.cross_entropy", noted_forward)
    train("optimizer=sgd", "trainer.precision=bf16-mixed", "trainer.max_steps=2")
    assert seen == [False, False]
    assert torch.bfloat16 in inside


IMAGES, LABELS = torch.zeros(4, 1, 2, 2), torch.tensor([0, 1, 2, 1])


@pytest.mark.parametrize(
    ("batch", "found"),
    [
        ({"image": IMAGES, "label": LABELS}, r"\bdict\b.*\b2\b"),
        ((IMAGES, LABELS, torch.arange(4)), r"\btuple\b.*\b3\b"),
        (IMAGES, r"\bTensor\b.*\b4\b"),
        ((IMAGES, [0, 1, 2, 1]), r"\bTensor\b.*\blist\b"),
        ((IMAGES.byte(), LABELS), r"images .*torch\.uint8"),
        ((IMAGES, LABELS.int()), r"labels .*torch\.int32\b.* \(4,\)"),
        ((IMAGES, LABELS.unsqueeze(1)), r"labels .*torch\.int64\b.* \(4, 1\)"),
        ((IMAGES, LABELS + 1), r"labels .*\b1\b.*\b3\b"),
    ],
    ids=lambda value: value.replace("\\b", "") if isinstance(value, str) else "",
)
def test_batch_that_is_no_images_with_labels_is_told(batch, found):
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3))
    module = ImageClassifier(net, torch.optim.SGD, num_classes=3)
    with pytest.raises(ValueError, match=rf"{found}.* \(B, C, H, W\).*\b0\b.*\b2\b"):
        module.training_step(batch, 0)


def test_error_of_a_network_stays_its_own():
    module = ImageClassifier(torch.nn.Linear(3, 3), torch.optim.SGD, num_classes=3)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        module.training_step((IMAGES, LABELS), 0)
