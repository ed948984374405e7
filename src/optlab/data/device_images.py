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
        channels_last: keep and yield images in that memory format.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        device: torch.device,
        channels_last: bool = False,
    ) -> None:
        # With one channel the formats are the same bytes.
        channels_last = channels_last and images.shape[1] > 1
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.images = images.to(device).contiguous(memory_format=self.memory_format)
        self.labels = labels.to(device)
        pixel_mean = torch.tensor(mean, dtype=torch.float64)[:, None, None] * 255  # (C, 1, 1)
        pixel_std = torch.tensor(std, dtype=torch.float64)[:, None, None] * 255
        pixel_std = pixel_std.where(pixel_std > 0, 1.0)  # a channel without contrast becomes 0
        self.mean_pixel = pixel_mean.float().to(device)
        # (x - mean) / std as one product and one sum, spread over an image in the images' own
        # memory order: a broadcast over channels-last pixels is many times slower.
        self._scale = self._spread(1 / pixel_std)
        self._shift = self._spread(-pixel_mean / pixel_std)

    def _spread(self, per_channel: Tensor) -> Tensor:
        full = per_channel.float().expand(self.images.shape[1:]).unsqueeze(0)  # (1, C, H, W)
        return full.contiguous(memory_format=self.memory_format).to(self.images.device)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor) -> Tensor:
        """uint8 images at `index`, whole rows copied in the memory format that they lie in."""
        if self.memory_format is torch.contiguous_format:
            return self.images.index_select(0, index)
        _, channels, height, width = self.images.shape
        rows = self.images.permute(0, 2, 3, 1).flatten(1)  # (N, H * W * C), a view
        taken = rows.index_select(0, index).view(len(index), height, width, channels)
        return taken.permute(0, 3, 1, 2)

    def normalise(self, pixels: Tensor) -> Tensor:
        """float32 (N, C, H, W) with zero mean and unit deviation, from pixels in 0..255.

        Float pixels are overwritten.
        """
        images = pixels.to(torch.float32, memory_format=self.memory_format)
        return images.mul_(self._scale).add_(self._shift)


@lru_cache(maxsize=8)  # train and test part of the sets that a process works with
def device_images(
    source: Source, part: str, device: torch.device, channels_last: bool
) -> DeviceImages:
    """The "train" or "test" part of `source` on `device`, copied there once per process."""
    images, labels = (
        (source.train_images, source.train_labels)
        if part == "train"
        else (source.test_images, source.test_labels)
    )
    return DeviceImages(
        images,
        labels,
        mean=source.mean,
        std=source.std,
        device=device,
        channels_last=channels_last,
    )
