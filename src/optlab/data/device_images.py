"""Hold one part of a data set on a device, and normalize its pixels for a network."""

from functools import lru_cache

import torch
from torch import Tensor

from optlab.data.image_dataset import ImageDataset
from optlab.data.normalize import scale_and_shift


class DeviceImages:
    """uint8 images (N, C, H, W) and int64 labels (N,) on a device, shared by all its loaders.

    Args:
        images: uint8 (N, C, H, W), on any device.
        labels: int64 (N,).
        mean: mean of pixels / 255, per channel.
        std: standard deviation of pixels / 255, per channel.
        device: device for the images and the batches.
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
        mean_pixel = torch.tensor(mean, dtype=torch.float64)[:, None, None] * 255  # (C, 1, 1)
        self.mean_pixel = mean_pixel.float().to(device)
        self._scale, self._shift = (each.to(device) for each in scale_and_shift(mean, std))

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor) -> Tensor:
        """uint8 images at `index`."""
        return self.images.index_select(0, index)

    def normalize(self, pixels: Tensor) -> Tensor:
        """Return float32 (N, C, H, W), normalized, from pixels in 0..255.

        Float pixels are overwritten.
        """
        return pixels.to(torch.float32).mul_(self._scale).add_(self._shift)


@lru_cache(maxsize=8)  # train and test part of the sets that a process works with
def device_images(
    source: ImageDataset,
    part: str,
    device: torch.device,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> DeviceImages:
    """Return the "train" or "test" part of `source` on `device`, copied there once per process."""
    images, labels = (
        (source.train_images, source.train_labels)
        if part == "train"
        else (source.test_images, source.test_labels)
    )
    return DeviceImages(images, labels, mean=mean, std=std, device=device)
