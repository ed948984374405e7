"""MNIST, Fashion-MNIST and CIFAR-10 as published, found on disk or fetched by torchvision.

Files are stored where torchvision puts them. They are verified before use and never written to. A
download goes to a staging folder under a lock, so that neither an interrupted nor a parallel
download leaves a partial file.
"""

import gzip
import hashlib
import pickle
import shutil
import socket
import struct
import warnings
import zlib
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor
from torchvision.datasets import CIFAR10, MNIST, FashionMNIST

from optlab.data.image_dataset import DataUnavailableError, ImageDataset, channel_statistics

_STALL_TIMEOUT_S = 30  # a connection that is silent for so long counts as lost

_IDX_SHAPES = {
    "train-images-idx3-ubyte": (60_000, 28, 28),
    "train-labels-idx1-ubyte": (60_000,),
    "t10k-images-idx3-ubyte": (10_000, 28, 28),
    "t10k-labels-idx1-ubyte": (10_000,),
}
# Of the uncompressed contents; torchvision publishes the md5 of the .gz files only.
_MNIST_RAW_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
_CIFAR10_CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)


def is_complete(name: str, root: Path) -> bool:
    """Whether every file of an official set is under `root`; their contents are not read."""
    if name == "cifar10":
        files = [file for file, _ in [*CIFAR10.train_list, *CIFAR10.test_list]]
        return all((root / CIFAR10.base_folder / file).is_file() for file in files)
    raw = root / {"mnist": MNIST, "fashion_mnist": FashionMNIST}[name].__name__ / "raw"
    return all((raw / f).is_file() or (raw / f"{f}.gz").is_file() for f in _IDX_SHAPES)


def load_mnist(root: Path) -> ImageDataset:
    """MNIST. LeCun, Cortes and Burges 1998, http://yann.lecun.com/exdb/mnist/."""
    tensors = _load_idx_set("mnist", MNIST, root, _MNIST_RAW_MD5)
    return ImageDataset(
        "mnist",
        "MNIST",
        *tensors,
        class_names=tuple(str(digit) for digit in range(10)),
        mean=(0.1307,),  # the constants that published MNIST recipes use
        std=(0.3081,),
        preparation="mnist",
    )


def load_fashion_mnist(root: Path) -> ImageDataset:
    """Fashion-MNIST. Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747."""
    tensors = _load_idx_set("fashion_mnist", FashionMNIST, root, {})
    mean, std = channel_statistics(tensors[0])
    return ImageDataset(
        "fashion_mnist",
        "Fashion-MNIST",
        *tensors,
        class_names=tuple(FashionMNIST.classes),
        mean=mean,
        std=std,
        preparation="fashion_mnist",
    )


def load_cifar10(root: Path) -> ImageDataset:
    """CIFAR-10. Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html."""
    folder = root / CIFAR10.base_folder
    if not is_complete("cifar10", root):
        _fetch("cifar10", CIFAR10, root, [Path(CIFAR10.filename)], [CIFAR10.url])
    train = [_read_cifar_batch(folder / name, md5) for name, md5 in CIFAR10.train_list]
    test = [_read_cifar_batch(folder / name, md5) for name, md5 in CIFAR10.test_list]
    return ImageDataset(
        "cifar10",
        "CIFAR-10",
        torch.cat([images for images, _ in train]),
        torch.cat([labels for _, labels in train]),
        torch.cat([images for images, _ in test]),
        torch.cat([labels for _, labels in test]),
        class_names=_CIFAR10_CLASSES,
        mean=(0.4914, 0.4822, 0.4465),  # the usual constants, per channel R, G, B
        std=(0.2470, 0.2435, 0.2616),
        preparation="center_crop",
    )


def _read_cifar_batch(path: Path, md5: str) -> tuple[Tensor, Tensor]:
    contents = path.read_bytes()
    if hashlib.md5(contents, usedforsecurity=False).hexdigest() != md5:
        raise _damaged(path, "its md5 is not the published one")
    with warnings.catch_warnings():
        # The published pickles were written by a NumPy that spelled a flag as 0.
        warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
        batch = pickle.loads(contents, encoding="latin1")  # safe: the md5 above is the publisher's
    images = torch.from_numpy(np.array(batch["data"], dtype=np.uint8).reshape(-1, 3, 32, 32))
    return images, torch.tensor(batch["labels"], dtype=torch.int64)


