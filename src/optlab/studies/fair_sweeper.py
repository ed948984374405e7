"""The fair sweeper: every optimizer gets the same number of trials, the winners get fresh seeds.

Tuning on one seed and reporting others keeps a lucky seed from passing as a good optimizer; equal
budgets keep a well-tuned favourite from beating a default. Works with every launcher: it hands over
lists of overrides and reads the records that the runs left.

The trials are in study.json before the first of them starts: a sweep that is killed leaves trials
behind, and never a result.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from optlab.runs.record import find_record
from optlab.runs.study_file import (
    StudyFile,
    TrialRow,
    TrialStatus,
    TuningRows,
    WinnerRow,
    read_study_file,
    study_path,
    write_study_file,
)
from optlab.studies.search_space import Hyperparameter, grid, quasi_random, read_space
from optlab.training.identity import replicas, run_dir, run_hash
from optlab.training.plan import Plan

WHOLE_SPACE_FROM = 10  # trials; below, space=auto tunes the learning rate only
Compose = Callable[[list[str]], DictConfig]  # from overrides to the config of a run


@dataclass
class Contestant:
    """One optimizer on one problem: what was typed for it, its space, its trials."""

    overrides: list[str]
    hash: str  # of its config before tuning: what a later sweep knows it by
    optimizer: str
    study: Path
    space: list[Hyperparameter]
    settings: list[dict[str, Any]]
    trials: dict[Path, TrialRow] = field(default_factory=dict)  # by the folders of their runs
    fresh: dict[int, str] = field(default_factory=dict)  # the winner's runs: seed to hash

    def look(self, without: TrialStatus) -> None:
        """Take outcomes from the runs' records; `without` is the status where there is none."""
        for folder, trial in self.trials.items():
            record = find_record(folder)
            trial.status = record.status if record else without
            finished = record is not None and record.status == "finished"
            trial.val_accuracy = record.objective if record and finished else None

    def winner(self) -> WinnerRow | None:
        """Return the trial with the best validation accuracy; the first of equals."""
        results = [each for each in self.trials.values() if each.val_accuracy is not None]
        if not results:
            return None
        best = max(results, key=lambda trial: trial.val_accuracy or 0.0)
        return WinnerRow(
            **asdict(best),
            edge=[each.name for each in self.space if each.at_edge(best.params[each.name])],
            seeds=[*self.fresh],
            runs=[*self.fresh.values()],
        )


def sweep(
    arguments: Sequence[str],
    *,
    launcher: Launcher,
    hydra_context: HydraContext,
    config: DictConfig,
    trials: int,
    seeds: int,
    tuning_seed: int,
    space: str,
) -> list[Sequence[JobReturn]]:
    """Tunes every optimizer on the command line, then runs each winner on fresh seeds.

    Raises:
        ValueError: for options out of range, seeds on the command line, an optimizer without a
            search space, a study.json that cannot be read.
    """
    loader = hydra_context.config_loader
    compose = partial(loader.load_sweep_config, config)
    parsed = OverridesParser.create(loader).parse_overrides(list(arguments))
    _check(parsed)
    contestants = [
        _contestant(overrides, compose, trials, tuning_seed, space)
        for overrides in BasicSweeper.split_arguments(parsed, max_batch_size=None)[0]
    ]
    no_effect = ["effect=null"] if config.effect else []  # it is for the winners' fresh seeds
    tuning = [
        [*one.overrides, *_as_overrides(params), f"seed={tuning_seed}", *no_effect]
        for one in contestants
        for params in one.settings
    ]
    print(
        f"fair sweep: {len(contestants)} configurations x {trials} trials on seed {tuning_seed}, "
        f"then each winner on {seeds} fresh seeds",
        flush=True,
    )
    if config.plan:
        returned = [launcher.launch(tuning, initial_job_idx=0)]
        print(f"then {len(contestants)} winners x {seeds} seeds, chosen by those trials")
        if config.effect:
            untuned = [compose(one.overrides) for one in contestants]
            plan = Plan.of([(each, run_dir(each), "") for each in untuned])
            plan.print_seeds_for(config.effect, 1, "hydra.sweeper.seeds={}")
        return returned
    for one in contestants:
        one.trials = dict(_trial(one, params, compose, tuning_seed) for params in one.settings)
        one.look(without="unfinished")
    before = {
        one.study: read_study_file(one.study) if study_path(one.study).exists() else None
        for one in contestants
    }
    _write(contestants)
    try:
        returned = [launcher.launch(tuning, initial_job_idx=0)]
    except ValueError:  # a config contradicts itself, so most likely none was started
        if not any(folder.exists() for one in contestants for folder in one.trials):
            _restore(before)
        raise
    for one in contestants:
        one.look(without="failed")
    fresh = [tuning_seed + 1 + index for index in range(seeds)]
    final = []
    for one in contestants:
        winner = one.winner()
        if winner is None:
            continue
        chosen = [*one.overrides, *winner.overrides]
        final += [[*chosen, f"seed={seed}"] for seed in fresh]
        # Composed once for all seeds, as replicas are
        together = [*chosen, f"seed={fresh[0]}", f"num_replicas={seeds}"]
        one.fresh = {run.seed: run_hash(run) for run in replicas(compose(together))}
    _warn(_write(contestants))
    if final:
        returned.append(launcher.launch(final, initial_job_idx=len(tuning)))
    return returned


