"""Transfer: a trained network, a new head, and a body that is frozen at first.

Weights come from ImageNet through torchvision, from a local file of torchvision's resnet18, or from
any earlier run of OptLab. The head is replaced; grey images and other image sizes are fitted to
what the trained body expects inside `forward`, so any dataset goes with any weights.

Normalisation: images arrive standardised by their own dataset's mean and deviation. That is what
ImageNet's constants do to ImageNet, so the body sees the scale that it was trained on, and nothing
is normalised twice.
"""

import pickle
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from optlab.models.load import build_network, load_network, read_record
from optlab.models.resnet18 import ResNet18

IMAGENET_SOURCE = {
    "target": "optlab.models.ResNet18",
    "kwargs": {
        "in_channels": 3,
        "image_size": 224,
        "num_classes": 1000,
        "stem": "imagenet",
    },
}


class FineTuned(nn.Module):
    """A trained network whose last linear layer is replaced for new classes.

    While the body is frozen it stays in eval mode: its batch norms keep the statistics of the
    original data, and its dropout is off. `set_epoch` unfreezes it when its time has come. The
    body's parameters belong to the optimizer from the beginning; without a gradient they stay.
    """

    def __init__(
        self,
        in_channels: int,
        image_size: int,
        num_classes: int,
        *,
        weights: str,
        resize_to: int | None = None,
        fit: str = "resize",
        freeze_body: bool = True,
        unfreeze_epoch: int | None = None,
        source: dict[str, Any] | None = None,
    ) -> None:
        """
        Args:
            in_channels: 1 for grey, 3 for colour, of the new data.
            image_size: height and width in pixels of the new data.
            num_classes: number of logits.
            weights: `imagenet` (ResNet18), a `.pt` or `.pth` file with the state of torchvision's
                resnet18, or the folder of a run of OptLab.
            resize_to: size in pixels that the images are brought to; None is the size that the
                weights were trained on (224 for ImageNet).
            fit: how: `resize` (bilinear) or `pad` (the border pixels are repeated; only enlarges).
            freeze_body: train the head alone.
            unfreeze_epoch: number of epochs after which the frozen body is trained too; None never.
            source: target and kwargs of the network under the head; where it is given, `weights` is
                not read, and the weights are to be loaded afterwards (see `load_network`).

        Raises:
            ValueError: if weights cannot be had or do not fit, or a knob is out of its range.
        """
        super().__init__()
        if fit not in ("resize", "pad"):
            raise ValueError(
                f"model.fit is {fit!r}, but it is resize or pad.\n\n"
                f"hint: pad keeps the pixels as they are, resize interpolates"
            )
        if unfreeze_epoch is not None and not freeze_body:
            raise ValueError(
                f"model.unfreeze_epoch is {unfreeze_epoch}, but model.freeze_body=false leaves "
                f"nothing to unfreeze.\n\nhint: set one of the two"
            )
        if unfreeze_epoch is not None and unfreeze_epoch < 1:
            raise ValueError(
                f"model.unfreeze_epoch is {unfreeze_epoch}, but it counts the epochs of the head "
                f"alone, 1 or more.\n\n"
                f"hint: model.freeze_body=false trains the body from the first step"
            )
        self.source = source if source is not None else find_source(weights)
        self.network = _fresh(self.source) if source is not None else _trained(weights)
        self.network.head = nn.Linear(self.head.in_features, num_classes)

        trained_on = self.source["kwargs"]
        self.repeats = _channel_repeats(in_channels, trained_on["in_channels"], weights)
        self.size = _target_size(self.network, resize_to, trained_on["image_size"], weights)
        self.fit = fit
        if fit == "pad" and self.size < image_size:
            raise ValueError(
                f"model.fit is pad, but images of {image_size} pixels are larger than the "
                f"{self.size} that the weights expect.\n\nhint: model.fit=resize"
            )
        self.freeze_body, self.unfreeze_epoch = freeze_body, unfreeze_epoch
        self.set_epoch(0)

    @property
    def head(self) -> nn.Linear:
        return cast(nn.Linear, self.network.head)

    def set_epoch(self, epoch: int) -> None:
        """Freezes or unfreezes the body for the epoch that begins.

        Args:
            epoch: epochs already finished, 0 at the start of training.
        """
        self.frozen = self.freeze_body and (
            self.unfreeze_epoch is None or epoch < self.unfreeze_epoch
        )
        head = {id(parameter) for parameter in self.head.parameters()}
        for parameter in self.network.parameters():
            parameter.requires_grad_(id(parameter) in head or not self.frozen)
        self.train(self.training)

    def train(self, mode: bool = True) -> "FineTuned":
        super().train(mode)
        if self.frozen:
            self.network.eval()  # the head is one linear layer, the same in both modes
        return self

    def forward(self, images: Tensor) -> Tensor:
        if self.repeats > 1:
            images = images.expand(-1, self.repeats, -1, -1)  # (B, 1, H, W) -> (B, 3, H, W)
        if images.shape[-1] != self.size:
            images = self._fitted(images)  # (B, C, size, size)
        return self.network(images)  # (B, num_classes)

    def _fitted(self, images: Tensor) -> Tensor:
        size = (self.size, self.size)
        if self.fit == "resize":
            return F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)
        missing = self.size - images.shape[-1]
        before, after = missing // 2, missing - missing // 2
        # zero would be the mean grey of standardised images, not their background
        return F.pad(images, (before, after, before, after), mode="replicate")


