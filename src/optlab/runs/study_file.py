"""study.json: the commands of a study, and the outcome of its sweeps."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from optlab.files import write_json
from optlab.runs.json_fields import read_fields

STUDY_FORMAT = 1

TrialStatus = Literal["unfinished", "finished", "diverged", "failed"]
# "lower": stopped for lower validation accuracy; "no result": none of its runs finished
CandidateStatus = Literal["open", "lower", "no result"]

HINT = (
    "restore the file, which lists the runs that are trials, or use a new study for further sweeps "
    "with study=NAME"
)


@dataclass
class TrialRow:
    """One trial of a fair sweep. It is written before it starts, with status `unfinished`."""

    optimizer: str
    configuration: str  # hash of the config before tuning: what is tuned
    hash: str  # of the trial's run
    status: TrialStatus
    typed: list[str] = field(default_factory=list)  # overrides of the config before tuning
    tuning_seed: int | None = None
    for_seed: int | None = None  # the fresh seed that it tunes for; None: for all of them
    num_epochs: int | None = None  # of a shorter trial, in a halving; None: as the runs that count
    overrides: list[str] = field(default_factory=list)  # of the trial
    params: dict[str, Any] = field(default_factory=dict)  # the values that it tries
    val_accuracy: float | None = None  # at the judged weights, a fraction; None without a result


@dataclass
class WinnerRow(TrialRow):
    """The trial that won, and its runs on fresh seeds. `val_accuracy` is over all tuning seeds."""

    tuning_seeds: list[int] = field(default_factory=list)  # that these values were tried on
    num_trials: int = 0  # that it was chosen from
    edge: list[str] = field(default_factory=list)  # options at the edge of the searched space
    seeds: list[int] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)  # their hashes


@dataclass
class TuningRows:
    """The trials of all fair sweeps of a study, and the current winners."""

    rows: list[TrialRow] = field(default_factory=list)
    winners: list[WinnerRow] = field(default_factory=list)


@dataclass
class CandidateRow:
    """A configuration of an adaptive sweep (one fold of it), noted before its first run."""

    typed: list[str]  # its overrides
    runs: list[str]  # their hashes, one for each planned seed, in order
    num_rounds: int = 0  # that it has finished
    status: CandidateStatus = "open"


@dataclass
class AdaptiveRows:
    """The plan of a study's adaptive sweeps, and how far each configuration has come."""

    rounds: list[int]  # seeds of a configuration by the end of each round
    levels: list[float]  # share of the error rate of each round
    first_seed: int
    candidates: list[CandidateRow] = field(default_factory=list)


@dataclass
class LookRow:
    """The numbers of seeds at which reports have compared a configuration with others."""

    configuration: str  # hash of its config without seed and fold
    label: str  # as the newest of these reports calls it
    num_seeds: list[int] = field(default_factory=list)


@dataclass
class StudyFile:
    """All of study.json."""

    study: str | None = None  # name of the folder
    title: str | None = None
    commands: list[str] = field(default_factory=list)  # in their order
    # As in an experiment's config: source, metric and rows. `analysis.published` checks each row,
    # so that a row that cannot be compared does not affect the others
    published: dict[str, Any] | None = None
    tuning: TuningRows | None = None
    adaptive: AdaptiveRows | None = None
    looks: list[LookRow] = field(default_factory=list)
    format: int = STUDY_FORMAT


def study_path(study: Path) -> Path:
    """Return the path of study.json in a study's folder."""
    return study / "study.json"


def read_study_file(study: Path) -> StudyFile:
    """Read study.json of a study's folder; return an empty one if there is no such file.

    Raises:
        DamagedFile: it cannot be read, a field is missing or of another type, or it has another
            format.
    """
    try:
        return read_fields(study_path(study), StudyFile, version=STUDY_FORMAT, hint=HINT)
    except FileNotFoundError:
        return StudyFile()


def write_study_file(study: Path, content: StudyFile) -> None:
    """Write study.json in one atomic step."""
    write_json(study_path(study), asdict(content))


@contextmanager
def lock_study_file(study: Path) -> Iterator[None]:
    """Lock study.json against changes by other commands. Must not be nested."""
    from filelock import FileLock

    study.mkdir(parents=True, exist_ok=True)
    with FileLock(study / ".study.json.lock"):
        yield


@contextmanager
def edit_study_file(study: Path) -> Iterator[StudyFile]:
    """Yield what study.json contains, and write it when the block ends, if the block changed it.

    Other commands wait until then, so that none overwrites the rows of another. If the block
    raises, the file stays as it was.

    Raises:
        DamagedFile: as `read_study_file`.
    """
    with lock_study_file(study):
        file = read_study_file(study)
        before = deepcopy(file)
        yield file
        if file != before:
            write_study_file(study, file)
