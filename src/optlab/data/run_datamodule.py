"""The data module of a run that has been trained, for those who look at its images afterwards."""

from pathlib import Path

from optlab.data.module import ImageDataModule
from optlab.data.run_images import check_checksum, recorded_options
from optlab.runs.record import RunRecord


def load_run_datamodule(run_dir: str | Path, record: RunRecord) -> ImageDataModule:
    """The data module of a finished run, set up: the same images in the same parts.

    Args:
        run_dir: the run's folder, `outputs/<study>/<run name>-<hash>`.
        record: its record.

    Raises:
        DataUnavailableError: the images are nowhere here, or have changed since.
    """
    datamodule = ImageDataModule(**recorded_options(run_dir, record))
    datamodule.setup()
    check_checksum(datamodule.checksum, run_dir, record)
    return datamodule
