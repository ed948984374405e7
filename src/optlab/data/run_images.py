"""Find and load the images of a trained run, without a data module.

A record does not contain the path of an official data set, as it does not affect results; the
config that Hydra saves with the run does. It is read here as plain YAML, without importing hydra or
lightning, which takes seconds.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from optlab.data.image_dataset import DataUnavailableError, ImageDataset
from optlab.data.registry import EUROPEAN, load_dataset
from optlab.data.splits import Split, split_train_part
from optlab.data.torchvision_datasets import is_complete
from optlab.runs.folder import RunFolder
from optlab.runs.record import RunRecord

_DATASET_OPTIONS = ("title", "image_size", "preparation")
_SPLIT_OPTIONS = ("num_folds", "fold", "train_fraction")


def load_run_images(run_dir: str | Path, record: RunRecord) -> tuple[ImageDataset, Split]:
    """Return the data set of a finished run and the split that it was trained with.

    Raises:
        DataUnavailableError: the images are nowhere here, or have changed since.
    """
    options = recorded_options(run_dir, record)
    chosen = {name: options[name] for name in _DATASET_OPTIONS if name in options}
    dataset = load_dataset(options["name"], options.get("root"), **chosen)
    check_checksum(dataset.checksum, run_dir, record)
    split = split_train_part(
        dataset.train_labels,
        val_fraction=options.get("val_fraction", 0.1),  # as ImageDataModule has it
        split_seed=options.get("split_seed", 0),
        **{name: options[name] for name in _SPLIT_OPTIONS if name in options},
    )
    return dataset, split


def recorded_options(run_dir: str | Path, record: RunRecord) -> dict[str, Any]:
    """Return the options of the run's data module, `root` as the folder in which its images are.

    An official set is searched for in the run's `data.root`, in $OPTLAB_DATA and in `data`.
    Relative paths are tried from the folder where the run was started, the folder that contains its
    `outputs`, and the current folder. Nothing is downloaded.

    Raises:
        DataUnavailableError: if the images are in none of these folders.
    """
    options = dict(record.config["data"])
    if "_target_" in options:
        raise DataUnavailableError(
            f"the images of {run_dir} come from a custom data module, {options['_target_']}, which "
            "cannot be loaded here.\n\nhint: build it yourself with the options in the run's config"
        )
    name: str = options["name"]
    files_of = EUROPEAN.get(name, name)
    if files_of != "digits":  # which are embedded
        options["root"] = str(_root(Path(run_dir), files_of, options.get("root")))
    return options


def check_checksum(checksum: str, run_dir: str | Path, record: RunRecord) -> None:
    """Raise DataUnavailableError where images are not those that the run was trained on."""
    trained_on = record.dataset.checksum or "none"
    if checksum != trained_on:
        data = record.config["data"]
        raise DataUnavailableError(
            f"the images of data={data['name']} in {data.get('root')} have changed since "
            f"{run_dir} was trained: their checksum is {checksum[:12]}, the record "
            f"has {trained_on[:12]}.\n\nhint: restore those images, or train the run again"
        )


def _root(run_dir: Path, name: str, recorded: str | None) -> Path:
    if recorded:  # of an image folder: there the path says which images
        places, hint = [Path(recorded)], "put the pictures back there, or train the run again"
    else:
        places = list(dict.fromkeys(_places(run_dir)))
        hint = "point OPTLAB_DATA at the folder that holds it"
    for place in places:
        if (place / "train").is_dir() if name == "image_folder" else is_complete(name, place):
            return place
    raise DataUnavailableError(
        f"{run_dir} was trained on data={name}, which is missing or incomplete in "
        f"{', '.join(map(str, places))}.\n\nhint: {hint}"
    )


def _places(run_dir: Path) -> Iterator[Path]:
    """Return possible folders of the images, the likeliest first; some may be the same."""
    typed = _kept_by_hydra(RunFolder(run_dir).config, "data", "root")
    started = _kept_by_hydra(RunFolder(run_dir).hydra, "hydra", "runtime", "cwd")
    if typed and "${" in typed:  # the default, kept as conf/ has it: what follows
        typed = None
    bases = [Path(started)] if started else []
    bases += [run_dir / ".." / ".." / "..", Path()]
    for root in (typed, os.environ.get("OPTLAB_DATA"), "data"):
        if root:
            yield from ((base / Path(root).expanduser()).resolve() for base in bases)


def _kept_by_hydra(path: Path, *keys: str) -> str | None:
    """One value of a file that Hydra wrote into the run; None where it is not there."""
    if not path.is_file():  # runs made without Hydra, and all replicas but the first
        return None
    value = yaml.safe_load(path.read_text(encoding="utf-8"))
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return None if value is None else str(value)
