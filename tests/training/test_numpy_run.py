"""model=mlp_numpy next to model=mlp: the same run, with the optimizer step by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate

from optlab import numpy_net
from optlab.models import load_network
from optlab.optim import param_groups
from optlab.training import numpy_run
from optlab.training.run import run
from optlab.training.validate import validate_config

CONF = Path(__file__).parents[2] / "conf"
QUICK = [
    "data=digits",
    "callbacks=none",
    "logger=none",
    "trainer=cpu",
    "trainer.max_epochs=3",
    "model.hidden_sizes=[32,16]",
]
RULES = ["sgd", "sgd_plain", "nesterov", "adam", "adamw", "rmsprop", "adagrad"]


def composed(*overrides):
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", overrides=[*QUICK, *overrides])


def trained(folder, *overrides):
    """The record of a run and its folder."""
    config = composed(f"outputs={folder}", *overrides)
    (record,) = run(config)
    return record, Path(config.run_dir)


def losses(folder):
    return pd.read_csv(folder / "steps.csv")["train/loss"].to_numpy()


@pytest.mark.parametrize("optimizer", RULES)
def test_first_50_losses_are_those_of_torch(tmp_path, optimizer):
    settings = [f"optimizer={optimizer}", "data.batch_size=64", "scheduler=cosine"]
    _, by_torch = trained(tmp_path, "model=mlp", *settings)
    _, by_hand = trained(tmp_path, "model=mlp_numpy", *settings)
    # 1,293 images of 1,437 are left by a tenth for validation: 21 steps an epoch, 63 in all
    assert len(losses(by_hand)) == len(losses(by_torch)) == 63
    np.testing.assert_allclose(losses(by_hand)[:50], losses(by_torch)[:50], atol=1e-4)


def test_decay_on_kernels_only_is_that_of_torch(tmp_path):
    settings = ["optimizer=adamw", "optimizer.weight_decay=1.0", "module.decay_norm_and_bias=false"]
    _, by_torch = trained(tmp_path, "model=mlp", *settings)
    _, by_hand = trained(tmp_path, "model=mlp_numpy", *settings)
    np.testing.assert_allclose(losses(by_hand)[:50], losses(by_torch)[:50], atol=1e-4)


def test_record_says_what_a_torch_run_says(tmp_path):
    by_torch, _ = trained(tmp_path, "model=mlp")
    by_hand, folder = trained(tmp_path, "model=mlp_numpy")
    assert by_hand.model.name == "mlp_numpy"
    assert by_hand.model.num_parameters == by_torch.model.num_parameters
    assert by_hand.hash != by_torch.hash
    # of 360 test images a hair may tip one over
    assert abs(by_hand.test.best.accuracy - by_torch.test.best.accuracy) < 0.01
    assert by_hand.train_time_s > 0 and by_hand.num_steps == 63
    assert (folder / "epochs.csv").read_text().count("\n") == 4


def test_checkpoint_loads_into_the_torch_network(tmp_path):
    record, folder = trained(tmp_path, "model=mlp_numpy", "trainer.max_epochs=5")
    datamodule = instantiate(composed("model=mlp_numpy").data)
    datamodule.prepare_data()
    datamodule.setup()
    net = load_network(folder, "last")
    with torch.no_grad():
        hits = sum(
            int((net(images).argmax(1) == labels).sum())
            for images, labels in datamodule.test_dataloader()
        )
    assert hits / datamodule.num_test == record.test.last.accuracy


def test_interrupted_run_ends_in_the_same_numbers(tmp_path, monkeypatch):
    settings = ["model=mlp_numpy", "optimizer=adam", "scheduler=cosine"]
    whole, whole_folder = trained(tmp_path / "whole", *settings)
    start = numpy_run.NumpyClassifier.on_train_epoch_start

    def cut_off(classifier):
        if classifier.current_epoch == 2:
            raise RuntimeError("cut off")
        start(classifier)

    monkeypatch.setattr(numpy_run.NumpyClassifier, "on_train_epoch_start", cut_off)
    with pytest.raises(RuntimeError, match="cut off"):
        trained(tmp_path / "resumed", *settings)
    monkeypatch.undo()
    resumed, resumed_folder = trained(tmp_path / "resumed", *settings)
    assert (resumed_folder / "steps.csv").read_text() == (whole_folder / "steps.csv").read_text()
    assert resumed.test == whole.test
    assert resumed.num_epochs == 3


def test_divergence_is_recorded_without_a_warning(tmp_path):
    record, _ = trained(tmp_path, "model=mlp_numpy", "optimizer=sgd", "optimizer.lr=1.0e6")
    assert record.status == "diverged"
    assert "training loss was" in record.reason


def test_network_by_hand_shares_the_memory_of_torch():
    net = instantiate(composed("model=mlp_numpy").model)
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
        (["optimizer=nadam"], r"optimizer=nadam is torch\.optim\.NAdam; NumPy has SGD, Adam"),
        (["optimizer=muon"], r"optimizer=muon is .*; NumPy has"),
        (["+optimizer.maximize=true"], r"optimizer\.maximize is no option of NumPy's Adam"),
        (["+model.batch_norm=true"], r"model\.batch_norm is true"),
        (["+model.dropout=0.2"], r"model\.dropout is 0\.2; NumPy has none"),
        (["+model.dropout=[0.0,0.1]"], r"model\.dropout is \[0\.0, 0\.1\]"),
        (["model.activation=elu"], r"model\.activation is elu; NumPy has relu, tanh"),
        (["model._target_=optlab.models.CNN"], r"NumPy has optlab\.models\.MLP only"),
        (["trainer.precision=bf16-mixed"], r"trainer\.precision is bf16-mixed; allowed: 32-true"),
        (["trainer.strategy=ddp"], r"trainer\.strategy is ddp; allowed: auto"),
        (["trainer.devices=2"], r"trainer\.devices is 2; allowed: 1"),
        (["compile=true"], r"compile is True; allowed: False"),
        (["trainer.accumulate_grad_batches=2"], r"accumulate_grad_batches is 2; allowed: 1"),
        (["trainer.gradient_clip_val=1.0"], r"gradient_clip_val is 1\.0; allowed: null"),
        (["module.label_smoothing=0.1"], r"label_smoothing is 0\.1; allowed: 0\.0"),
        (["num_replicas=2"], r"num_replicas is 2; allowed: 1"),
        (["trainer.accelerator=gpu"], r"trainer\.accelerator is gpu; .* trainer=cpu"),
    ],
)
def test_what_numpy_cannot_do_is_refused(overrides, message):
    with pytest.raises(ValueError, match=message):
        validate_config(composed("model=mlp_numpy", *overrides))


def test_every_problem_is_named_at_once():
    config = composed("model=mlp_numpy", "module.label_smoothing=0.1", "+model.dropout=0.2")
    assert len(list(numpy_run.limits(config))) == 2
