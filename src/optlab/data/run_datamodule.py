"""Load the data module of a finished run, to use its images again."""

from pathlib import Path

from optlab.data.module import ImageDataModule
from optlab.data.run_images import check_checksum, recorded_options
from optlab.runs.record import RunRecord


def load_run_datamodule(run_dir: str | Path, record: RunRecord) -> ImageDataModule:
    """Return the data module of a finished run after `setup()`, with the same images and split.

    Args:
        run_dir: the run's folder, `outputs/<study>/<run name>-<hash>`.
        record: its record.

    Raises:
        DataUnavailableError: if the images cannot be found, or have changed since.
    """
    datamodule = ImageDataModule(**recorded_options(run_dir, record))
    datamodule.setup()
    check_checksum(datamodule.checksum, run_dir, record)
    return datamodule
