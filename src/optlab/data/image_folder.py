"""Load a folder of images, `train/<class>/*` and `test/<class>/*`, as a data set.

Every image is decoded once, in threads, and the uint8 result is cached outside the folder (which
may be read-only), in `$OPTLAB_CACHE` or `data/cache`. The cache is keyed by names, sizes and
modification times of all images, so a changed folder is read again.
"""

import hashlib
import logging
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from PIL import Image
from torch import Tensor

from optlab.data.class_folders import PictureFile, find_pictures
from optlab.data.image_dataset import (
    DataUnavailableError,
    ImageDataset,
    Preparation,
    channel_statistics,
    compute_checksum,
)
from optlab.data.pictures import apply_orientation, open_image, printable_path, to_pixels
from optlab.files import atomic_write, cache_folder

log = logging.getLogger(__name__)

_FILES_PER_TASK = 256
_CACHE_VERSION = 2  # raise it when a picture is decoded in another way


class _ColorFoundError(Exception):
    """Decoding as gray met a color picture: start again with three channels."""


def load_image_folder(
    root: Path, *, title: str | None, image_size: int | None, preparation: Preparation = "resize"
) -> ImageDataset:
    """Read the pictures under `root`, classes named by their folders in alphabetical order.

    Images have one channel if all are gray, otherwise three. Transparent images get a white
    background.

    Args:
        root: folder with `train/<class>/` and `test/<class>/`.
        title: name of the set in tables; None for the folder's name.
        image_size: pixels; every picture is resized (bilinear, antialiased) to this square.
            None: the pictures are square and agree in size already.
        preparation: how page, API and predict.py prepare a picture for networks of this set.

    Raises:
        DataUnavailableError: a folder or file cannot be read; the message names it.
    """
    class_names, train, test = find_pictures(root)
    cache = _cache_path(root, [*train, *test], class_names, image_size)
    contents = _read_cache(cache)
    if contents is None:
        contents = _decode_under_lock(cache, train, test, image_size)
    images = contents["train_images"]
    if all(torch.equal(image, images[0]) for image in images):
        log.warning(
            "all %d images of %s are identical", len(images), printable_path(root / "train")
        )
    return ImageDataset(
        name="image_folder",
        title=title or root.resolve().name,
        train_images=images,
        train_labels=contents["train_labels"],
        test_images=contents["test_images"],
        test_labels=contents["test_labels"],
        class_names=tuple(class_names),
        mean=tuple(contents["mean"]),
        std=tuple(contents["std"]),
        preparation=preparation,
    )


def _cache_path(
    root: Path, pictures: list[PictureFile], class_names: list[str], image_size: int | None
) -> Path:
    """Return the cache file of these pictures; it does not depend on where their folder is."""
    digest = hashlib.sha256(f"{_CACHE_VERSION} {image_size} {class_names}".encode())
    for picture in pictures:
        digest.update(os.fsencode(os.path.relpath(picture.path, root)))
        digest.update(f"\0{picture.num_bytes}\0{picture.modified_ns}\n".encode())
    return cache_folder() / f"image_folder-{digest.hexdigest()[:24]}.pt"


def _decode_under_lock(
    cache: Path, train: list[PictureFile], test: list[PictureFile], image_size: int | None
) -> dict[str, Any]:
    """Decode and cache; parallel processes wait for the first instead of decoding again."""
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(cache.with_suffix(".lock"))
        lock.acquire()
    except OSError as error:
        log.warning(
            "every process decodes the images again, because the cache folder %s is not writable "
            "(%s); set OPTLAB_CACHE to a writable folder",
            cache.parent,
            error,
        )
        return _decode_parts(train, test, image_size)
    try:
        contents = _read_cache(cache)
        if contents is None:
            contents = _decode_parts(train, test, image_size)
            _write_cache(cache, contents)
        return contents
    finally:
        lock.release()


