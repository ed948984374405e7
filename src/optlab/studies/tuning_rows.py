"""A fair sweep's part of study.json: its trials before they start, its winners before they run."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from optlab.runs.study_file import (
    StudyFile,
    TrialRow,
    TuningRows,
    WinnerRow,
    edit_study_file,
    lock_study_file,
    read_study_file,
    study_path,
    write_study_file,
)


def note(rows: Iterable[tuple[Path, TrialRow]]) -> None:
    """Put trials and winners into study.json of their study's folder."""
    by_study: dict[Path, list[TrialRow]] = defaultdict(list)
    for study, row in rows:
        by_study[study].append(row)
    for study, found in by_study.items():
        with edit_study_file(study) as file:
            file.tuning = _added(file.tuning or TuningRows(), found)


def _added(older: TuningRows, rows: list[TrialRow]) -> TuningRows:
    """Return a study's tuning with a sweep's rows added.

    A run that chose values must never count as a result, so earlier trials stay. Earlier winners
    stay as well, but a configuration that was tuned again has its newer winners only: of two, the
    better one would be chosen a second time.
    """
    winners = [row for row in rows if isinstance(row, WinnerRow)]
    trials = [row for row in rows if not isinstance(row, WinnerRow)]
    hashes = {row.hash for row in trials}
    again = {winner.configuration for winner in winners}
    return TuningRows(
        rows=[*(row for row in older.rows if row.hash not in hashes), *trials],
        winners=[*(each for each in older.winners if each.configuration not in again), *winners],
    )


def read_files(studies: Iterable[Path]) -> dict[Path, StudyFile | None]:
    """Read study.json of each study; None where there is none."""
    return {
        study: read_study_file(study) if study_path(study).exists() else None for study in studies
    }


@contextmanager
def restored_if_refused(
    before: Mapping[Path, StudyFile | None], folders: Iterable[Path]
) -> Iterator[None]:
    """Launch runs whose rows were just noted; take the rows back if none of the runs was started.

    A file that another command has changed since keeps the rows.

    Args:
        before: what `read_files` read before the rows were noted.
        folders: of the runs.
    """
    noted = read_files(before)
    try:
        yield
    except ValueError:  # a config contradicts itself, so most likely none was started
        if not any(folder.exists() for folder in folders):
            _restore(before, noted)
        raise


def _restore(
    before: Mapping[Path, StudyFile | None], noted: Mapping[Path, StudyFile | None]
) -> None:
    for study, file in before.items():
        with lock_study_file(study):
            if read_files([study])[study] != noted[study]:
                continue
            if file is None:
                study_path(study).unlink(missing_ok=True)
            else:
                write_study_file(study, file)
