"""The end of a multirun: the ranked table, the report, and an exit code that tells the truth."""

import sys
import traceback
import uuid
from itertools import groupby
from pathlib import Path
from shlex import quote
from typing import Any, cast

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict

from optlab.training import record as records

_NAME_OF_COMMAND = f"+hydra.job.env_set.{records.COMMAND_ID}"


class StudyReport(Callback):
    """A Hydra callback, so it comes after every launcher and sweeper alike."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Gives the command a name that reaches its runs, in whatever process or machine."""
        self.command_id = f"command-{uuid.uuid4().hex}"
        with open_dict(config):
            config.hydra.overrides.hydra.append(f"{_NAME_OF_COMMAND}={self.command_id}")

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Reports every study that the command touched. Exits with 1 if one of its runs failed."""
        if config.plan:
            return
        folders = runs_of_command(Path(config.outputs), self.command_id)
        reported = True
        for study, runs in groupby(folders, key=lambda folder: folder.parent):
            try:
                write_study(study, config, title=_title(next(runs), config))
                _report(study)
            except Exception:  # Hydra would make a warning of it and exit with 0
                traceback.print_exc()
                reported = False
        unfinished = [folder for folder in folders if not _as_expected(folder)]
        if unfinished:
            _tell(unfinished)
        if unfinished or not reported:
            sys.exit(1)  # SystemExit passes Hydra, which swallows what callbacks raise else


def runs_of_command(outputs: Path, command_id: str) -> list[Path]:
    """Folders of the runs that a command trained or found done."""
    folders = records.marked_with(outputs, command_id)
    # Of this command none is left in training, so a run that is held is another's
    return sorted(folder for folder in folders if not records.in_training(folder))


def _as_expected(folder: Path) -> bool:
    """Whether a run finished, or is a trial that diverged: a search space may reach that far."""
    record = records.read_record(folder) or {}
    if record.get("status") != "diverged":
        return record.get("status") == "finished"
    tuning = (records.read_json(folder.parent / "study.json") or {}).get("tuning") or {}
    return record["hash"] in {row["hash"] for row in tuning.get("rows", ())}


def _title(run: Path, config: DictConfig) -> str | None:
    """The study's title as a run of it has it: one that names a swept knob differs by study."""
    try:
        composed = OmegaConf.load(run / ".hydra" / "config.yaml")
    except OSError:  # told from its record alone, by a launcher that is not Hydra's
        composed = config
    return cast("str | None", OmegaConf.select(composed, "title"))


def write_study(study: Path, config: DictConfig, title: str | None) -> None:
    """study.json: the commands, and published figures to stand beside ours."""
    path = study / "study.json"
    previous = records.read_json(path)
    if previous is None and path.exists():
        return  # it cannot be read, which the report says; written anew, nobody would know
    typed = [*config.hydra.overrides.hydra, *config.hydra.overrides.task]
    ours = ("hydra.mode=MULTIRUN", _NAME_OF_COMMAND)
    overrides = [str(override) for override in typed if not str(override).startswith(ours)]
    former = (previous or {}).get("commands") or []
    published = (previous or {}).get("published")
    if config.published:
        published = OmegaConf.to_container(config.published)
    records.write_json(
        path,
        {
            "study": study.name,
            "title": title,
            "commands": list(dict.fromkeys([*former, records.command(["-m", *overrides])])),
            "published": published,
            "tuning": (previous or {}).get("tuning"),
        },
    )


def _report(study: Path) -> None:
    from optlab.results import make_report, print_summary, read_study
    from optlab.studies.mean_curves import write_mean_curves

    found = read_study(study)
    print_summary(found)
    page = make_report(study)
    write_mean_curves(found)
    print(
        f"\nreport       {page}\n"
        f"again        python scripts/report.py {quote(str(study))}\n"
        f"tensorboard  tensorboard --logdir {quote(str(study.parent))}\n",
        flush=True,
    )


def _tell(unfinished: list[Path]) -> None:
    print(f"{len(unfinished)} of the runs came to no result:", file=sys.stderr)
    for folder in unfinished:
        record = records.read_record(folder)
        outcome = records.describe(record) if record else "no record"
        again = f"\n    again: {record['command']}" if record else ""
        print(f"  {folder.name}: {outcome}{again}", file=sys.stderr)
