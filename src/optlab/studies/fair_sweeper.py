"""The fair sweeper: every optimizer gets the same number of trials, the winners get fresh seeds.

Tuning on one seed and reporting others keeps a lucky seed from passing as a good optimizer; equal
budgets keep a well-tuned favourite from beating a default. Works with every launcher: it hands over
lists of overrides and reads the records that the runs left.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from optlab.studies.search_space import Knob, grid, quasi_random, read_space
from optlab.training import record as records
from optlab.training.identity import replicas, run_dir, run_hash

ALL_KNOBS_FROM = 10  # trials; below, space=auto tunes the learning rate alone


@dataclass
class Contestant:
    """One optimizer on one problem: what was typed for it, its space, its trials."""

    overrides: list[str]
    hash: str  # of its config before tuning: what a later sweep knows it by
    optimizer: str
    study: Path
    knobs: list[Knob]
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
    status: str
    accuracy: float | None


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
        ValueError: for knobs out of range, a seed on the command line, an optimizer without a
            search space.
    """
    _check(arguments, trials, seeds, space)
    contestants = [
        _contestant(overrides, hydra_context, config, trials, tuning_seed, space)
        for overrides in _combinations(arguments)
    ]
    tuning = [
        [*one.overrides, *_as_overrides(params), f"seed={tuning_seed}"]
        for one in contestants
        for params in one.settings
    ]
    print(
        f"fair sweep: {len(contestants)} optimizers x {trials} trials on seed {tuning_seed}, "
        f"then each winner on {seeds} fresh seeds",
        flush=True,
    )
    returned = [launcher.launch(tuning, initial_job_idx=0)]
    if config.plan:
        print(f"then {len(contestants)} winners x {seeds} seeds, chosen by those trials")
        return returned
    for one in contestants:
        one.trials = [
            _trial(one, params, hydra_context, config, tuning_seed) for params in one.settings
        ]
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
        composed = hydra_context.config_loader.load_sweep_config(config, together)
        one.fresh = {run.seed: run_hash(run) for run in replicas(composed)}
    _write(contestants)
    if final:
        returned.append(launcher.launch(final, initial_job_idx=len(tuning)))
    return returned


def _check(arguments: Sequence[str], trials: int, seeds: int, space: str) -> None:
    if trials < 2:
        raise ValueError(f"hydra.sweeper.trials is {trials}; a space is searched by 2 or more")
    if seeds < 1:
        raise ValueError(f"hydra.sweeper.seeds is {seeds}; each winner needs 1 fresh seed or more")
    if space not in ("auto", "lr", "all"):
        raise ValueError(f"hydra.sweeper.space is {space}; allowed: auto, lr, all")
    if any(argument.split("=")[0].strip("+~") == "seed" for argument in arguments):
        raise ValueError(
            "hydra/sweeper=fair chooses the seeds itself.\n\n"
            "hint: leave seed=... out; hydra.sweeper.seeds says how many, "
            "hydra.sweeper.tuning_seed which one tunes"
        )


def _combinations(arguments: Sequence[str]) -> list[list[str]]:
    overrides = OverridesParser.create().parse_overrides(list(arguments))
    return BasicSweeper.split_arguments(overrides, max_batch_size=None)[0]


def _contestant(
    overrides: list[str],
    hydra_context: HydraContext,
    config: DictConfig,
    trials: int,
    tuning_seed: int,
    space: str,
) -> Contestant:
    composed = hydra_context.config_loader.load_sweep_config(config, overrides)
    optimizer = str(composed.optimizer.name)
    knobs = _space_of(optimizer, config)
    if space == "lr" or (space == "auto" and trials < ALL_KNOBS_FROM):
        knobs = knobs[:1]
        settings = grid(knobs[0], trials)
    else:
        settings = quasi_random(knobs, trials, seed=tuning_seed)
    study = run_dir(composed).parent
    return Contestant(overrides, run_hash(composed), optimizer, study, knobs, settings)


def _space_of(optimizer: str, config: DictConfig) -> list[Knob]:
    for source in config.hydra.runtime.config_sources:
        path = Path(source.path) / "search" / f"{optimizer}.yaml"
        if source.schema == "file" and path.is_file():
            return read_space(optimizer, OmegaConf.to_container(OmegaConf.load(path)))  # type: ignore[arg-type]
    raise ValueError(
        f"optimizer={optimizer} has no search space: conf/search/{optimizer}.yaml is not there.\n\n"
        "hint: copy conf/search/adam.yaml, which explains the format, and set its ranges"
    )


def _as_overrides(params: dict[str, Any]) -> list[str]:
    return [f"optimizer.{name}={value!r}" for name, value in params.items()]


def _trial(
    one: Contestant,
    params: dict[str, Any],
    hydra_context: HydraContext,
    config: DictConfig,
    tuning_seed: int,
) -> Trial:
    settings = _as_overrides(params)
    composed = hydra_context.config_loader.load_sweep_config(
        config, [*one.overrides, *settings, f"seed={tuning_seed}"]
    )
    record = records.read_record(run_dir(composed)) or {"status": "failed"}
    finished = record["status"] == "finished"
    return Trial(
        params,
        settings,
        tuning_seed,
        run_hash(composed),
        record["status"],
        records.objective(record) if finished else None,
    )


def _write(contestants: Sequence[Contestant]) -> None:
    """Puts what was tuned into each study's study.json, which the report reads."""
    from optlab.results.tuning import Tuning  # brings pandas

    by_study: dict[Path, list[Contestant]] = defaultdict(list)
    for one in contestants:
        by_study[one.study].append(one)
    for study, group in by_study.items():
        rows = [one.row(trial) for one in group for trial in one.trials]
        winners = []
        for one in group:
            winner = one.winner()
            if winner is not None:
                edge = [knob.name for knob in one.knobs if knob.at_edge(winner.params[knob.name])]
                runs = {"seeds": [*one.fresh], "runs": [*one.fresh.values()]}
                winners.append({**one.row(winner), "edge": edge, **runs})
        found = records.read_json(study / "study.json") or {}
        tuning = _added(found.get("tuning") or {}, rows, winners)
        records.write_json(study / "study.json", {**found, "tuning": tuning})
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
