"""Any tree of pictures, `train/<class>/*.png` and `test/<class>/*.png`, as one data set.

Every picture is decoded once, in threads, and the uint8 result is kept in a cache outside the
folder (which may be read-only): `$OPTLAB_CACHE`, or `data/cache`. The cache is keyed by names,
sizes and modification times of all pictures, so a changed folder is read afresh.
"""

import hashlib
import logging
import os
import pickle
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from filelock import FileLock
from PIL import Image
from torch import Tensor

from optlab.data.source import (
    DataUnavailableError,
    Source,
    channel_statistics,
    checksum_of,
)
from optlab.files import whole_file

log = logging.getLogger(__name__)

_SUFFIXES = (".png", ".jpg", ".jpeg")
_GREY_MODES = ("1", "L", "LA")
_WIDE_MODES = ("I", "I;16", "I;16B", "I;16L", "F")  # more than 8 bits: PIL would clip, not scale
_FILES_PER_TASK = 256
_CACHE_VERSION = 1


class _Picture(NamedTuple):
    path: str
    label: int
    num_bytes: int
    modified_ns: int


class _ColourFoundError(Exception):
    """Decoding as grey met a colour picture: start again with three channels."""


def load_image_folder(root: Path, *, title: str | None, image_size: int | None) -> Source:
    """The pictures under `root`, classes named by their folders in alphabetical order.

    One channel if every picture is grey, else three; an alpha channel is dropped.

    Args:
        root: folder with `train/<class>/` and `test/<class>/`; png, jpg and jpeg files count.
        title: how tables call the set; None means the folder's name.
        image_size: pixels; every picture is resized (bilinear, antialiased) to this square.
            None: the pictures are square and agree in size already.
    """
    class_names = _class_names(root / "train")
    unknown = sorted(set(_class_names(root / "test")) - set(class_names))
    if unknown:
        raise DataUnavailableError(
            f"{root / 'test' / unknown[0]} is a class that train does not have "
            f"(train has {', '.join(class_names)}).\n\n"
            "hint: give train and test the same class folders"
        )
    train = _pictures(root / "train", class_names)
    test = _pictures(root / "test", class_names)
    cache = _cache_path(root, train, test, class_names, image_size)
    contents = _read_cache(cache)
    if contents is None:
        contents = _decode_under_lock(cache, train, test, image_size)
    return Source(
        name="image_folder",
        title=title or root.resolve().name,
        train_images=contents["train_images"],
        train_labels=contents["train_labels"],
        test_images=contents["test_images"],
        test_labels=contents["test_labels"],
        class_names=tuple(class_names),
        mean=tuple(contents["mean"]),
        std=tuple(contents["std"]),
    )


def _class_names(part: Path) -> list[str]:
    if not part.is_dir():
        raise DataUnavailableError(
            f"data=image_folder needs the folder {part}, which does not exist.\n\n"
            "hint: set data.root to a folder that holds train/<class>/*.png and "
            "test/<class>/*.png (jpg and jpeg too)"
        )
    names = sorted(e.name for e in os.scandir(part) if e.is_dir() and not e.name.startswith("."))
    if not names:
        raise DataUnavailableError(
            f"{part} holds no class folders.\n\n"
            f"hint: sort the pictures into one folder per class, {part}/<class>/*.png"
        )
    return names


def _pictures(part: Path, class_names: list[str]) -> list[_Picture]:
    pictures = []
    for label, class_name in enumerate(class_names):
        folder = part / class_name
        if part.name == "test" and not folder.is_dir():
            continue  # a class may be absent from the test part
        found = [
            _Picture(entry.path, label, entry.stat().st_size, entry.stat().st_mtime_ns)
            for entry in os.scandir(folder)
            if entry.name.lower().endswith(_SUFFIXES) and not entry.name.startswith(".")
        ]
        if not found:
            raise DataUnavailableError(
                f"{folder} holds no pictures ({', '.join(_SUFFIXES)}).\n\n"
                "hint: add pictures to this class, or remove its folder from train and test"
            )
        pictures += sorted(found)
    return pictures


def _cache_path(
    root: Path,
    train: list[_Picture],
    test: list[_Picture],
    class_names: list[str],
    image_size: int | None,
) -> Path:
    """Where these very pictures are cached; does not depend on where the folder itself lies."""
    digest = hashlib.sha256(f"{_CACHE_VERSION} {image_size} {class_names}".encode())
    for picture in [*train, *test]:
        name = os.path.relpath(picture.path, root)
        digest.update(f"{name}\0{picture.num_bytes}\0{picture.modified_ns}\n".encode())
    folder = Path(os.environ.get("OPTLAB_CACHE") or Path("data", "cache")).expanduser()
    return folder / f"image_folder-{digest.hexdigest()[:24]}.pt"


