"""Write the trials and winners of a fair sweep to study.json, before their runs start."""

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


def add_rows(rows: Iterable[tuple[Path, TrialRow]]) -> None:
    """Add trials and winners to the study.json of their study."""
    by_study: dict[Path, list[TrialRow]] = defaultdict(list)
    for study, row in rows:
        by_study[study].append(row)
    for study, found in by_study.items():
        with edit_study_file(study) as file:
            file.tuning = _added(file.tuning or TuningRows(), found)


def _added(older: TuningRows, rows: list[TrialRow]) -> TuningRows:
    """Return a study's tuning with a sweep's rows added.

    A tuning run must never count as a result, so earlier trials are kept. Earlier winners are kept
    as well, but a configuration that was tuned again keeps only its newer winners. Otherwise the
    better of two would be selected, which is tuning again.
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
    """Read the study.json of each study; None if a study has none."""
    return {
        study: read_study_file(study) if study_path(study).exists() else None for study in studies
    }


@contextmanager
def restore_if_not_started(
    before: Mapping[Path, StudyFile | None], folders: Iterable[Path]
) -> Iterator[None]:
    """Launch runs whose rows were just written; restore study.json if none of them was started.

    A file that another command has changed in the meantime is not restored.

    Args:
        before: result of `read_files` before the rows were written.
        folders: folders of the runs.
    """
    noted = read_files(before)
    try:
        yield
    except ValueError:  # an invalid config, so most likely no run was started
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
