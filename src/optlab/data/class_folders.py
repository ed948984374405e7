"""List the pictures of a folder: those below `train/<class>/` and `test/<class>/`."""

import logging
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize

from optlab.data.image_dataset import DataUnavailableError
from optlab.data.pictures import SUFFIXES, printable_path

log = logging.getLogger(__name__)


class PictureFile(NamedTuple):
    path: str
    label: int
    num_bytes: int
    modified_ns: int


def find_pictures(root: Path) -> tuple[list[str], list[PictureFile], list[PictureFile]]:
    """Return the class names in alphabetical order, and the pictures of train and of test.

    Pictures are sorted by class and path. The test part may lack classes. A warning counts files
    and folders that are ignored (other suffixes, other folders); hidden ones are skipped silently.

    Raises:
        DataUnavailableError: if a folder is missing, empty or misspelled, or a file cannot be read.
    """
    class_names, in_test = _class_names(root / "train"), _class_names(root / "test")
    _check_spelling(
        [*(root / "train" / n for n in class_names), *(root / "test" / n for n in in_test)]
    )
    unknown = sorted(set(in_test) - set(class_names))
    if unknown:
        raise DataUnavailableError(
            f"{root / 'test' / unknown[0]} is a class that train does not have "
            f"(train has {', '.join(class_names)}).\n\n"
            "hint: give train and test the same class folders"
        )
    unread = Counter(
        f"folder {entry.name}"
        for entry in os.scandir(root)
        if entry.is_dir() and entry.name not in ("train", "test") and not entry.name.startswith(".")
    )
    labels = {name: label for label, name in enumerate(class_names)}
    train = _pictures(root / "train", labels, unread)
    test = _pictures(root / "test", {name: labels[name] for name in in_test}, unread)
    if unread:
        listed = ", ".join(f"{count} {kind}" for kind, count in sorted(unread.items()))
        log.warning("ignored in %s: %s", printable_path(root), listed)
    return class_names, train, test


def _class_names(part: Path) -> list[str]:
    if not part.is_dir():
        raise DataUnavailableError(
            f"data=image_folder needs the folder {part}, which does not exist.\n\n"
            "hint: set data.root to a folder that holds train/<class>/*.png and "
            f"test/<class>/*.png (or {', '.join(SUFFIXES[1:])})"
        )
    names = sorted(e.name for e in os.scandir(part) if e.is_dir() and not e.name.startswith("."))
    if not names:
        raise DataUnavailableError(
            f"{part} has no class folders.\n\n"
            f"hint: sort the images into one folder per class, {part}/<class>/*.png"
        )
    return names


def _check_spelling(folders: list[Path]) -> None:
    """Refuse class names that are not UTF-8, or that look alike and differ in their code points."""
    known: dict[str, Path] = {}
    for folder in folders:
        if printable_path(folder.name) != folder.name:
            raise DataUnavailableError(
                f"the name of the folder {printable_path(folder)} is not valid UTF-8, so it cannot "
                "be the name of a class.\n\nhint: rename the folder"
            )
        other = known.setdefault(normalize("NFC", folder.name), folder)
        if other.name != folder.name:
            raise DataUnavailableError(
                f"{folder} and {other} look alike, but their names differ in Unicode: "
                f"{folder.name!a} and {other.name!a}.\n\n"
                "hint: rename one of the two by copying the name of the other"
            )


def _pictures(part: Path, labels: dict[str, int], unread: Counter[str]) -> list[PictureFile]:
    """Return the pictures below each class folder, and add to `unread` what else is there."""
    pictures = []
    for class_name, label in labels.items():
        folder = part / class_name
        found = []
        for path in sorted(_files_below(folder)):
            if not path.lower().endswith(SUFFIXES):
                unread[f"{Path(path).suffix or 'without suffix'} below {part.name}"] += 1
                continue
            try:
                status = os.stat(path)
            except OSError as error:
                raise DataUnavailableError(
                    f"{printable_path(path)} cannot be read: {error.strerror}.\n\n"
                    "hint: remove it, or restore the file that it links to"
                ) from error
            found.append(PictureFile(path, label, status.st_size, status.st_mtime_ns))
        if not found:
            raise DataUnavailableError(
                f"{folder} has no images ({', '.join(SUFFIXES)}).\n\n"
                "hint: add images to this class, or remove its folder"
            )
        pictures += found
    loose = [e for e in os.scandir(part) if not e.is_dir() and not e.name.startswith(".")]
    if loose:
        unread[f"in {part.name} outside of the class folders"] = len(loose)
    return pictures


def _files_below(folder: Path) -> Iterator[str]:
    """Yield the path of every file below a folder, through links as well, without hidden ones."""

    def refuse(error: OSError) -> None:
        raise DataUnavailableError(
            f"{printable_path(error.filename)} cannot be read: {error.strerror}.\n\n"
            "hint: change its permissions, or remove it"
        ) from error

    visited: set[str] = set()
    for path, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        here = os.path.realpath(path)
        if here in visited:  # a link leads back
            folders.clear()
            continue
        visited.add(here)
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (os.path.join(path, name) for name in names if not name.startswith("."))