def _check(parsed: list[Override]) -> None:
    typed = {override.key_or_group: override for override in parsed}
    if "data.fold" in typed and typed["data.fold"].is_sweep_override():
        raise ValueError(
            "hydra/sweeper=fair would tune on each data.fold by itself, as if folds were "
            "optimizers.\n\n"
            "hint: tune without folds; then run the winners' settings over data.fold=..."
        )
    if "seed" in typed:
        raise ValueError(
            "hydra/sweeper=fair chooses the seeds itself.\n\n"
            "hint: leave seed=... out; hydra.sweeper.seeds says how many, "
            "hydra.sweeper.tuning_seed which one tunes"
        )


def _contestant(
    overrides: list[str], compose: Compose, trials: int, tuning_seed: int, space: str
) -> Contestant:
    composed = compose(overrides)
    if composed.num_replicas != 1:  # seeds beside the tuning seed, which no row would name
        raise ValueError(
            f"num_replicas is {composed.num_replicas}, but hydra/sweeper=fair chooses the seeds "
            "itself.\n\nhint: leave it at 1; hydra.sweeper.seeds says how many seeds a winner gets"
        )
    optimizer = str((composed.optimizer or {}).get("name", "null"))
    tuned = _space_of(optimizer, composed)
    if space == "lr" or (space == "auto" and trials < WHOLE_SPACE_FROM):
        tuned = tuned[:1]
        settings = grid(tuned[0], trials)
    else:
        settings = quasi_random(tuned, trials, seed=tuning_seed)
    typed = {override.lstrip("+~").partition("=")[0] for override in overrides}
    for each in tuned:
        if f"optimizer.{each.name}" in typed:
            raise ValueError(
                f"optimizer.{each.name} is what hydra/sweeper=fair tunes.\n\n"
                f"hint: leave it out; the values to try are in conf/search_space/{optimizer}.yaml"
            )
    study = run_dir(composed).parent
    return Contestant(overrides, run_hash(composed), optimizer, study, tuned, settings)


def _space_of(optimizer: str, config: DictConfig) -> list[Hyperparameter]:
    for source in config.hydra.runtime.config_sources:
        path = Path(source.path) / "search_space" / f"{optimizer}.yaml"
        if source.schema == "file" and path.is_file():
            return read_space(optimizer, OmegaConf.to_container(OmegaConf.load(path)))  # type: ignore[arg-type]
    raise ValueError(
        f"optimizer={optimizer} has no search space, conf/search_space/{optimizer}.yaml.\n\n"
        "hint: copy conf/search_space/adam.yaml, which explains the format, and set its ranges"
    )


def _as_overrides(params: dict[str, Any]) -> list[str]:
    # As JSON, which Hydra reads as it is meant: Python's None would be the text "None"
    return [
        f"optimizer.{name}={json.dumps(value, ensure_ascii=False)}"
        for name, value in params.items()
    ]


def _trial(
    one: Contestant, params: dict[str, Any], compose: Compose, tuning_seed: int
) -> tuple[Path, TrialRow]:
    settings = _as_overrides(params)
    composed = compose([*one.overrides, *settings, f"seed={tuning_seed}"])
    return run_dir(composed), TrialRow(
        optimizer=one.optimizer,
        contestant=one.hash,
        typed=one.overrides,
        hash=run_hash(composed),
        status="unfinished",
        tuning_seed=tuning_seed,
        overrides=settings,
        params=params,
    )


def _restore(before: dict[Path, StudyFile | None]) -> None:
    for study, file in before.items():
        if file is None:
            study_path(study).unlink()
        else:
            write_study_file(study, file)


def _write(contestants: Sequence[Contestant]) -> list[StudyFile]:
    """Put trials and chosen winners into each study's study.json; return these files."""
    files = []
    by_study: dict[Path, list[Contestant]] = defaultdict(list)
    for one in contestants:
        by_study[one.study].append(one)
    for study, group in by_study.items():
        rows = [trial for one in group for trial in one.trials.values()]
        winners = [winner for one in group if one.fresh and (winner := one.winner())]
        file = read_study_file(study)
        file.tuning = _added(file.tuning or TuningRows(), rows, winners)
        write_study_file(study, file)
        files.append(file)
    return files


def _warn(files: Sequence[StudyFile]) -> None:
    from optlab.analysis.tuning import Tuning  # brings pandas

    for file in files:
        noted = Tuning.from_file(file)
        for caution in noted.cautions() if noted else ():
            print(f"warning: {caution}", flush=True)


def _added(older: TuningRows, rows: list[TrialRow], winners: list[WinnerRow]) -> TuningRows:
    """A study's tuning with a sweep's added to what earlier sweeps noted.

    What once chose a setting must never become a result, so earlier trials stay. Earlier winners
    stay as well, but a contestant that was tuned again has its newer winner only: of two, the
    better one would be chosen a second time.
    """
    hashes = {row.hash for row in rows}
    again = {winner.contestant for winner in winners}
    return TuningRows(
        rows=[*(row for row in older.rows if row.hash not in hashes), *rows],
        winners=[*(each for each in older.winners if each.contestant not in again), *winners],
    )
