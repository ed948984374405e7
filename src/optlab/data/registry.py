"""The data sets by name, each loaded once per process."""

import os
from functools import lru_cache
from pathlib import Path
from typing import get_args

from optlab.data.image_dataset import ImageDataset, Preparation
from optlab.ranges import check, check_choice

# Sets with drawn digits in their train part, and the sets that they begin with
EUROPEAN = {"mnist_european": "mnist", "digits_european": "digits"}
DATASET_NAMES = ("mnist", "fashion_mnist", "cifar10", "digits", "image_folder", *EUROPEAN)


def load_dataset(
    name: str,
    root: str | os.PathLike[str] | None = None,
    *,
    title: str | None = None,
    image_size: int | None = None,
    preparation: Preparation | None = None,
) -> ImageDataset:
    """Load the data set `name` from disk, by download or embedded; later calls return the same one.

    Args:
        name: one of DATASET_NAMES.
        root: folder of the official sets, or the image folder itself; digits needs none.
            None means `$OPTLAB_DATA`, else `data`.
        title: name of an image folder in tables; None for the name of the folder.
        image_size: side in pixels to resize the images of a folder to; None keeps their size.
        preparation: how to convert users' pictures for networks of an image folder; None resizes.

    Raises:
        DataUnavailableError: the set is missing, damaged, or cannot be fetched.
        ValueError: unknown name, or an option that the set would ignore.
    """
    check_choice("data.name", name, DATASET_NAMES)
    if name != "image_folder":
        only_there = {"title": title, "image_size": image_size, "preparation": preparation}
        for option, value in only_there.items():
            if value is not None:
                raise ValueError(
                    f"data.{option} is {value!r}, but data={name} would ignore it.\n\n"
                    f"hint: remove data.{option}; it is only for data=image_folder"
                )
    elif root is None:
        raise ValueError(
            "data=image_folder needs data.root.\n\n"
            "hint: data.root=PATH, a folder with train/<class>/*.png and test/<class>/*.png"
        )
    check("data.image_size", image_size, ">= 1")
    if preparation is not None:
        check_choice("data.preparation", preparation, get_args(Preparation))
    folder = Path(root if root is not None else os.environ.get("OPTLAB_DATA", "data"))
    return _load_once(
        name, folder.expanduser().absolute(), title, image_size, preparation or "resize"
    )


@lru_cache(maxsize=4)  # a process compares on one set, rarely on two
def _load_once(
    name: str, root: Path, title: str | None, image_size: int | None, preparation: Preparation
) -> ImageDataset:
    # Imported where needed: each source brings libraries that the others do without.
    if name == "digits":
        from optlab.data.digits import load_digits

        return load_digits()
    if name == "image_folder":
        from optlab.data.image_folder import load_image_folder

        return load_image_folder(root, title=title, image_size=image_size, preparation=preparation)
    if name in EUROPEAN:
        from optlab.data.european_digits import with_european_digits

        base = _load_once(EUROPEAN[name], root, None, None, "resize")
        return with_european_digits(base, name)
    from optlab.data import torchvision_datasets

    load = {
        "mnist": torchvision_datasets.load_mnist,
        "fashion_mnist": torchvision_datasets.load_fashion_mnist,
        "cifar10": torchvision_datasets.load_cifar10,
    }
    return load[name](root)


def clear_dataset_cache() -> None:
    """Clear the cache of loaded sets, so that their memory can be freed."""
    _load_once.cache_clear()
