"""Features of a frozen body instead of images, computed once and kept on disk.

A frozen body computes the same features of an image in every epoch and for every seed, so an epoch
only has to train the head. This requires images without augmentation, and a body in eval mode,
without dropout and with fixed batch-norm statistics.

The features are cached in `$OPTLAB_CACHE`, or `data/cache`, in a file named by a hash of everything
that they depend on. Rows that have not been needed yet are NaN. So an interrupted extraction
resumes where it stopped, and a run on few images computes only their features.
"""

import hashlib
import logging
import sys
import time
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from filelock import FileLock
from rich.console import Console
from rich.progress import track
from torch import Tensor

from optlab.data.device_images import DeviceImages
from optlab.files import atomic_write, cache_folder

log = logging.getLogger(__name__)

BATCH_SIZE = 16  # images that pass through the body at once; larger ones are slower on a CPU
_CACHE_VERSION = 1  # raise it when features are computed in another way


class FrozenBody(Protocol):
    """The interface of `optlab.models.FineTuned` that this module needs."""

    @property
    def num_features(self) -> int: ...

    def extract_features(self, images: Tensor) -> Tensor:
        """Return (B, num_features) of normalized images (B, C, H, W)."""

    def body_checksum(self) -> str:
        """Return a hash of all that decides the features, apart from the images."""


class FeatureRows(DeviceImages):
    """Features (N, F) in the place of N images; the loaders read both alike."""

    def __init__(self, features: Tensor, labels: Tensor) -> None:
        self.images, self.labels = features, labels

    def normalize(self, pixels: Tensor) -> Tensor:
        return pixels


def feature_rows(
    body: FrozenBody, images: DeviceImages, indices: Tensor, images_key: str
) -> FeatureRows:
    """Return the features of a part of a data set, and compute those that are not cached.

    Args:
        body: frozen body, on the device of the images.
        images: images of the part.
        indices: int64, the images whose features are needed; other rows may be NaN.
        images_key: key that identifies the images and their normalization.

    Raises:
        ValueError: if the cache cannot be read or written, or the body has no such features.
    """
    device = images.labels.device
    # Devices differ in the last digits
    key = f"{_CACHE_VERSION} {images_key} {body.body_checksum()} {device.type}"
    path = cache_folder() / f"features-{hashlib.sha256(key.encode()).hexdigest()[:24]}.npy"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):  # parallel runs wait for the first
            if not path.is_file():
                with atomic_write(path) as partial, partial.open("wb") as file:
                    np.save(file, np.full((len(images), body.num_features), np.nan, np.float32))
            _fill(_opened(path, "r+"), body, images, indices, path)
    except OSError as error:
        raise ValueError(
            f"the features of the frozen body cannot be cached in {path.parent}: {error}.\n\n"
            "hint: set OPTLAB_CACHE to a folder with free space, or model.cache_features=false"
        ) from error
    # Copy on write: torch asks for memory that it may write to
    return FeatureRows(torch.from_numpy(_opened(path, "c")).to(device), images.labels)


def _opened(path: Path, mode: Literal["r+", "c"]) -> np.ndarray:
    try:
        np.load(path, mmap_mode="r")  # refuses a file that is cut short, which r+ would extend
        rows: np.ndarray = np.load(path, mmap_mode=mode)
        return rows
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}.\n\nhint: delete it") from error


@torch.inference_mode()
def _fill(
    rows: np.ndarray, body: FrozenBody, images: DeviceImages, indices: Tensor, path: Path
) -> None:
    """Compute the rows of `indices` that are still NaN, wholly or in part."""
    is_missing = torch.from_numpy(np.isnan(rows).any(axis=1))
    missing = indices.cpu().sort().values
    missing = missing[is_missing[missing]]
    if not len(missing):
        return
    start_s = time.perf_counter()
    print(f"features of {len(missing):,} images, computed once: {path}", file=sys.stderr)
    for chunk in track(
        missing.split(BATCH_SIZE),
        "features",
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    ):
        # Batches of one size: a row's last digits then depend on its image only
        batch = chunk[torch.arange(BATCH_SIZE) % len(chunk)]
        pixels = images.take(batch.to(images.labels.device))
        features = body.extract_features(images.normalize(pixels))
        rows[batch.numpy()] = features.float().cpu().numpy()
    elapsed_s = time.perf_counter() - start_s
    log.info("features of %d images computed in %.0f s: %s", len(missing), elapsed_s, path)
