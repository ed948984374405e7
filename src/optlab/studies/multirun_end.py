"""Print the ranked table, write the report and set the exit code at the end of a multirun."""

import sys
import traceback
import uuid
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from shlex import quote
from typing import Any, cast

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict

from optlab.runs.folder import RunFolder, tagged_with
from optlab.runs.json_fields import DamagedFile
from optlab.runs.record import find_record
from optlab.runs.study_file import edit_study_file, read_study_file
from optlab.training.commands import NO_COMMAND, STUDY_ID, study_command
from optlab.training.run_id import resolve_path


class StudyReport(Callback):
    """A Hydra callback, which runs after any launcher and sweeper."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Give the command an ID that is passed to its runs, in any process and on any machine."""
        self.command_id = f"command-{uuid.uuid4().hex}"
        with open_dict(config):
            config.hydra.overrides.hydra.append(f"+{STUDY_ID}{self.command_id}")

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Report every study with runs of this command. Exit with code 1 if a run failed."""
        if config.plan:
            return
        folders = tagged_with(resolve_path(config.outputs), self.command_id)
        # All runs of this command have ended, so another command holds these locks
        held = [folder for folder in folders if RunFolder(folder).is_locked]
        folders = [folder for folder in folders if folder not in held]
        reported = True
        for study, runs in groupby(folders, key=lambda folder: folder.parent):
            try:
                write_study(study, config, title=_title(next(runs), config))
                _report(study)
            except ValueError as error:  # its message is enough for the user
                print(f"error: {error}", file=sys.stderr)
                reported = False
            except Exception:  # Hydra would only warn and exit with code 0
                traceback.print_exc()
                reported = False
        unfinished = [folder for folder in folders if not _succeeded(folder)]
        if unfinished:
            _print_failures(unfinished)
        for folder in held:
            print(f"  {folder.name}: another command is training it", file=sys.stderr)
        if unfinished or held or not reported:
            sys.exit(1)  # Hydra suppresses any other exception of a callback


def _succeeded(folder: Path) -> bool:
    """Return whether a run finished, or is a trial that diverged, which tuning may include."""
    record = find_record(folder)
    if record is None or record.status != "diverged":
        return record is not None and record.status == "finished"
    try:
        tuning = read_study_file(folder.parent).tuning
    except DamagedFile:  # the report mentions it
        return False
    return tuning is not None and record.hash in {row.hash for row in tuning.rows}


def _title(run: Path, config: DictConfig) -> str | None:
    """Return the title in a run's config: one that names a swept option differs by study."""
    try:
        composed = OmegaConf.load(RunFolder(run).config)
    except OSError:  # printed from its record only, by a launcher that is not Hydra's
        composed = config
    return cast("str | None", OmegaConf.select(composed, "title"))


def write_study(study: Path, config: DictConfig, title: str | None) -> None:
    """Write study.json: the commands, and published figures to show next to ours."""
    # A damaged file is not overwritten, so that the report can mention it
    with suppress(DamagedFile), edit_study_file(study) as file:
        command = study_command(config.hydra)
        file.study, file.title = study.name, None if title is None else str(title)
        file.commands = list(dict.fromkeys([*file.commands, *([command] if command else [])]))
        if config.published:
            file.published = cast("dict[str, Any]", OmegaConf.to_container(config.published))


def _report(study: Path) -> None:
    from optlab.analysis import read_study
    from optlab.report import make_report, print_summary
    from optlab.studies.mean_curves import write_mean_curves

    found = read_study(study)
    print_summary(found)
    page = make_report(study)
    write_mean_curves(found)
    print(f"\nreport       {page}")
    script = Path(sys.argv[0]).resolve().parent / "scripts" / "report.py"
    if script.is_file():
        if script.is_relative_to(Path.cwd()):
            script = script.relative_to(Path.cwd())
        print(f"again        python {quote(str(script))} {quote(str(study))}")
    print(f"tensorboard  tensorboard --logdir {quote(str(study.parent))}\n", flush=True)


def _print_failures(unfinished: list[Path]) -> None:
    print(f"runs without a result: {len(unfinished)}", file=sys.stderr)
    for folder in unfinished:
        record = find_record(folder)
        outcome = record.outcome if record else "no record"
        again = f"\n    again: {record.command or NO_COMMAND}" if record else ""
        print(f"  {folder.name}: {outcome}{again}", file=sys.stderr)
