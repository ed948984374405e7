"""model=mlp_numpy next to model=mlp: the same run, with the optimizer step by hand."""

import re

import numpy as np
import pytest
import torch
from hydra.utils import instantiate

from optlab import numpy_net
from optlab.models import load_network
from optlab.optim import param_groups
from optlab.training import numpy_run
from optlab.training.build import build_data
from optlab.training.validate import validate_config

SHORT = ("trainer.max_epochs=3", "model.hidden_sizes=[32,16]")
RULES = ["sgd", "sgd_plain", "nesterov", "adam", "adamw", "rmsprop", "adagrad"]


@pytest.mark.parametrize(
    "settings",
    [
        *([f"optimizer={rule}", "scheduler=cosine"] for rule in RULES),
        ["optimizer=adamw", "optimizer.weight_decay=1.0", "module.decay_norm_and_bias=false"],
    ],
    ids=lambda settings: settings[-1] if len(settings) == 3 else settings[0].partition("=")[2],
)
def test_first_50_losses_are_those_of_torch(settings, train):
    by_hand, by_torch = (
        train(f"model={model}", *SHORT, "trainer.max_steps=50", *settings).steps["train/loss"]
        for model in ("mlp_numpy", "mlp")
    )
    assert len(by_hand) == len(by_torch) == 50
    np.testing.assert_allclose(by_hand, by_torch, atol=1e-4)


def test_record_says_what_a_torch_run_says(train):
    run = train("model=mlp_numpy", *SHORT)
    by_hand, by_torch = run.record, train("model=mlp", *SHORT).record
    assert by_hand["model"]["name"] == "mlp_numpy"
    assert by_hand["model"]["num_parameters"] == by_torch["model"]["num_parameters"]
    assert by_hand["hash"] != by_torch["hash"]
    # of 360 test images a hair may tip one over
    accuracies = [each["test"]["best"]["accuracy"] for each in (by_hand, by_torch)]
    assert abs(accuracies[0] - accuracies[1]) < 0.01
    assert by_hand["train_time_s"] > 0
    # 1,293 images of 1,437 are left by a tenth for validation: 21 steps an epoch
    assert by_hand["num_steps"] == 63
    assert len(run.epochs) == 3


def test_checkpoint_loads_into_the_torch_network(train, make_config):
    run = train("model=mlp_numpy", *SHORT)
    datamodule = build_data(make_config())
    net = load_network(run.folder, "last")
    with torch.no_grad():
        hits = sum(
            int((net(images).argmax(1) == labels).sum())
            for images, labels in datamodule.test_dataloader()
        )
    assert hits / datamodule.num_test == run.record["test"]["last"]["accuracy"]


def test_interrupted_run_ends_in_the_same_numbers(train, interrupted, tmp_path):
    settings = ["model=mlp_numpy", *SHORT, "optimizer=adam", "scheduler=cosine"]
    interrupted(43, *settings, f"outputs={tmp_path / 'cut'}")  # in the third epoch
    train(*settings, f"outputs={tmp_path / 'cut'}").assert_equals(train(*settings))


def test_divergence_is_recorded_without_a_warning(train):
    record = train("model=mlp_numpy", *SHORT, "optimizer=sgd", "optimizer.lr=1.0e6").record
    assert record["status"] == "diverged"
    assert re.search(r"training .*step \d", record["reason"])


def test_network_by_hand_shares_the_memory_of_torch(make_config):
    net = instantiate(make_config("model=mlp_numpy", *SHORT).model)
    net.keywords.pop("name")
    net = net(in_channels=1, image_size=28, num_classes=10)
    by_hand = numpy_run.numpy_mlp(net, "relu")
    by_hand.parameters[0][0, 0] = 42.0
    assert by_hand.sizes == (784, 32, 16, 10)
    assert float(next(net.parameters())[0, 0].detach()) == 42.0


def test_optimizer_state_survives_weights_only_loading(tmp_path):
    net = torch.nn.Linear(3, 2)
    options = {"make_rule": numpy_net.Adam, "lr": 0.1, "weight_decay": 0.0}
    first = numpy_run.NumpyOptimizer(param_groups(net), **options)
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    first.step()
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second = numpy_run.NumpyOptimizer(param_groups(net), **options)
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert second.rule.num_steps == 1
    # mean gradient after one gradient of 1 with beta1 = 0.9
    np.testing.assert_allclose(second.rule.m[0], 0.1, rtol=1e-6)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["optimizer=nadam"], r"optimizer=nadam .*torch\.optim\.NAdam\b.* SGD, Adam"),
        (["optimizer=muon"], r"optimizer=muon .* SGD, Adam"),
        (["+optimizer.maximize=true"], r"optimizer\.maximize .*\bAdam\b.*model=mlp\b"),
        (["+model.batch_norm=true"], r"model\.batch_norm .*\btrue\b.*\bfalse\b"),
        (["+model.dropout=0.2"], r"model\.dropout .*\b0\.2\b.* 0\b"),
        (["+model.dropout=[0.0,0.1]"], r"model\.dropout .*\[0\.0, 0\.1\].* 0\b"),
        (["model.activation=elu"], r"model\.activation .*\belu\b.* relu, tanh"),
        (["model._target_=optlab.models.CNN"], r"model\._target_ .*\.CNN\b.*optlab\.models\.MLP\b"),
        (["trainer.precision=bf16-mixed"], r"trainer\.precision .*\bbf16-mixed\b.*\b32-true\b"),
        (["trainer.strategy=ddp"], r"trainer\.strategy .*\bddp\b.*\bauto\b"),
        (["trainer.devices=2"], r"trainer\.devices .*\b2\b.*\b1\b"),
        (["compile=true"], r"compile .*\btrue\b.*\bfalse\b"),
        (["trainer.accumulate_grad_batches=2"], r"accumulate_grad_batches .*\b2\b.*\b1\b"),
        (["trainer.gradient_clip_val=1.0"], r"gradient_clip_val .*\b1\.0\b.*\bnull\b"),
        (["module.label_smoothing=0.1"], r"label_smoothing .*\b0\.1\b.*\b0\.0\b"),
        (["num_replicas=2"], r"num_replicas .*\b2\b.*\b1\b"),
        (["trainer.accelerator=gpu"], r"trainer\.accelerator .*\bgpu\b.*\btrainer=cpu\b"),
    ],
)
def test_what_numpy_cannot_do_is_refused(overrides, message, make_config):
    with pytest.raises(ValueError, match=message):
        validate_config(make_config("model=mlp_numpy", *overrides))


def test_every_problem_is_named_at_once(make_config):
    config = make_config("model=mlp_numpy", "module.label_smoothing=0.1", "+model.dropout=0.2")
    assert len(list(numpy_run.config_problems(config))) == 2
