"""Runs with model.cache_features=true: trained on features, loaded and asked as any other."""

import lightning as L
import pytest
import torch
from made_records import make_record

from optlab.models import CNN, load_network
from optlab.runs.record import ModelFacts, write_record
from optlab.training import build

BODY = {"in_channels": 3, "image_size": 16, "num_classes": 10, "filters": [4, 8], "layers": 1}


@pytest.fixture
def options(tmp_path, monkeypatch):
    """Overrides of a run whose body is a tiny color CNN, batch norm and dropout included."""
    monkeypatch.setenv("OPTLAB_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)
    kwargs = {**BODY, "batch_norm": True, "dropout": 0.5}
    net = CNN(**kwargs)
    folder = tmp_path / "body"
    (folder / "checkpoints").mkdir(parents=True)
    state = {f"net.{name}": tensor for name, tensor in net.state_dict().items()}
    torch.save({"state_dict": state}, folder / "checkpoints" / "best.ckpt")
    model = ModelFacts(name="cnn", target="optlab.models.CNN", kwargs=kwargs)
    write_record(folder, make_record(model=model))
    return [
        "model=finetuned",
        "model.fit=resize",
        f"model.weights={folder}",
        "trainer.max_epochs=2",
        "optimizer.lr=0.01",
    ]


def test_run_on_features_has_the_numbers_of_the_run_on_images(options, train):
    on_images = train(*options)
    on_features = train(*options, "model.cache_features=true")
    torch.testing.assert_close(
        torch.tensor(on_features.steps["train/loss"].values),
        torch.tensor(on_images.steps["train/loss"].values),
        rtol=1e-4,
        atol=1e-5,
    )
    assert on_features.record["test"]["best"]["loss"] == pytest.approx(
        on_images.record["test"]["best"]["loss"], rel=1e-4
    )
    assert on_features.record["model"]["num_trainable_parameters"] == 1_290  # (128 + 1) * 10


def test_run_on_features_is_loaded_as_a_network_of_images(options, train, make_config):
    overrides = [*options, "model.cache_features=true"]
    trained = train(*overrides)
    net = load_network(trained.folder)
    with torch.no_grad():
        ((images, labels),) = build.build_data(make_config(*overrides)).test_dataloader()
        loss = torch.nn.functional.cross_entropy(net(images), labels).item()
    assert images.shape[1:] == (1, 28, 28)
    assert trained.record["test"]["best"]["loss"] == pytest.approx(loss, rel=1e-5)


def test_second_seed_finds_the_features_of_the_first(options, train, monkeypatch):
    train(*options, "trainer.max_epochs=1", "model.cache_features=true")

    def refuse(*arguments):
        raise AssertionError("extracted again")

    monkeypatch.setattr("optlab.models.FineTuned.extract_features", refuse)
    assert train(*options, "model.cache_features=true", "seed=1").record["status"] == "finished"


def test_augmented_images_are_refused(options, train):
    with pytest.raises(ValueError, match=r"model\.cache_features .*\bdata\.augment\b"):
        train(*options, "model.cache_features=true", "data.augment.horizontal_flip=true")


def test_data_module_without_features_is_refused(options, make_config):
    config = make_config(*options, "model.cache_features=true")
    net = build.build_net(config, build.build_data(config))
    with pytest.raises(ValueError, match=r"LightningDataModule .*\buse_features\b"):
        build.use_cached_features(net, L.LightningDataModule())
