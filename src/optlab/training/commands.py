"""Command lines: what Hydra can read, and the commands that repeat runs and studies.

Every launcher passes Hydra's config node to its processes, so the flags and overrides of the
command are available wherever a run is trained. Must not import torch.
"""

import re
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import OmegaConf

import optlab

COMMAND_ID = "OPTLAB_COMMAND"  # environment variable with the ID of a study's command
NO_COMMAND = "# started from Python: there is no command to repeat it"  # shown as the command
PROGRAM, CONFIG_NAME, CONFIG_FOLDER = "train.py", "train", "conf"
MODE = "hydra.mode="
STUDY_ID = f"hydra.job.env_set.{COMMAND_ID}="  # a study adds this override to its runs
# Name of the job in further processes of DDP. Lightning appends it to their commands, after
# hydra.run.dir and before hydra.output_subdir.
DDP_PROCESS = "train_ddp_process_"
# Options of a study that the command of a single run leaves out
STUDY_OPTIONS = ("hydra/launcher", "hydra.launcher", "hydra/sweeper", "hydra.sweep")


def quote_override(key: str, value: object) -> str:
    """Return `key=value` as Hydra reads it, with the value as text, whatever characters it has."""
    escaped = re.sub(r"(\\*)\$\{", r"\1\1\\${", str(value))  # else an interpolation
    return f"{key}={QuotedString(escaped, Quote.single).with_quotes()}"


def to_hydra_arguments(arguments: Iterable[str]) -> list[str]:
    """Return arguments in a form that Hydra can read: flags first, `~/` as the home folder.

    Flags may be anywhere in a command. Hydra's argparse takes no overrides after a flag that comes
    after overrides, and Lightning appends overrides to the commands of its further processes.
    """
    flags = [_with_home(argument) for argument in arguments]
    overrides = get_args_parser().parse_intermixed_args(flags).overrides
    for override in overrides:
        flags.remove(override)
    return [*flags, *overrides]


def _with_home(argument: str) -> str:
    key, _, value = argument.partition("=")
    if not value.startswith("~/") or "," in value:
        return argument
    path = Path(value).expanduser()
    return f"{key}={path}" if argument.startswith("-") else quote_override(key, path)


def task_overrides() -> list[str]:
    """Return the overrides of the current run; none outside of Hydra."""
    return _overrides(HydraConfig.get(), "task") if HydraConfig.initialized() else []


def run_command() -> str | None:
    """Return the command that repeats the current run without the others of its study.

    None for a run that was started from Python, which no command repeats.
    """
    if not HydraConfig.initialized():
        return None
    hydra = HydraConfig.get()
    overrides = _overrides(hydra, "hydra", without=(MODE, STUDY_ID, *STUDY_OPTIONS))
    overrides += _overrides(hydra, "task")
    # Experiments and configs under another name may say that they are studies
    if hydra.runtime.choices.get("experiment") or hydra.job.config_name != CONFIG_NAME:
        overrides.append(f"{MODE}RUN")
    return _command(hydra, overrides)


def study_command(hydra: Any) -> str | None:
    """Return the command that repeats a study.

    Args:
        hydra: Hydra's node of the study's config.
    """
    overrides = _overrides(hydra, "hydra", without=(MODE, STUDY_ID)) + _overrides(hydra, "task")
    return _command(hydra, ["-m", *overrides])


def _overrides(hydra: Any, kind: str, without: tuple[str, ...] = ()) -> list[str]:
    """Return overrides as they were typed: their interpolations are those of a run."""
    typed = OmegaConf.to_container(hydra.overrides[kind], resolve=False)
    assert isinstance(typed, list)
    overrides = [str(each) for each in typed]
    for index, override in enumerate(overrides):
        if override.startswith(f"hydra.job.name={DDP_PROCESS}"):
            del overrides[index - 1 : index + 2]
    return [each for each in overrides if not each.lstrip("+~").startswith(without)]


def _command(hydra: Any, arguments: list[str]) -> str | None:
    renamed = any(each.startswith("hydra.job.name=") for each in _overrides(hydra, "hydra"))
    is_further = hydra.job.name.startswith(DDP_PROCESS) and Path(sys.argv[0]).name == PROGRAM
    if hydra.job.name != Path(PROGRAM).stem and not (is_further or renamed):
        return None  # a program of the user's own, which may have changed the config
    cwd, sources = Path(hydra.runtime.cwd), hydra.runtime.config_sources
    (main,) = (Path(source.path) for source in sources if source.provider == "main")
    program = (cwd / sys.argv[0]).resolve()
    if program.name != PROGRAM:  # of a launcher, whose process this is
        program = main.parent / PROGRAM
    flags = []
    if main != program.parent / CONFIG_FOLDER:
        flags += ["--config-path", str(main)]
    for source in sources:
        if source.provider == "command-line":
            flags += ["--config-dir", source.path]
    if hydra.job.config_name != CONFIG_NAME:
        flags += ["--config-name", hydra.job.config_name]
    if program.parent == cwd.resolve():
        return shlex.join(["python", PROGRAM, *flags, *arguments])
    is_installed = program.parent == Path(optlab.__file__).parent
    words = ["optlab"] if is_installed else ["python", str(program)]
    command = shlex.join([*words, *flags, *arguments])
    return f"cd {shlex.quote(str(cwd))} && {command}"  # where relative paths start
