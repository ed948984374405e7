"""Build the searches of a fair sweep from its options and configs, and overrides from values."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig, ListConfig, OmegaConf

from optlab.studies.grid_sweeper import Compose, refuse_replicas
from optlab.studies.search import WHOLE_SPACE_FROM, Search, halving
from optlab.studies.search_space import Hyperparameter, Values, read_space
from optlab.training.run_id import GROUPS, run_hash

SEEDS_APART = 10_000  # between the tuning seeds of one search, so that none is a fresh seed


@dataclass(frozen=True)
class FairOptions:
    """The options of conf/hydra/sweeper/fair.yaml, which documents them."""

    trials: int
    extra_trials: int
    finalists: int
    finalist_seeds: int
    seeds: int
    tuning_seed: int
    tune: Literal["once", "each_seed"]
    space: Literal["auto", "lr", "all"]
    schedule: Literal["full", "halving"]

    def rungs(self, max_epochs: int) -> list[tuple[int, int | None]]:
        """Return trials and epochs of each rung; one rung of whole runs without halving."""
        full: list[tuple[int, int | None]] = [(self.trials, None)]
        return halving(self.trials, max_epochs) if self.schedule == "halving" else full

    @property
    def fresh_seeds(self) -> range:
        return range(self.tuning_seed + 1, self.tuning_seed + 1 + self.seeds)

    def list_searches(self, untuned: Search) -> list[Search]:
        """Return the searches of a configuration: one for all fresh seeds, or one for each."""

        def search(first: int, fresh: Sequence[int], for_seed: int | None = None) -> Search:
            end = first + SEEDS_APART * (1 + self.finalist_seeds)
            seeds = range(first, end, SEEDS_APART)
            return replace(
                untuned, tuning_seeds=seeds, fresh_seeds=fresh, for_seed=for_seed, trials=[]
            )

        if self.tune == "once":
            return [search(self.tuning_seed, self.fresh_seeds)]
        return [search(seed + SEEDS_APART, [seed], for_seed=seed) for seed in self.fresh_seeds]

    def num_remaining_runs(self, searches: Sequence[Search]) -> int:
        """Count the runs after the first round: promoted, extra and final trials, winners."""
        return sum(
            sum(number for number, _ in search.rungs[1:])
            + self.extra_trials
            + self.finalists * self.finalist_seeds
            + len(search.fresh_seeds)
            for search in searches
        )

    def description(self, num_configurations: int) -> str:
        """Describe the sweep in one sentence."""
        each = f"{self.trials} trials including the default"
        if self.schedule == "halving":
            each += ", the best third with three times the epochs, and so on"
        if self.extra_trials:
            each += f", then {self.extra_trials} near the best or beyond the edge of the space"
        if self.finalists and self.finalist_seeds:
            each += f", then the best {self.finalists} on {self.finalist_seeds} more tuning seeds"
        where = (
            f"on seed {self.tuning_seed}" if self.tune == "once" else "again for each fresh seed"
        )
        return (
            f"fair sweep of {num_configurations} configuration{'s' * (num_configurations != 1)} "
            f"{where}: {each}; "
            f"then the winners on {self.seeds} fresh seeds"
        )


def build_search(typed: list[str], composed: DictConfig, options: FairOptions) -> Search:
    """Return a search for a configuration, without seeds."""
    refuse_replicas(composed, "fair")  # rows have only the tuning seed, no other seeds
    optimizer = str((composed.optimizer or {}).get("name", "null"))
    space = _space_of(optimizer, composed)
    keys = {override.lstrip("+~").partition("=")[0] for override in typed}
    if options.space == "lr" or (options.space == "auto" and options.trials < WHOLE_SPACE_FROM):
        space = [next((each for each in space if each.kind != "choice"), space[0])]
    groups = {each.option for each in space if _is_group(each)}
    for each in space:
        if each.option.partition(".")[0] not in groups and not _has(each, composed):
            raise ValueError(
                f"conf/search_space/{optimizer}.yaml: {each.name} stands for {each.option}, which "
                "is not in the config.\n\nhint: names refer to options of optimizer, unless they "
                "start with another group"
            )
        if each.option in keys:
            raise ValueError(
                f"{each.option} cannot be set, because hydra/sweeper=fair tunes it.\n\n"
                f"hint: remove it; the values to try are in conf/search_space/{optimizer}.yaml"
            )
    return Search(
        optimizer,
        run_hash(composed),
        typed,
        space,
        default={each.name: _default(each, composed) for each in space if _has(each, composed)},
        tuning_seeds=(),
        fresh_seeds=(),
        rungs=options.rungs(composed.trainer.max_epochs),
    )


def _space_of(optimizer: str, config: DictConfig) -> list[Hyperparameter]:
    for source in config.hydra.runtime.config_sources:
        path = Path(source.path) / "search_space" / f"{optimizer}.yaml"
        if source.schema == "file" and path.is_file():
            return read_space(optimizer, OmegaConf.to_container(OmegaConf.load(path)))  # type: ignore[arg-type]
    raise ValueError(
        f"optimizer={optimizer} has no search space, conf/search_space/{optimizer}.yaml.\n\n"
        "hint: copy conf/search_space/adam.yaml, which explains the format, and set its ranges"
    )


def _is_group(tuned: Hyperparameter) -> bool:
    return tuned.option in GROUPS


def _has(tuned: Hyperparameter, config: DictConfig) -> bool:
    """Whether a config has an option, also where it is null."""
    path, _, key = tuned.option.rpartition(".")
    node = OmegaConf.select(config, path) if path else config
    return key in node if isinstance(node, DictConfig) else isinstance(node, ListConfig)


def _default(tuned: Hyperparameter, config: DictConfig) -> Any:
    if _is_group(tuned):
        return config.hydra.runtime.choices.get(tuned.option)
    value = OmegaConf.select(config, tuned.option)
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def build_overrides(search: Search, values: Values, compose: Compose) -> tuple[list[str], Values]:
    """Return the overrides for the values of a trial, and those values that its run has.

    An option of a group such as the schedule is left out where the group's choice lacks it.
    """
    if values == search.default:
        return [], values
    groups = {each.name for each in search.space if _is_group(each)}
    if groups:
        chosen = [build_override(each, values) for each in search.space if each.name in groups]
        composed = compose([*search.typed, *chosen])
        values = {
            each.name: values[each.name]
            for each in search.space
            if each.name in values
            and (each.option.partition(".")[0] not in groups or _has(each, composed))
        }
    return [build_override(each, values) for each in search.space if each.name in values], values


def build_override(tuned: Hyperparameter, values: Values) -> str:
    # As JSON, which Hydra parses correctly: Python's None would become the string "None"
    return f"{tuned.option}={json.dumps(values[tuned.name], ensure_ascii=False)}"
