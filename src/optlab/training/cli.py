"""Command-line entry point. It does not import torch, so that `--help` stays fast.

`run_cli` runs a `hydra.main` function and prints readable errors for wrong options. `train` is the
body of that function: it trains the run of a config unless the run is finished. If the run fails,
it writes a record that says so, and the other runs of a study continue.
"""

import io
import logging
import math
import os
import re
import runpy
import shlex
import sys
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

import optlab
from optlab.runs.folder import RunFolder, RunLocked, is_main_process
from optlab.runs.record import (
    DatasetFacts,
    ModelFacts,
    OptimizerFacts,
    RunRecord,
    find_record,
    write_record,
)
from optlab.training.code_fingerprint import changed_modules
from optlab.training.commands import (
    COMMAND_ID,
    NO_COMMAND,
    quote_override,
    run_command,
    to_hydra_arguments,
)
from optlab.training.environment import initial_record_fields, now
from optlab.training.option_names import BASE, BASE_GROUP, to_hydra_override
from optlab.training.option_values import ConfigError, check_top_level
from optlab.training.plan import Plan
from optlab.training.process import frozen_imports
from optlab.training.run_id import replicas, run_dir
from optlab.training.suggestions import explain_overrides

log = logging.getLogger(__name__)


def main() -> None:
    """Run train.py, found in the package (wheel) or in the repository root (clone).

    Adds the current folder to the import path, as `python -m` does. The processes that a launcher
    or DDP starts inherit it.
    """
    package = Path(optlab.__file__).parent
    program = package / "train.py"
    if not program.is_file():
        program = package.parents[1] / "train.py"
    here, path = os.getcwd(), os.environ.get("PYTHONPATH")
    sys.path.insert(0, here)
    os.environ["PYTHONPATH"] = f"{here}{os.pathsep}{path}" if path else here
    sys.argv[0] = str(program)
    runpy.run_path(sys.argv[0], run_name="__main__")


