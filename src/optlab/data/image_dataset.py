"""A data set in memory: uint8 tensors and a few facts about them."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

# How to convert a user's picture to an image like those of a data set (optlab.data.preprocessing)
Preparation = Literal["resize", "center_crop", "mnist", "digits", "fashion_mnist"]


class DataUnavailableError(ValueError):
    """Raised if a requested data set is missing, damaged, or cannot be downloaded."""


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """One data set in its official train and test parts, on the CPU.

    Images are uint8 (N, C, H, W), labels int64 (N,) in [0, len(class_names)). `mean` and `std`
    are per channel, of pixels / 255 over the train part. `preparation` says how page, API and
    predict.py prepare a picture for networks that were trained on the set.
    """

    name: str
    title: str
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    preparation: Preparation = "resize"

    @cached_property
    def checksum(self) -> str:
        """SHA-256 (hex) over shapes and contents of the four tensors, in their order above."""
        return compute_checksum(
            self.train_images, self.train_labels, self.test_images, self.test_labels
        )


def compute_checksum(*tensors: Tensor) -> str:
    """SHA-256 (hex) over type, shape and contents of CPU tensors."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


def channel_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation (over all pixels) of pixels / 255, per channel.

    Exact up to the last division: sums of uint8 pixels and of their squares are integers.

    Args:
        images: uint8 (N, C, H, W).
    """
    num_channels = images.shape[1]
    total = torch.zeros(num_channels, dtype=torch.int64)
    total_of_squares = torch.zeros(num_channels, dtype=torch.int64)
    for chunk in images.split(2048):  # bounds the int32 copy
        pixels = chunk.to(torch.int32)
        total += pixels.sum(dim=(0, 2, 3))
        total_of_squares += (pixels * pixels).sum(dim=(0, 2, 3))
    num_pixels = images.numel() // num_channels
    mean = total.double() / num_pixels
    std = (total_of_squares.double() / num_pixels - mean**2).clamp(min=0).sqrt()
    return tuple((mean / 255).tolist()), tuple((std / 255).tolist())
