"""Random pixels in the shape of a known set: speed needs no real picture."""

from functools import lru_cache
from typing import Any

import torch

from optlab.data import ImageDataModule, ImageDataset

SHAPES = {"mnist": (60_000, 1, 28), "cifar10": (50_000, 3, 32)}  # train images, channels, side
NUM_CLASSES = 10


class SyntheticImages(ImageDataModule):
    """An ImageDataModule whose pixels are drawn, not read; everything else is as in a real run.

    Args:
        name: the set whose shape is taken, a key of SHAPES.
        num_images: training images that remain after the validation part is taken out; None for
            as many as the set has.
        options: those of ImageDataModule.
    """

    def __init__(self, name: str, *, num_images: int | None = None, **options: Any) -> None:
        super().__init__(name, **options)
        self.num_images = num_images

    def _load(self) -> ImageDataset:
        return synthetic_source(self.name, self.num_images)


@lru_cache(maxsize=2)
def synthetic_source(name: str, num_images: int | None = None) -> ImageDataset:
    """Return random images and labels, the same every time; test is a sixth of train."""
    full, channels, side = SHAPES[name]
    num_train = full if num_images is None else num_images * 10 // 9
    num_test = num_train // 6
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(
        0,
        256,
        (num_train + num_test, channels, side, side),
        dtype=torch.uint8,
        generator=generator,
    )
    labels = torch.arange(num_train + num_test) % NUM_CLASSES
    return ImageDataset(
        name,
        f"random pixels in the shape of {name}",
        pixels[:num_train],
        labels[:num_train],
        pixels[num_train:],
        labels[num_train:],
        class_names=tuple(str(label) for label in range(NUM_CLASSES)),
        mean=(0.5,) * channels,
        std=(0.2887,) * channels,  # of the uniform distribution on [0, 1]: 1 / sqrt(12)
    )