def run_cli(main: Callable[[], Any]) -> None:
    """Call the function that `hydra.main` decorates; explain errors and exit with code 1."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # raise, so that the explanation is ours
    sys.argv[1:] = to_hydra_arguments(map(to_hydra_override, sys.argv[1:]))
    try:
        main()
    except (HydraException, OmegaConfBaseException) as error:
        sys.exit(f"error: {explain_overrides(sys.argv[1:]) or _whole_message(error)}")
    except OSError as error:  # usually no permission to write, or a full disk
        sys.exit(f"error: {error}{_unnamed_file(error)}")
    except (ValueError, YAMLError) as error:
        # For a log file that cannot be opened, `logging` names the file only in the cause
        cannot_open = isinstance(error.__cause__, OSError)
        sys.exit(f"error: {_whole_message(error) if cannot_open else error}")
    except KeyboardInterrupt:
        without = ", without rerun=true," if "rerun=true" in sys.argv else ""
        sys.exit(f"\ninterrupted: the same command{without} resumes from the last checkpoint")


def train(config: DictConfig) -> float:
    """Train the run of a config, unless it is finished, and return its validation accuracy.

    Sweepers maximize that accuracy. It is measured with the weights that the run is judged by: the
    last ones, or with early stopping the best ones. A run that fails gets a record that says so. A
    single run then exits with code 1; in a study the others continue, unless on_error=stop.
    """
    check_top_level(config)
    sweeper = _choice_of("hydra/sweeper")
    if not _in_study() and sweeper in ("fair", "adaptive"):
        raise ValueError(f"hydra/sweeper={sweeper} runs a study, not one run.\n\nhint: add -m")
    runs = [(replica, run_dir(replica)) for replica in replicas(config)]  # one for each seed
    if config.plan:
        plan = Plan.of([(*run, "") for run in runs])  # "": no overrides to tell runs apart by
        if any(run.to_train for run in plan.runs):
            from optlab.training.validate import validate_config  # imports torch

            validate_config(config)
        if config.effect is not None:
            raise ValueError(
                "effect computes how many seeds a comparison needs, but this command plans each "
                "run separately.\n\nhint: compare configurations with hydra/launcher=local, such "
                "as -m optimizer=sgd,adam"
            )
        plan.print(num_processes=1)
        return math.nan
    if _in_study():  # launchers other than OptLab's do not tag the runs that they start
        for _, folder in runs:
            RunFolder(folder).tag(HydraConfig.get().job.env_set.get(COMMAND_ID))
    found = [find_record(folder) for _, folder in runs]
    if config.rerun or not all(record and record.has_result for record in found):
        if not _train_and_record_failure(config):
            return _exit_or_nan(config)
        if not is_main_process():
            return math.nan  # the first process of the run has the result
        found = [find_record(folder) for _, folder in runs]
    else:
        for (replica, folder), record in zip(runs, found, strict=True):
            assert record is not None
            changed = changed_modules(replica, record.own_code)
            since = f"{' and '.join(changed)} changed since then. " if changed else ""
            print(f"{folder}: already done: {record.outcome}. {since}rerun=true trains it again.")
    if any(record is None or record.status != "finished" for record in found):
        return _exit_or_nan(config)
    return found[0].objective if found[0] else math.nan


def _choice_of(group: str) -> str | None:
    if not HydraConfig.initialized():
        return None
    return cast("str | None", HydraConfig.get().runtime.choices.get(group))


def _exit_or_nan(config: DictConfig) -> float:
    """Return NaN in a study that continues; otherwise exit with code 1."""
    if config.on_error == "stop" or not _in_study():
        raise SystemExit(1)
    return math.nan


def _train_and_record_failure(config: DictConfig) -> bool:
    """Train; return whether training ended without an error. Print and record an error."""
    started_at = now()
    try:
        _import_run()(config)
        return True
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):  # Lightning's reaction to Ctrl-C
            raise KeyboardInterrupt from None
        raise
    except (ConfigError, RunLocked) as error:
        print_failure(config, str(error))
        return False
    except Exception as error:  # any error of a run is recorded, so that a study can continue
        log.exception("the run failed")
        reason = f"{type(error).__name__}: {error}{_unnamed_file(error)}"
        print_failure(config, reason)
        if not isinstance(error, ValueError):  # the message of a ValueError is enough for the user
            traceback.print_exc()
        for replica in replicas(config):
            folder = run_dir(replica)
            record = find_record(folder)
            # If it is locked, another process is training the run and will record it
            if not RunFolder(folder).is_locked and not (record and record.has_result):
                record_failure(replica, reason, started_at)
        return False


def _import_run() -> Callable[[DictConfig], Any]:
    """Import and return `optlab.training.run.run`, late: it imports torch."""
    # `frozen_imports` calls gc.freeze. A second call would keep an earlier run's garbage forever
    first = "optlab.training.run" not in sys.modules
    with frozen_imports() if first else nullcontext():
        from optlab.training.run import run
    return run


def record_failure(config: DictConfig, reason: str, started_at: str) -> None:
    """Write the record of a failed run, or print why that cannot be written."""
    try:
        write_record(run_dir(config), failed_record(config, reason, started_at))
    except OSError as error:
        print(f"the failure could not be recorded: {error}", file=sys.stderr)


def failed_record(config: DictConfig, reason: str, started_at: str) -> RunRecord:
    """Return the record of a failed run, with the names that a report needs to count it."""
    data, model, optimizer = (config.get(group) or {} for group in ("data", "model", "optimizer"))
    lr, multiplier = optimizer.get("lr"), config.lr_multiplier
    are_numbers = all(isinstance(value, int | float) for value in (lr, multiplier))
    return RunRecord(
        **initial_record_fields(config),
        status="failed",
        reason=reason,
        dataset=DatasetFacts(name=_name_of(data), title=data.get("title")),
        model=ModelFacts(name=_name_of(model, config.module), target=model.get("_target_")),
        optimizer=OptimizerFacts(
            name=_name_of(optimizer),
            target=optimizer.get("_target_"),
            lr=lr * multiplier if are_numbers else None,
        ),
        started_at=started_at,
        finished_at=now(),
    )


def _name_of(*nodes: Any) -> str:
    """Return the first `name` of these nodes, or else the first class, as `describe` does."""
    names = [node.get("name") for node in nodes if node]
    classes = [str(node.get("_target_") or "").rpartition(".")[2] for node in nodes if node]
    return str(next(filter(None, [*names, *classes]), "unknown"))


def print_failure(config: DictConfig, reason: str, log_file: Path | None = None) -> None:
    """Print the cause, the log (by default of this process) and the command to run it again."""
    log_files = [log_file] if log_file else _log_files()
    print(
        f"\n{config.run_name} failed: {reason}\n\n"
        + "".join(f"  log:   {path}\n" for path in log_files if path.is_file())
        + f"  again: {run_command() or NO_COMMAND}\n",
        file=sys.stderr,
    )


def _log_files() -> list[Path]:
    """Return the files that this process logs into; none before Hydra has set them up."""
    handlers = logging.getLogger().handlers
    return [Path(each.baseFilename) for each in handlers if isinstance(each, logging.FileHandler)]


def _unnamed_file(error: Exception) -> str:
    """Return ": FILE" for the file being written, which a disk-full error does not name, or ""."""
    if isinstance(error, OSError) and error.filename is None:
        for frame, _ in reversed([*traceback.walk_tb(error.__traceback__)]):
            files = [each for each in frame.f_locals.values() if isinstance(each, io.IOBase)]
            names = [getattr(each, "name", None) for each in files]
            if found := [name for name in names if isinstance(name, str)]:
                return f": {found[0]}"
    return ""


def _in_study() -> bool:
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def _whole_message(error: BaseException) -> str:
    """Return an error's message and that of its cause, in which OmegaConf names the option."""
    resolver_prefix = "ValueError raised while resolving interpolation: "
    if str(error).startswith(resolver_prefix):  # an error of OptLab's resolvers is complete
        return str(error).removeprefix(resolver_prefix).partition("\n    full_key:")[0]
    # Names of folders refer to these
    if removed := re.match(r"Interpolation key '(data|seed|study|outputs)(\.name)?' ", str(error)):
        return f"{removed[1]} is missing or null, but a run needs it\n\nhint: do not remove it"
    if BASE_GROUP in str(error):
        return (
            f"{BASE} chooses what another optimizer wraps, and this one wraps none\n\n"
            "hint: add optimizer=sam, asam or lookahead"
        )
    if isinstance(error, InstantiationException) and isinstance(error.__cause__, ValueError):
        return str(error.__cause__)  # raised by a sweeper or launcher
    if isinstance(error, OverrideParseException):
        key, _, value = error.override.partition("=")
        quoted = shlex.quote(quote_override(key, value))
        return f"{error}\n\nhint: quote special characters for Hydra and for the shell: {quoted}"
    cause = f"\n{error.__cause__}" if error.__cause__ is not None else ""
    return f"{error}{cause}"
