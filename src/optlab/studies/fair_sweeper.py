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
from dataclasses import dataclass, field
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

from optlab.studies.search_space import Hyperparameter, grid, quasi_random, read_space
from optlab.training import record as records
from optlab.training.identity import replicas, run_dir, run_hash
from optlab.training.plan import Plan

WHOLE_SPACE_FROM = 10  # trials; below, space=auto tunes the learning rate only
UNFINISHED = "unfinished"  # the status of a trial whose outcome is not known yet
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
    trials: list["Trial"] = field(default_factory=list)
    fresh: dict[int, str] = field(default_factory=dict)  # the winner's runs: seed to hash

    def row(self, trial: "Trial") -> dict[str, Any]:
        """A trial as study.json holds it."""
        return {
            "optimizer": self.optimizer,
            "contestant": self.hash,
            "typed": self.overrides,
            "hash": trial.hash,
            "tuning_seed": trial.seed,
            "overrides": trial.overrides,
            "params": trial.params,
            "val_accuracy": trial.accuracy,
            "status": trial.status,
        }

    def winner(self) -> "Trial | None":
        """The best validation accuracy of the trials that came to a result; the first of equals."""
        results = [trial for trial in self.trials if trial.accuracy is not None]
        return max(results, key=lambda trial: trial.accuracy or 0.0, default=None)


@dataclass
class Trial:
    """One setting of a contestant, run on the tuning seed."""

    params: dict[str, Any]
    overrides: list[str]
    seed: int
    hash: str
    folder: Path
    status: str = UNFINISHED
    accuracy: float | None = None

    def look(self, without: str) -> None:
        """Takes its outcome from its run's record; `without` is its status where there is none."""
        record = records.read_record(self.folder) or {"status": without}
        self.status = record["status"]
        self.accuracy = records.objective(record) if self.status == "finished" else None


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
        f"fair sweep: {len(contestants)} contestants x {trials} trials on seed {tuning_seed}, "
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
        one.trials = [_trial(one, params, compose, tuning_seed) for params in one.settings]
    before = {one.study: _read(one.study) for one in contestants}
    _write(contestants)
    try:
        returned = [launcher.launch(tuning, initial_job_idx=0)]
    except ValueError:  # a config contradicts itself, so most likely none was started
        if not any(trial.folder.exists() for one in contestants for trial in one.trials):
            _restore(before)
        raise
    for one in contestants:
        for trial in one.trials:
            trial.look(without="failed")
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


def _trial(one: Contestant, params: dict[str, Any], compose: Compose, tuning_seed: int) -> Trial:
    settings = _as_overrides(params)
    composed = compose([*one.overrides, *settings, f"seed={tuning_seed}"])
    trial = Trial(params, settings, tuning_seed, run_hash(composed), run_dir(composed))
    trial.look(without=UNFINISHED)
    return trial


def _read(study: Path) -> dict[str, Any] | None:
    """A study's study.json; None where there is none yet."""
    path = study / "study.json"
    found = records.read_json(path)
    if found is None and path.exists():
        raise ValueError(
            f"{path} cannot be read. It says which runs of this study were trials; written anew, "
            "those of earlier sweeps would pass as results.\n\n"
            "hint: restore it, or give this sweep a study of its own with study=NAME"
        )
    return found


def _restore(before: dict[Path, dict[str, Any] | None]) -> None:
    for study, content in before.items():
        if content is None:
            (study / "study.json").unlink()
        else:
            records.write_json(study / "study.json", content)


def _write(contestants: Sequence[Contestant]) -> list[dict[str, Any]]:
    """Puts trials and chosen winners into each study's study.json; returns each one's tuning."""
    tunings = []
    by_study: dict[Path, list[Contestant]] = defaultdict(list)
    for one in contestants:
        by_study[one.study].append(one)
    for study, group in by_study.items():
        rows = [one.row(trial) for one in group for trial in one.trials]
        winners = []
        for one in group:
            winner = one.winner()
            if winner is not None and one.fresh:
                edge = [each.name for each in one.space if each.at_edge(winner.params[each.name])]
                runs = {"seeds": [*one.fresh], "runs": [*one.fresh.values()]}
                winners.append({**one.row(winner), "edge": edge, **runs})
        found = _read(study) or {}
        tuning = _added(found.get("tuning") or {}, rows, winners)
        records.write_json(study / "study.json", {**found, "tuning": tuning})
        tunings.append(tuning)
    return tunings


def _warn(tunings: Sequence[dict[str, Any]]) -> None:
    from optlab.analysis.tuning import Tuning  # brings pandas

    for tuning in tunings:
        noted = Tuning.from_meta(tuning)
        for caution in noted.cautions() if noted else ():
            print(f"warning: {caution}", flush=True)


def _added(
    older: dict[str, Any], rows: list[dict[str, Any]], winners: list[dict[str, Any]]
) -> dict[str, Any]:
    """A study's tuning with a sweep's added to what earlier sweeps noted.

    What once chose a setting must never become a result, so earlier trials stay. Earlier winners
    stay as well, but a contestant that was tuned again has its newer winner alone: of two, the
    better one would be chosen a second time.
    """
    of_all = {key: older[key] for key in ("tuning_seed", "seeds") if key in older}
    hashes = {row["hash"] for row in rows}
    # An older file knows a contestant by its optimizer alone
    names = {winner[key] for winner in winners for key in ("contestant", "optimizer")}
    return {
        "rows": [
            *({**of_all, **row} for row in older.get("rows", ()) if row["hash"] not in hashes),
            *rows,
        ],
        "winners": [
            *(
                {**of_all, **winner}
                for winner in older.get("winners", ())
                if winner.get("contestant", winner["optimizer"]) not in names
            ),
            *winners,
        ],
    }
