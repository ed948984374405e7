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
from optlab.training.commands import FROM_PYTHON, STUDY_ID, study_command
from optlab.training.identity import resolve_path


class StudyReport(Callback):
    """A Hydra callback, so it comes after every launcher and sweeper alike."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Gives the command a name that reaches its runs, in whatever process or machine."""
        self.command_id = f"command-{uuid.uuid4().hex}"
        with open_dict(config):
            config.hydra.overrides.hydra.append(f"+{STUDY_ID}{self.command_id}")

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Reports every study that the command touched. Exits with 1 if one of its runs failed."""
        if config.plan:
            return
        folders = sorted(records.marked_with(resolve_path(config.outputs), self.command_id))
        # None of this command's runs is in training any more
        held = [folder for folder in folders if records.in_training(folder)]
        folders = [folder for folder in folders if folder not in held]
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
            _print_failures(unfinished)
        for folder in held:
            print(f"  {folder.name}: another command is training it", file=sys.stderr)
        if unfinished or held or not reported:
            sys.exit(1)  # SystemExit passes Hydra, which swallows what callbacks raise else


def _as_expected(folder: Path) -> bool:
    """Whether a run finished, or is a trial that diverged: a search space may reach that far."""
    record = records.read_record(folder) or {}
    if record.get("status") != "diverged":
        return record.get("status") == "finished"
    tuning = (records.read_json(folder.parent / "study.json") or {}).get("tuning") or {}
    return record["hash"] in {row["hash"] for row in tuning.get("rows", ())}


def _title(run: Path, config: DictConfig) -> str | None:
    """The study's title as a run of it has it: one that names a swept option differs by study."""
    try:
        composed = OmegaConf.load(run / ".hydra" / "config.yaml")
    except OSError:  # told from its record alone, by a launcher that is not Hydra's
        composed = config
    return cast("str | None", OmegaConf.select(composed, "title"))


def write_study(study: Path, config: DictConfig, title: str | None) -> None:
    """Write study.json: the commands, and published figures to show next to ours."""
    path = study / "study.json"
    previous = records.read_json(path)
    if previous is None and path.exists():
        return  # it cannot be read, which the report says; written anew, nobody would know
    command = study_command(config.hydra)
    commands = [*((previous or {}).get("commands") or []), *([command] if command else [])]
    published = (previous or {}).get("published")
    if config.published:
        published = OmegaConf.to_container(config.published)
    records.write_json(
        path,
        {
            "study": study.name,
            "title": title,
            "commands": list(dict.fromkeys(commands)),
            "published": published,
            "tuning": (previous or {}).get("tuning"),
        },
    )


def _report(study: Path) -> None:
    from optlab.analysis import read_study
    from optlab.report import make_report, print_summary
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


def _print_failures(unfinished: list[Path]) -> None:
    print(f"runs without a result: {len(unfinished)}", file=sys.stderr)
    for folder in unfinished:
        record = records.read_record(folder)
        outcome = records.describe(record) if record else "no record"
        again = f"\n    again: {record['command'] or FROM_PYTHON}" if record else ""
        print(f"  {folder.name}: {outcome}{again}", file=sys.stderr)
