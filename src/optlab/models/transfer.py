"""Transfer learning: a trained network with a new head and an initially frozen body.

Weights come from ImageNet (torchvision's ResNet18, or a package with EfficientNet-Lite0), from a
local file of torchvision's resnet18, or from any earlier run of OptLab. The head is replaced. Gray
images and other image sizes are fitted to what the trained body expects inside `forward`, so any
data set goes with any weights. How pixels are scaled is up to `data.normalize`.
"""

import hashlib
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from optlab.models.efficientnet_lite0 import imagenet_efficientnet_lite0
from optlab.models.load import build_network, load_checkpoint, load_network
from optlab.models.resnet18 import ResNet18
from optlab.ranges import as_typed, check, check_choice
from optlab.runs.record import ModelFacts, read_record

_IMAGENET = {"in_channels": 3, "image_size": 224, "num_classes": 1000}
# Names that model.weights takes, and the networks that they belong to
SOURCES: dict[str, dict[str, Any]] = {
    "imagenet": {"target": "optlab.models.ResNet18", "kwargs": {**_IMAGENET, "stem": "imagenet"}},
    "efficientnet_lite0": {"target": "optlab.models.EfficientNetLite0", "kwargs": _IMAGENET},
}


class FineTuned(nn.Module):
    """A trained network whose last linear layer is replaced for new classes.

    While the body is frozen it stays in eval mode: its batch norms keep the statistics of the
    original data, and its dropout is off. `set_epoch` unfreezes it at `unfreeze_epoch`. The
    optimizer has the body's parameters from the start, but does not update them without gradients.

    With `cache_features` the network is trained on the features that the frozen body computes from
    the images (see `optlab.data.frozen_features`). It accepts images as well as features.
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
        cache_features: bool = False,
        source: dict[str, Any] | None = None,
    ) -> None:
        """
        Args:
            in_channels: 1 for gray, 3 for color, of the new data.
            image_size: height and width in pixels of the new data.
            num_classes: number of logits.
            weights: `imagenet` (ResNet18), `efficientnet_lite0` (ImageNet too), a `.pt` or `.pth`
                file with the state of torchvision's resnet18, or the folder of a run of OptLab.
            resize_to: size in pixels to which images are resized; None for the size that the
                weights were trained on (224 for ImageNet).
            fit: `resize` (bilinear) or `pad` (repeat the border pixels; can only enlarge).
            freeze_body: whether to train only the head.
            unfreeze_epoch: number of epochs after which the body is trained too; None for never.
            cache_features: whether to compute the features of the frozen body once.
            source: target and kwargs of the network under the head. If given, `weights` is not
                read, and the weights must be loaded afterwards (see `load_network`).

        Raises:
            ValueError: if weights are missing or do not fit, or an option is out of its range.
        """
        super().__init__()
        check_choice("model.fit", fit, ("resize", "pad"))
        check("model.unfreeze_epoch", unfreeze_epoch, ">= 1")
        check("model.resize_to", resize_to, ">= 1")
        if unfreeze_epoch is not None and not freeze_body:
            raise ValueError(
                f"model.unfreeze_epoch is {unfreeze_epoch}, but with model.freeze_body=false the "
                f"body is not frozen.\n\nhint: set only one of them"
            )
        if cache_features and (unfreeze_epoch is not None or not freeze_body):
            raise ValueError(
                f"model.cache_features is true, but model.freeze_body={as_typed(freeze_body)} and "
                f"model.unfreeze_epoch={as_typed(unfreeze_epoch)} train the body, so its features "
                "change.\n\nhint: model.cache_features=false"
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
                f"network's input, {self.size} (model.resize_to or the weights).\n\n"
                f"hint: model.fit=resize"
            )
        self.freeze_body, self.unfreeze_epoch = freeze_body, unfreeze_epoch
        self.cache_features = cache_features
        self.set_epoch(0)

    @property
    def head(self) -> nn.Linear:
        return cast(nn.Linear, self.network.head)

    @property
    def num_features(self) -> int:
        return self.head.in_features

    def set_epoch(self, epoch: int) -> None:
        """Freeze or unfreeze the body for the epoch that begins.

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
        if images.ndim == 2:  # features, from `extract_features`
            return self.head(images)
        if images.shape[-1] != self.size:
            images = self._fitted(images)  # (B, C, size, size)
        if self.repeats > 1:
            images = images.expand(-1, self.repeats, -1, -1)  # (B, 1, H, W) -> (B, 3, H, W)
        return self.network(images)  # (B, num_classes)

    def extract_features(self, images: Tensor) -> Tensor:
        """Return the input of the head for images (B, C, H, W), of shape (B, num_features).

        Raises:
            ValueError: if the head's output is not the network's, so features are not enough.
        """
        received: list[Tensor] = []
        hook = self.head.register_forward_pre_hook(lambda _, inputs: received.append(inputs[0]))
        logits = self.forward(images.to(self.head.weight.dtype))
        hook.remove()
        if not torch.allclose(self.head(received[0]), logits, equal_nan=True):
            raise ValueError(
                f"model.cache_features is true, but {type(self.network).__name__} changes the "
                f"output of its head.\n\nhint: model.cache_features=false"
            )
        return received[0]

    def body_checksum(self) -> str:
        """Return a SHA-256 (hex) of everything that the features depend on except the images."""
        settings = (self.source, self.repeats, self.size, self.fit)
        digest = hashlib.sha256(repr(settings).encode())
        for name, tensor in self.network.state_dict().items():
            if not name.startswith("head."):
                digest.update(name.encode() + tensor.cpu().double().numpy().tobytes())
        return digest.hexdigest()

    def _fitted(self, images: Tensor) -> Tensor:
        size = (self.size, self.size)
        if self.fit == "resize":
            return F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)
        missing = self.size - images.shape[-1]
        before, after = missing // 2, missing - missing // 2
        # zero would be the mean gray of standardized images, not their background
        return F.pad(images, (before, after, before, after), mode="replicate")


