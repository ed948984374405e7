"""Normalize pixels: the values of `data.normalize`, and the arithmetic."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from optlab.data.image_dataset import ImageDataset

# Mean and standard deviation of pixels / 255 by name, as in torchvision's Normalize
NAMED = {"unit": (0.0, 1.0), "half": (0.5, 0.5)}

Normalize = str | Mapping[str, Sequence[float]]


def check_normalize(normalize: Any) -> None:
    """Raise ValueError unless a value is `dataset`, a name in NAMED, or mean and std lists."""
    if normalize in ("dataset", *NAMED) or _is_mean_and_std(normalize):
        return
    raise ValueError(
        f"data.normalize is {normalize!r}, but must be dataset, {', '.join(NAMED)}, or "
        "{mean: [...], std: [...]} with one finite number per channel and std above 0.\n\n"
        "hint: dataset uses the mean and std of the data set, half scales pixels to [-1, 1]"
    )


def _is_mean_and_std(value: Any) -> bool:
    if not isinstance(value, Mapping) or set(value) != {"mean", "std"}:
        return False
    mean, std = value["mean"], value["std"]
    return (
        isinstance(mean, list | tuple)
        and isinstance(std, list | tuple)
        and all(isinstance(v, int | float) and math.isfinite(v) for v in (*mean, *std))
        and len(mean) == len(std) > 0
        and min(std) > 0
    )


def mean_and_std(
    normalize: Normalize, source: ImageDataset
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation of pixels / 255, per channel, by which images are normalized.

    Raises:
        ValueError: they are given for another number of channels than the images have.
    """
    if normalize == "dataset":
        return source.mean, source.std
    num_channels = source.train_images.shape[1]
    if isinstance(normalize, str):
        mean, std = NAMED[normalize]
        return (mean,) * num_channels, (std,) * num_channels
    if len(normalize["mean"]) != num_channels:
        raise ValueError(
            f"data.normalize has mean and std of {len(normalize['mean'])} channel(s), but the "
            f"images have {num_channels}.\n\nhint: give {num_channels} number(s) in each list"
        )
    return tuple(normalize["mean"]), tuple(normalize["std"])


def scale_and_shift(mean: Sequence[float], std: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Return the scale and shift, float32 (C, 1, 1) each, that normalize pixels in 0..255.

    pixels * scale + shift equals (pixels / 255 - mean) / std.
    """
    pixel_mean = torch.tensor(mean, dtype=torch.float64)[:, None, None] * 255
    pixel_std = torch.tensor(std, dtype=torch.float64)[:, None, None] * 255
    pixel_std = pixel_std.where(pixel_std > 0, 1.0)  # a channel without contrast becomes 0
    return (1 / pixel_std).float(), (-pixel_mean / pixel_std).float()