def _load_idx_set(
    name: str, dataset: type[MNIST], root: Path, raw_md5: dict[str, str]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Train images, train labels, test images, test labels of a set in MNIST's IDX files."""
    folder = root / dataset.__name__ / "raw"
    if not is_complete(name, root):
        archives = [Path(dataset.__name__, "raw", file) for file, _ in dataset.resources]
        _fetch(name, dataset, root, archives, list(dataset.mirrors))
    parts = []
    for file, shape in _IDX_SHAPES.items():
        tensor = _read_idx(folder / file, shape, raw_md5.get(file))
        # (N, H, W) images get their channel; labels become class indices
        parts.append(tensor.unsqueeze(1) if tensor.ndim == 3 else tensor.long())
    train_images, train_labels, test_images, test_labels = parts
    if not raw_md5:  # no published md5 of the bare files: labels must at least be balanced
        for file, labels in (("train", train_labels), ("t10k", test_labels)):
            if (labels.bincount(minlength=10) != len(labels) // 10).any():
                path = folder / f"{file}-labels-idx1-ubyte"
                raise _damaged(path, "its classes are not equally frequent")
    return train_images, train_labels, test_images, test_labels


def _read_idx(path: Path, shape: tuple[int, ...], raw_md5: str | None) -> Tensor:
    """Return a verified IDX file; if it does not exist, its .gz is decompressed in memory.

    The uncompressed contents are verified, as compressing them again gives a different .gz.
    """
    if path.is_file():
        contents = np.fromfile(path, dtype=np.uint8)
    else:
        path = path.with_name(f"{path.name}.gz")
        try:
            contents = np.frombuffer(bytearray(gzip.decompress(path.read_bytes())), dtype=np.uint8)
        except (OSError, EOFError, zlib.error) as error:
            raise _damaged(path, f"it cannot be decompressed ({error})") from error
    if raw_md5 and hashlib.md5(contents.data, usedforsecurity=False).hexdigest() != raw_md5:
        raise _damaged(path, "the md5 of its contents differs from the published one")
    # IDX header: 0, 0, 8 (unsigned byte), number of dimensions, then each as big-endian uint32
    header = struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape)
    if contents[: len(header)].tobytes() != header or contents.size != len(header) + np.prod(shape):
        raise _damaged(path, f"it should hold {' x '.join(map(str, shape))} bytes after its header")
    return torch.from_numpy(contents[len(header) :]).view(shape)


def _damaged(path: Path, reason: str) -> DataUnavailableError:
    return DataUnavailableError(
        f"{path} is damaged: {reason}.\n\n"
        "hint: delete this file (and its .gz or .tar.gz) and run again to download it, "
        "or point OPTLAB_DATA at a folder with an intact copy"
    )


def _fetch(
    name: str,
    dataset: Callable[..., object],
    root: Path,
    archives: list[Path],
    addresses: list[str],
) -> None:
    """Download with torchvision (which checks md5) into staging, then move into `root`.

    Args:
        archives: compressed files relative to `root`; one that is there already is used.
        addresses: where torchvision fetches from, for the message.
    """
    staging = root / f".download-{name}"
    timeout_before = socket.getdefaulttimeout()
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".download-{name}.lock"):
            if is_complete(name, root):  # another process fetched it while we waited for the lock
                return
            shutil.rmtree(staging, ignore_errors=True)  # left by a killed download: lock is ours
            for archive in archives:
                if (root / archive).is_file():
                    (staging / archive).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(root / archive, staging / archive)
            socket.setdefaulttimeout(_STALL_TIMEOUT_S)
            try:
                dataset(staging, download=True)
                for path in sorted(staging.rglob("*")):
                    target = root / path.relative_to(staging)
                    if path.is_dir():
                        target.mkdir(exist_ok=True)
                    else:
                        path.replace(target)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
    except (OSError, RuntimeError, HTTPException) as error:  # what torchvision's download raises
        raise DataUnavailableError(
            f"data={name} is not in {root} and could not be downloaded.\n"
            f"tried: {', '.join(addresses)}\n"
            f"failed with: {str(error).strip() or type(error).__name__}\n\n"
            "hint: set OPTLAB_DATA (or data.root) to a folder with the files; or connect to the "
            "network and check that the folder is writable; or use data=digits, which needs no "
            "download"
        ) from error
    finally:
        socket.setdefaulttimeout(timeout_before)
