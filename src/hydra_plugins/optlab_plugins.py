"""Hydra plugins of OptLab: resolvers, a launcher, sweepers and the config loader of studies.

Hydra finds plugins only in this package and imports it in every process of every launcher, so the
resolvers that conf/ uses are registered here.
"""

from collections.abc import Sequence
from typing import Any

import hydra._internal.hydra as hydra_app
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from optlab.data.availability import choose_auto_dataset
from optlab.studies.compose import StudyConfigLoader
from optlab.studies.grid_sweeper import GridSweeper
from optlab.training.option_values import check_arguments, check_top_level
from optlab.training.run_id import resolve_path, run_folder_name


def _run_folder(_root_: DictConfig) -> str:
    check_top_level(_root_)  # before Hydra writes into the folder
    return run_folder_name(_root_)


def _available_data(_root_: DictConfig) -> str:
    return choose_auto_dataset(resolve_path(_root_.data.root))


def _config_groups(_root_: DictConfig) -> str:
    """Return the groups of the defaults list with their options, one per line, for --help.

    Hydra's own list has every folder of conf/, including those that a run cannot choose from.
    """
    loader = GlobalHydra.instance().config_loader()
    groups = (str(group) for group in _root_.hydra.runtime.choices)
    return "\n".join(
        f"{group}: {', '.join(sorted(loader.get_group_options(group, ObjectType.CONFIG)))}"
        for group in sorted(group for group in groups if not group.startswith("hydra/"))
    )


OmegaConf.register_new_resolver("resolve_path", lambda path: str(resolve_path(path)), replace=True)
OmegaConf.register_new_resolver("run_folder", _run_folder, replace=True)
OmegaConf.register_new_resolver("config_groups", _config_groups, replace=True)
OmegaConf.register_new_resolver("available_data", _available_data, replace=True)
# Hydra has no plugin for this; it looks the class up here when a program starts
hydra_app.ConfigLoaderImpl = StudyConfigLoader  # type: ignore[misc]


class LocalLauncher(Launcher):
    """Runs side by side on this machine; the work is done in `optlab.studies.launcher`."""

    def __init__(self, num_processes: int | None, memory_per_run_gib: float) -> None:
        check_arguments("hydra.launcher", LocalLauncher, locals())
        self.num_processes = num_processes
        self.memory_per_run_gib = memory_per_run_gib

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.hydra_context = hydra_context
        self.config = config
        if config.plan:  # the server imports torch, to validate configs, while Hydra composes
            from optlab.studies.launcher import prepare_processes

            prepare_processes(plan=True)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        from optlab.studies.launcher import launch

        assert self.hydra_context and self.config is not None
        return launch(
            job_overrides,
            initial_job_idx,
            hydra_context=self.hydra_context,
            config=self.config,
            num_processes=self.num_processes,
            memory_per_run_gib=self.memory_per_run_gib,
        )


class FairSweeper(GridSweeper):
    """Equal tuning budgets, fresh seeds; the work is done in `optlab.studies.fair_sweeper`."""

    def __init__(
        self,
        params: dict[str, str] | None = None,
        rows: dict[str, list[str]] | None = None,
        **options: Any,
    ) -> None:
        """`params` are swept options of an experiment; `rows` of a table raise a ValueError."""
        from optlab.studies.searches import FairOptions

        check_arguments("hydra.sweeper", FairOptions, options)
        super().__init__("fair", params, rows)
        self.options = FairOptions(**options)

    def sweep(self, arguments: list[str]) -> list[Sequence[JobReturn]]:
        from optlab.studies.fair_sweeper import sweep

        return self.start(sweep, arguments, options=self.options)
