"""One part of a data set on one device, and the way from its pixels to a network's input."""

from functools import lru_cache

import torch
from torch import Tensor

from optlab.data.source import Source


class DeviceImages:
    """uint8 images (N, C, H, W) and int64 labels (N,) on a device, shared by all its loaders.

    Args:
        images: uint8 (N, C, H, W), on any device.
        labels: int64 (N,).
        mean: per channel, of pixels / 255.
        std: likewise.
        device: where batches are made.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        device: torch.device,
    ) -> None:
        self.images = images.to(device).contiguous()
        self.labels = labels.to(device)
        pixel_mean = torch.tensor(mean, dtype=torch.float64)[:, None, None] * 255  # (C, 1, 1)
        pixel_std = torch.tensor(std, dtype=torch.float64)[:, None, None] * 255
        pixel_std = pixel_std.where(pixel_std > 0, 1.0)  # a channel without contrast becomes 0
        self.mean_pixel = pixel_mean.float().to(device)
        # (x - mean) / std as one product and one sum
        self._scale = (1 / pixel_std).float().to(device)
        self._shift = (-pixel_mean / pixel_std).float().to(device)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor) -> Tensor:
        """uint8 images at `index`."""
        return self.images.index_select(0, index)

    def normalise(self, pixels: Tensor) -> Tensor:
        """float32 (N, C, H, W) with zero mean and unit deviation, from pixels in 0..255.

        Float pixels are overwritten.
        """
        return pixels.to(torch.float32).mul_(self._scale).add_(self._shift)


@lru_cache(maxsize=8)  # train and test part of the sets that a process works with
def device_images(source: Source, part: str, device: torch.device) -> DeviceImages:
    """The "train" or "test" part of `source` on `device`, copied there once per process."""
    images, labels = (
        (source.train_images, source.train_labels)
        if part == "train"
        else (source.test_images, source.test_labels)
    )
    return DeviceImages(images, labels, mean=source.mean, std=source.std, device=device)
