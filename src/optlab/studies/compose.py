"""Config loader for studies, which extends Hydra's to many runs.

Hydra first composes the study's config, with the default of every swept group, and then each run
from its files. This loader differs in two ways. An option that only swept choices have is accepted
in the study and checked in the runs. Files are read and merged once for each choice of groups: runs
that differ only in values, such as seeds, get a copy to which Hydra applies these values. Each
config is equal to the one that Hydra composes.
"""

import pickle
from contextlib import suppress
from functools import cache
from typing import Any

import omegaconf.base
from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf._utils import split_key
from omegaconf.grammar_parser import parse

from optlab.training.option_names import unknown_hydra_options

# The same interpolations are resolved in each run. OmegaConf parses them each time, a third of the
# time that a study takes to compose.
omegaconf.base.parse = cache(parse)


class StudyConfigLoader(ConfigLoaderImpl):
    """Replace Hydra's config loader, for which Hydra has no plugin type."""

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        super().__init__(config_search_path)
        self._by_choices: dict[tuple[tuple[str, ...], tuple[str, ...]], bytes] = {}
        self._groups: dict[tuple[tuple[str, ...], str], bool] = {}
        self._files: Any = None  # of all groups, read once

    def __getstate__(self) -> dict[str, Any]:
        # A run needs no others' configs
        return {**vars(self), "_by_choices": {}, "_groups": {}, "_files": None}

    def get_group_options(
        self, group_name: str, results_filter: Any = ObjectType.CONFIG, *args: Any, **kwargs: Any
    ) -> list[str]:
        """Return the choices of a group, cached: Hydra copies all sources at each call."""
        if args or kwargs:
            return super().get_group_options(group_name, results_filter, *args, **kwargs)
        if self._files is None:
            _, self._files = self._parse_overrides_and_create_caching_repo(None, [])
        return list(self._files.get_group_options(group_name, results_filter))

    def _load_configuration_impl(self, *args: Any, **kwargs: Any) -> DictConfig:
        """Compose a config; reject unknown options of Hydra itself, which `+` would add."""
        config = super()._load_configuration_impl(*args, **kwargs)
        if problems := list(unknown_hydra_options(config.hydra)):
            raise ValueError("\n\n".join(problems))
        return config

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        *args: Any,
        **kwargs: Any,
    ) -> DictConfig:
        """Compose a run, or the config of a study without the options that it does not have.

        `python train.py -m optimizer=sgd,nesterov optimizer.momentum=0.8` sets what the default
        optimizer lacks. The runs decide: all of them are composed before the first one starts.
        """
        load = super().load_configuration
        try:
            return load(config_name, overrides, run_mode, *args, **kwargs)
        except ConfigCompositionException:
            if run_mode != RunMode.MULTIRUN:
                raise
        found = self.compute_defaults_list(config_name, overrides, run_mode).config_overrides
        values = [value for value in found if not value.is_hydra_override()]
        others = [line for line in overrides if line not in {value.input_line for value in values}]
        config = load(config_name, others, run_mode, *args, **kwargs)
        for value in values:
            with suppress(ConfigCompositionException):
                self._apply_overrides_to_config([value], config)
        _note(config, [each for each in _parsed(overrides) if not each.is_hydra_override()])
        return config

    def load_sweep_config(
        self, master_config: DictConfig, sweep_overrides: list[str]
    ) -> DictConfig:
        """Compose one run of a study, if possible from a cached config with the same choices."""
        compose = super().load_sweep_config
        parsed = _parsed(sweep_overrides)
        if any(map(_concerns_more, parsed)):
            return compose(master_config, sweep_overrides)
        typed: Any = OmegaConf.to_container(master_config.hydra.overrides.hydra, resolve=False)
        study = (str(master_config.hydra.job.config_name), *typed)  # ${...} are for the run
        groups = [each for each in parsed if self._is_group(each.key_or_group, study)]
        choices = tuple(str(each.input_line) for each in groups)
        if (study, choices) not in self._by_choices:
            config = compose(master_config, list(choices))
            for plugin in ("launcher", "sweeper"):  # pickle does not find classes of plugins
                config.hydra[plugin] = OmegaConf.to_container(config.hydra[plugin])
            self._by_choices[study, choices] = pickle.dumps(config)
        config = pickle.loads(self._by_choices[study, choices])  # four times as fast as deepcopy
        for value in parsed:
            if _resolves(config, value):
                return compose(master_config, sweep_overrides)
            if value not in groups:
                self._apply_overrides_to_config([value], config)
        _note(config, parsed)
        OmegaConf.copy_cache(from_config=master_config, to_config=config)
        return config

    def _is_group(self, key: str, study: tuple[str, ...]) -> bool:
        if (study, key) not in self._groups:
            search = self._parse_overrides_and_create_caching_repo
            _, repository = search(study[0], list(study[1:]))
            self._groups[study, key] = repository.group_exists(key)
        return self._groups[study, key]


def _note(config: DictConfig, task: list[Override]) -> None:
    """Record a config's own overrides where Hydra does."""
    config.hydra.overrides.task = [override.input_line for override in task]
    config.hydra.job.override_dirname = get_overrides_dirname(
        task, **config.hydra.job.config.override_dirname
    )


def _concerns_more(override: Override) -> bool:
    """Whether an override may do more than choose a group or set a value below its key."""
    of_hydra = override.is_hydra_override() or override.is_sweep_override()
    return of_hydra or isinstance(override.value(), dict)


def _resolves(config: DictConfig, override: Override) -> bool:
    """Whether applying an override resolves an interpolation.

    That may refer to Hydra's own node, which Hydra completes after it has applied the overrides.
    """
    sets_leaf = not (override.is_add() or override.is_delete())
    key = override.key_or_group
    if sets_leaf and not isinstance(override.value(), list):
        key = key.rpartition(".")[0]
    node: Any = config
    for part in split_key(key):
        content = vars(node).get("_content")  # unresolved
        if isinstance(content, list):
            content = {str(index): item for index, item in enumerate(content)}
        node = content.get(part) if isinstance(content, dict) else None
        if node is None:
            return False
        if node._is_interpolation():
            return True
    return False


def _parsed(overrides: list[str]) -> list[Override]:
    return [_parsed_once(override) for override in overrides]


@cache
def _parsed_once(override: str) -> Override:
    """Parse an override once for all runs: it takes a millisecond."""
    (parsed,) = OverridesParser.create().parse_overrides([override])
    return parsed
