"""Base class of the sweepers that compare a grid of configurations and choose the seeds."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from optlab.training.option_values import check_arguments
from optlab.training.run_id import replicas

Compose = Callable[[list[str]], DictConfig]  # from overrides to the config of a run


class GridSweeper(Sweeper):
    """A sweeper that chooses the seeds itself."""

    def __init__(
        self, name: str, params: Mapping[str, str] | None, rows: Mapping[str, Sequence[str]] | None
    ) -> None:
        """
        Args:
            name: as in hydra/sweeper=NAME.
            params: swept options of the experiment; its seeds are ignored.
            rows: rows of an experiment that is a table; an error if there are any.
        """
        check_arguments("hydra.sweeper", GridSweeper, locals())
        if rows:
            raise ValueError(
                f"hydra/sweeper={name} compares a grid, but this experiment is a table of rows.\n\n"
                "hint: remove hydra/sweeper, or choose an experiment that sweeps optimizers"
            )
        self.name = name
        self.params = dict(params or {})
        self.params.pop("seed", None)

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.config = config
        self.loader = hydra_context.config_loader
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def start(
        self, sweep: Callable[..., list[Sequence[JobReturn]]], arguments: list[str], **options: Any
    ) -> list[Sequence[JobReturn]]:
        """Run a sweep over the experiment's params and the command line.

        Raises:
            ValueError: for seeds on the command line.
        """
        assert self.launcher and self.config is not None
        typed = [*(f"{option}={values}" for option, values in self.params.items()), *arguments]
        parsed = OverridesParser.create(self.loader).parse_overrides(typed)
        if any(override.key_or_group == "seed" for override in parsed):
            raise ValueError(
                f"hydra/sweeper={self.name} chooses the seeds itself.\n\n"
                f"hint: remove seed=...; conf/hydra/sweeper/{self.name}.yaml has options for the "
                "number of seeds and the first seed"
            )
        compose = partial(self.loader.load_sweep_config, self.config)
        return sweep(parsed, compose, launcher=self.launcher, config=self.config, **options)


def compose_seeds(compose: Compose, overrides: list[str], seeds: Sequence[int]) -> list[DictConfig]:
    """Return the configs of a configuration's runs on consecutive seeds.

    They are composed once for all seeds, as replicas are.
    """
    together = [f"seed={seeds[0]}", f"num_replicas={len(seeds)}"]
    return replicas(compose([*overrides, *together]))


def refuse_replicas(config: DictConfig, sweeper: str) -> None:
    """Raise ValueError where a configuration has seeds that the sweeper did not choose."""
    if config.num_replicas != 1:
        raise ValueError(
            f"num_replicas is {config.num_replicas}, but hydra/sweeper={sweeper} chooses the seeds "
            "itself.\n\nhint: leave it at 1"
        )