def _read_cache(cache: Path) -> dict[str, Any] | None:
    """Return the cached contents, or None if there are none or they are damaged."""
    if not cache.is_file():
        return None
    try:
        contents = torch.load(cache, weights_only=True)
        intact = contents["checksum"] == _checksum(contents)
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError):
        intact = False
    if not intact:
        log.warning("%s is damaged; the pictures are decoded again", cache)
        with suppress(OSError):  # a folder that cannot be written
            cache.unlink()
        return None
    return contents


def _write_cache(cache: Path, contents: dict[str, Any]) -> None:
    try:
        with atomic_write(cache) as partial:
            torch.save(contents, partial)
    except (OSError, RuntimeError) as error:  # a full disk: torch.save raises RuntimeError
        log.warning("the decoded pictures could not be cached in %s: %s", cache, error)


def _checksum(contents: dict[str, Any]) -> str:
    parts = ("train_images", "train_labels", "test_images", "test_labels")
    return compute_checksum(*(contents[part] for part in parts))


def _decode_parts(
    train: list[PictureFile], test: list[PictureFile], image_size: int | None
) -> dict[str, Any]:
    pictures = [*train, *test]
    first = _read(pictures[0].path)
    if image_size is None and first.width != first.height:
        raise DataUnavailableError(
            f"{printable_path(pictures[0].path)} has {first.width} x {first.height} pixels, "
            "but networks need square images.\n\n"
            f"hint: set data.image_size={max(first.size)}, which resizes every picture"
        )
    size = image_size or first.width
    num_channels = 1 if first.mode == "L" else 3
    try:
        images = _decode_all(pictures, image_size, size, num_channels)
    except _ColorFoundError:
        images = _decode_all(pictures, image_size, size, num_channels=3)
    labels = torch.tensor([picture.label for picture in pictures], dtype=torch.int64)
    mean, std = channel_statistics(images[: len(train)])
    contents: dict[str, Any] = {
        "train_images": images[: len(train)].clone(),  # clones, so that the cache holds them once
        "train_labels": labels[: len(train)].clone(),
        "test_images": images[len(train) :].clone(),
        "test_labels": labels[len(train) :].clone(),
        "mean": list(mean),
        "std": list(std),
    }
    contents["checksum"] = _checksum(contents)
    return contents


def _decode_all(
    pictures: list[PictureFile], image_size: int | None, size: int, num_channels: int
) -> Tensor:
    """uint8 (N, C, H, W) of all pictures; PIL decodes outside Python's lock, hence threads."""
    images = np.empty((len(pictures), num_channels, size, size), dtype=np.uint8)

    def decode_from(start: int) -> None:
        for index in range(start, min(start + _FILES_PER_TASK, len(pictures))):
            path = pictures[index].path
            picture = _read(path)
            if num_channels == 1 and picture.mode != "L":
                raise _ColorFoundError
            if image_size is None and picture.size != (size, size):
                raise DataUnavailableError(
                    f"{printable_path(path)} has {picture.width} x {picture.height} pixels, "
                    f"but {printable_path(pictures[0].path)} has {size} x {size}.\n\n"
                    f"hint: set data.image_size={size}, which resizes every picture"
                )
            images[index] = to_pixels(picture, in_channels=num_channels, image_size=image_size)

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        tasks = [pool.submit(decode_from, i) for i in range(0, len(pictures), _FILES_PER_TASK)]
        try:
            for task in tasks:
                task.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return torch.from_numpy(images)


def _read(path: str) -> Image.Image:
    """Decode a picture.

    Raises:
        DataUnavailableError: if it is damaged, or has 16 bits per pixel, as the file does not
            specify how many of them are used.
    """
    with open_image(path) as image:
        if image.mode.startswith("I;16"):
            raise DataUnavailableError(
                f"{printable_path(path)} has more than 8 bits per pixel (mode {image.mode}).\n\n"
                "hint: convert the pictures to 8 bits per channel"
            )
        return apply_orientation(image)
