"""Pack a study into one file, to compare new optimizers without training the others again.

The archive is a `.tar.xz` of the files in the study's folder that the analysis reads: study.json,
and for each run its record, its epochs.csv and its predicted classes for the test images. Weights,
steps.csv and images are not included.
"""

import io
import json
import lzma
import shutil
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from optlab.files import atomic_write
from optlab.runs.folder import RunFolder, recorded_runs
from optlab.runs.record import RunRecord, read_record
from optlab.runs.study_file import read_study_file, study_path


def pack_study(study: Path, archive: Path) -> int:
    """Write a study's archive and return the number of its runs.

    Test predictions of a fair sweep's trials are not included, as nothing uses them. The path of an
    image folder is reduced to its name. Archives of the same study are identical byte for byte.

    Args:
        study: the folder, such as outputs/mnist-mlp.
        archive: the file to write, *.tar.xz; an older one is replaced.

    Raises:
        OSError: there is no such folder.
        ValueError: the study has no recorded run, or a file of it is damaged.
    """
    study = study.resolve()  # has a name then, also as "."
    runs = sorted(folder for folder in study.iterdir() if RunFolder(folder).record.is_file())
    if not runs:
        raise ValueError(
            f"{study} has no recorded runs.\n\nhint: use the folder of a study, such as "
            "outputs/mnist-mlp"
        )
    tuning = read_study_file(study).tuning
    judged = {text for row in tuning.winners for text in row.runs} if tuning else set()
    trials = {row.hash for row in tuning.rows} - judged if tuning else set()
    with atomic_write(archive) as partial, tarfile.open(partial, "w:xz") as file:
        if study_path(study).is_file():
            _add(file, study.name, study_path(study).name, study_path(study).read_bytes())
        for folder in runs:
            files = RunFolder(folder)
            name = f"{study.name}/{folder.name}"
            record = read_record(folder)
            _add(file, name, files.record.name, _without_path(files.record.read_bytes(), record))
            if files.epochs.is_file():
                _add(file, name, files.epochs.name, files.epochs.read_bytes())
            if files.test_probabilities.is_file() and record.hash not in trials:
                _add(
                    file, name, files.test_predictions.name, _predictions(files.test_probabilities)
                )
    return len(runs)


def unpack_study(archive: Path, outputs: Path) -> Path:
    """Unpack a study's archive below `outputs` and return its folder.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not an archive of a study, or the study's folder is there already.
    """
    outputs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=outputs, prefix=".unpacking-") as partial:
        try:
            with tarfile.open(archive, "r:xz") as file:
                file.extractall(partial, filter="data")
        except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
            raise ValueError(
                f"{archive} is not an archive of a study ({error}).\n\n"
                "hint: create one with python scripts/archive.py pack"
            ) from error
        folders = list(Path(partial).iterdir())
        if len(folders) != 1 or not recorded_runs(Path(partial)):
            raise ValueError(
                f"{archive} has no study.\n\nhint: create one with python scripts/archive.py pack"
            )
        study = outputs / folders[0].name
        if study.exists():
            raise ValueError(
                f"{study} already exists.\n\n"
                "hint: use the existing folder, or choose another one with --outputs"
            )
        shutil.move(folders[0], study)
    return study


def _add(file: tarfile.TarFile, folder: str, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(f"{folder}/{name}")
    member.size = len(content)
    file.addfile(member, io.BytesIO(content))


def _without_path(content: bytes, record: RunRecord) -> bytes:
    """Return a record's file with the name of an image folder in place of its path."""
    data = record.config.get("data") or {}
    if data.get("name") != "image_folder":
        return content
    parsed = json.loads(content)
    parsed["config"]["data"]["root"] = Path(data["root"]).name
    return json.dumps(parsed, indent=1).encode()


def _predictions(answers: Path) -> bytes:
    """Return the classes of test_probabilities.npz, not compressed: xz compresses all runs."""
    try:
        with np.load(answers) as arrays:
            smallest = np.uint8 if arrays["labels"].max() < 256 else np.uint16
            classes = {
                name: (each if name == "labels" else each.argmax(axis=1)).astype(smallest)
                for name, each in arrays.items()
            }
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{answers} is damaged ({error}).\n\nhint: repeat the run with rerun=true"
        ) from error
    content = io.BytesIO()
    np.savez(content, **classes)
    return content.getvalue()