def find_source(weights: str) -> dict[str, Any]:
    """Target and kwargs of the network that `weights` belong to.

    Raises:
        ValueError: if `weights` is no known name, file or folder.
    """
    path = Path(weights)
    if weights == "imagenet" or path.suffix in (".pt", ".pth"):
        return IMAGENET_SOURCE
    if not path.is_dir():
        raise ValueError(
            f"model.weights is {weights!r}, which is neither imagenet nor a .pt or .pth file nor "
            f"the folder of a run.\n\nhint: outputs/<study>/<run name>-<hash> of a finished run"
        )
    model = read_record(path)["model"]
    if model["target"].endswith(".FineTuned"):  # the source of a source
        return model.get("source") or find_source(model["kwargs"]["weights"])
    return {"target": model["target"], "kwargs": model["kwargs"]}


def _fresh(source: dict[str, Any]) -> nn.Module:
    return build_network(Path("."), {"model": source})


def _trained(weights: str) -> nn.Module:
    if weights == "imagenet":
        return _torchvision_resnet18(_download_imagenet(), "torchvision's ImageNet weights")
    path = Path(weights)
    if path.suffix not in (".pt", ".pth"):
        net = load_network(path)
        return net.network if isinstance(net, FineTuned) else net
    if not path.is_file():
        raise ValueError(
            f"model.weights is {weights!r}, but there is no such file.\n\n"
            f"hint: the path is relative to {Path.cwd()}"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        raise ValueError(
            f"model.weights={weights} is damaged or holds more than weights: "
            f"{str(error).splitlines()[0]}\n\n"
            f"hint: save torch.save(resnet18.state_dict(), path) and nothing else"
        ) from error
    return _torchvision_resnet18(state, f"model.weights={weights}")


def _download_imagenet() -> dict[str, Tensor]:
    from torchvision.models import (
        ResNet18_Weights,
    )  # here: a second that other networks need not pay

    entry = ResNet18_Weights.IMAGENET1K_V1
    try:
        return entry.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:  # no network; a broken download
        cache = Path(torch.hub.get_dir()) / "checkpoints" / Path(entry.url).name
        raise ValueError(
            f"model.weights is imagenet, but {entry.url} could not be had ({error}), and "
            f"{cache} is not there from an earlier download.\n\n"
            f"hint: fetch that file on another machine and give model.weights=PATH/{cache.name}, "
            f"or start from a run of your own with model.weights=outputs/<study>/<run>"
        ) from error


def _torchvision_resnet18(state: dict[str, Tensor], origin: str) -> ResNet18:
    """ResNet18 with the ImageNet stem and the given weights, whatever the classes of their head."""
    net = ResNet18(**cast(dict[str, Any], IMAGENET_SOURCE["kwargs"]))
    is_state = isinstance(state, dict) and all(isinstance(key, str) for key in state)
    body = {key: value for key, value in state.items() if key[:3] != "fc."} if is_state else {}
    try:
        net.body.load_state_dict(body)
    except (RuntimeError, AttributeError) as error:
        expected = net.body.state_dict().keys()
        raise ValueError(
            f"{origin} is not the state of torchvision's resnet18: "
            f"{len(expected - body.keys())} of its {len(expected)} tensors are missing and "
            f"{len(body.keys() - expected)} are unknown, or their shapes differ.\n\n"
            f"hint: for a network trained by OptLab give the folder of its run instead of a file"
        ) from error
    return net


def _channel_repeats(in_channels: int, expected: int, weights: str) -> int:
    if in_channels == expected:
        return 1
    if in_channels == 1:
        return expected
    raise ValueError(
        f"model.weights={weights} expects {expected} channel(s), but the images have {in_channels}."
        f"\n\nhint: grey images can be repeated for colour weights, not the reverse"
    )


def _target_size(net: nn.Module, resize_to: int | None, trained_size: int, weights: str) -> int:
    if resize_to is None or resize_to == trained_size:
        return trained_size
    if resize_to < 1:
        raise ValueError(
            f"model.resize_to is {resize_to}, but it is a size in pixels.\n\n"
            f"hint: null is the size that the weights were trained on"
        )
    if not getattr(net, "accepts_any_size", False):
        raise ValueError(
            f"model.resize_to is {resize_to}, but the network of model.weights={weights} takes "
            f"{trained_size} pixels alone.\n\nhint: model.resize_to=null"
        )
    return resize_to
