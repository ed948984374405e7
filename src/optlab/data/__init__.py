"""Data sets, from files to batches on the device.

Importing this package imports no torch: names are looked up when they are first used, so that
``data=auto`` can be settled (``optlab.data.availability``) while a command line is composed.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optlab.data.image_dataset import DataUnavailableError, ImageDataset
    from optlab.data.module import ImageDataModule
    from optlab.data.registry import DATASET_NAMES, load_dataset

_MODULE_OF = {
    "DATASET_NAMES": "registry",
    "DataUnavailableError": "image_dataset",
    "ImageDataModule": "module",
    "ImageDataset": "image_dataset",
    "load_dataset": "registry",
}

__all__ = [
    "DATASET_NAMES",
    "DataUnavailableError",
    "ImageDataModule",
    "ImageDataset",
    "load_dataset",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
