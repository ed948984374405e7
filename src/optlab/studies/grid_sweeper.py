"""The common parts of sweepers over a grid of configurations."""

from collections.abc import Mapping, Sequence

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from optlab.training.option_values import check_arguments


class GridSweeper(Sweeper):
    """A sweeper that chooses the seeds itself."""

    def __init__(
        self,
        name: str,
        params: Mapping[str, str] | None,
        rows: Mapping[str, Sequence[str]] | None,
    ) -> None:
        """
        Args:
            name: as in hydra/sweeper=NAME.
            params: what an experiment sweeps as well; its seeds do not count.
            rows: the rows of an experiment that is a table, which are refused.
        """
        check_arguments("hydra.sweeper", GridSweeper, locals())
        if rows:
            raise ValueError(
                f"hydra/sweeper={name} compares a grid, but this experiment is a table of rows.\n\n"
                "hint: leave hydra/sweeper out, or choose an experiment over optimizers"
            )
        self.params = dict(params or {})
        self.params.pop("seed", None)

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.hydra_context = hydra_context
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def with_params(self, arguments: Sequence[str]) -> list[str]:
        """Return the command line with the experiment's params before it."""
        return [*(f"{option}={values}" for option, values in self.params.items()), *arguments]