def _decode_under_lock(
    cache: Path, train: list[_Picture], test: list[_Picture], image_size: int | None
) -> dict[str, Any]:
    """Decode and cache; parallel processes wait for the first instead of decoding again."""
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(cache.with_suffix(".lock"))
        lock.acquire()
    except OSError as error:
        log.warning(
            "the pictures are decoded anew in every process, because the cache folder %s cannot "
            "be written (%s); set OPTLAB_CACHE to a folder that can",
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
    """The cached contents, or None where there are none or they are not what was written."""
    if not cache.is_file():
        return None
    try:
        contents = torch.load(cache, weights_only=True)
        intact = contents["checksum"] == _checksum(contents)
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError):
        intact = False
    if not intact:
        log.warning("%s is damaged; the pictures are decoded again", cache)
        return None
    return contents


def _write_cache(cache: Path, contents: dict[str, Any]) -> None:
    try:
        with whole_file(cache) as partial:
            torch.save(contents, partial)
    except (OSError, RuntimeError) as error:  # a full disk: torch.save raises RuntimeError
        log.warning("the decoded pictures could not be cached in %s: %s", cache, error)


def _checksum(contents: dict[str, Any]) -> str:
    parts = ("train_images", "train_labels", "test_images", "test_labels")
    return checksum_of(*(contents[part] for part in parts))


def _decode_parts(
    train: list[_Picture], test: list[_Picture], image_size: int | None
) -> dict[str, Any]:
    pictures = [*train, *test]
    first, mode = _decode(pictures[0], image_size, num_channels=None)
    if first.shape[0] != first.shape[1]:
        raise DataUnavailableError(
            f"{pictures[0].path} has {first.shape[1]} x {first.shape[0]} pixels, "
            "but networks take square pictures.\n\n"
            f"hint: set data.image_size={max(first.shape[:2])}, which resizes every picture"
        )
    num_channels = 1 if mode in _GREY_MODES else 3
    try:
        images = _decode_all(pictures, image_size, first.shape[0], num_channels)
    except _ColourFoundError:
        images = _decode_all(pictures, image_size, first.shape[0], num_channels=3)
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
    pictures: list[_Picture], image_size: int | None, size: int, num_channels: int
) -> Tensor:
    """uint8 (N, C, H, W) of all pictures; PIL decodes outside Python's lock, hence threads."""
    images = np.empty((len(pictures), size, size, num_channels), dtype=np.uint8)

    def decode_from(start: int) -> None:
        for index in range(start, min(start + _FILES_PER_TASK, len(pictures))):
            pixels, mode = _decode(pictures[index], image_size, num_channels)
            if num_channels == 1 and mode not in _GREY_MODES:
                raise _ColourFoundError
            if pixels.shape[:2] != (size, size):
                raise DataUnavailableError(
                    f"{pictures[index].path} has {pixels.shape[1]} x {pixels.shape[0]} pixels, "
                    f"but {pictures[0].path} has {size} x {size}.\n\n"
                    f"hint: set data.image_size={size}, which resizes every picture"
                )
            images[index] = pixels

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        tasks = [pool.submit(decode_from, i) for i in range(0, len(pictures), _FILES_PER_TASK)]
        try:
            for task in tasks:
                task.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def _decode(
    picture: _Picture, image_size: int | None, num_channels: int | None
) -> tuple[np.ndarray, str]:
    """Pixels uint8 (H, W, C) and PIL's mode; `num_channels` None takes the picture's own."""
    try:
        with Image.open(picture.path) as image:
            mode = image.mode
            if mode in _WIDE_MODES:
                raise DataUnavailableError(
                    f"{picture.path} has more than 8 bits per pixel (mode {mode}).\n\n"
                    "hint: convert the pictures to 8 bits per channel"
                )
            grey = num_channels == 1 or (num_channels is None and mode in _GREY_MODES)
            decoded = image.convert("L" if grey else "RGB")
            if image_size is not None:
                decoded = decoded.resize((image_size, image_size), Image.Resampling.BILINEAR)
            pixels = np.asarray(decoded)
    except DataUnavailableError:
        raise
    except (OSError, SyntaxError, ValueError, struct.error) as error:  # PIL on damaged files
        raise DataUnavailableError(
            f"{picture.path} cannot be read as a picture: {error}.\n\n"
            "hint: replace or remove this file"
        ) from error
    return (pixels[:, :, None] if pixels.ndim == 2 else pixels), mode