def find_source(weights: str) -> dict[str, Any]:
    """Return target and kwargs of the network that `weights` belong to.

    Raises:
        ValueError: if `weights` is no known name, file or folder.
    """
    path = Path(weights)
    if weights in SOURCES:
        return SOURCES[weights]
    if path.suffix in (".pt", ".pth"):
        return SOURCES["imagenet"]
    if not path.is_dir():
        raise ValueError(
            f"model.weights is {weights!r}; it must be one of {', '.join(SOURCES)}, a .pt or .pth "
            f"file, or the folder of a run.\n\n"
            f"hint: use outputs/<study>/<run name>-<hash> of a finished run"
        )
    model = read_record(path).model
    if (model.target or "").endswith(".FineTuned"):  # the source of a source
        return model.source or find_source(model.kwargs["weights"])
    return {"target": model.target, "kwargs": model.kwargs}


def _fresh(source: dict[str, Any]) -> nn.Module:
    facts = ModelFacts(name="source", target=source["target"], kwargs=source["kwargs"])
    return build_network(facts, Path("model.source"))


def _trained(weights: str) -> nn.Module:
    if weights == "imagenet":
        return _torchvision_resnet18(_download_imagenet(), "torchvision's ImageNet weights")
    if weights == "efficientnet_lite0":
        return imagenet_efficientnet_lite0()
    path = Path(weights)
    if path.suffix not in (".pt", ".pth"):
        net = load_network(path)
        return net.network if isinstance(net, FineTuned) else net
    if not path.is_file():
        raise ValueError(
            f"model.weights is {weights!r}, but there is no such file.\n\n"
            f"hint: the path is relative to {Path.cwd()}"
        )
    hint = "save torch.save(resnet18.state_dict(), path) and nothing else"
    try:
        state = load_checkpoint(path, hint=hint)
    except ValueError as error:
        raise ValueError(f"model.weights: {error}") from error
    return _torchvision_resnet18(state, f"model.weights={weights}")


def _download_imagenet() -> dict[str, Tensor]:
    from torchvision.models import ResNet18_Weights  # a second that other networks need not pay

    entry = ResNet18_Weights.IMAGENET1K_V1
    try:
        return entry.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:  # no network; a broken download
        cache = Path(torch.hub.get_dir()) / "checkpoints" / Path(entry.url).name
        raise ValueError(
            f"model.weights is imagenet, but {entry.url} could not be downloaded ({error}), and "
            f"{cache} does not exist from an earlier download.\n\n"
            f"hint: use model=efficientnet_lite0_pretrained, which needs no download, or download "
            f"the file on another machine and set model.weights=PATH/{cache.name}"
        ) from error


def _torchvision_resnet18(state: dict[str, Tensor], origin: str) -> ResNet18:
    """Return ResNet18 with the ImageNet stem and the given weights, except those of the head."""
    net = ResNet18(**SOURCES["imagenet"]["kwargs"])
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
        f"\n\nhint: gray images can be repeated for color weights, not the reverse"
    )


def _target_size(net: nn.Module, resize_to: int | None, trained_size: int, weights: str) -> int:
    if resize_to is None or resize_to == trained_size:
        return trained_size
    if not getattr(net, "accepts_any_size", False):
        raise ValueError(
            f"model.resize_to is {resize_to}, but the network of model.weights={weights} accepts "
            f"only {trained_size} pixels.\n\nhint: model.resize_to=null"
        )
    return resize_to
