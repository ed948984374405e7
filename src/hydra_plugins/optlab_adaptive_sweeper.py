"""A sweeper that gives seeds in rounds, and stops configurations that validation has decided."""

from collections.abc import Sequence
from itertools import pairwise

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from optlab.training.option_values import check_arguments


class AdaptiveSweeper(Sweeper):
    """Seeds in rounds; the work is done in `optlab.studies.adaptive_sweeper`."""

    def __init__(
        self,
        rounds: list[int],
        first_seed: int,
        params: dict[str, str] | None = None,
        rows: dict[str, list[str]] | None = None,
    ) -> None:
        """An experiment brings params, which are swept as well, or rows, which are refused."""
        check_arguments("hydra.sweeper", AdaptiveSweeper, locals())
        if any(later <= earlier for earlier, later in pairwise(rounds)):
            raise ValueError(
                f"hydra.sweeper.rounds is {list(rounds)}; each round must have more seeds than the "
                "one before.\n\nhint: a round counts the seeds of the earlier ones, as in [5,10,20]"
            )
        if not rounds:
            raise ValueError("hydra.sweeper.rounds is empty.\n\nhint: as in [5,10,20]")
        if rows:
            raise ValueError(
                "hydra/sweeper=adaptive compares a grid, but this experiment is a table of rows."
                "\n\nhint: leave hydra/sweeper out, or choose an experiment over optimizers"
            )
        self.params = {
            option: values for option, values in (params or {}).items() if option != "seed"
        }
        self.rounds = list(rounds)
        self.first_seed = first_seed

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.hydra_context = hydra_context
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> list[Sequence[JobReturn]]:
        from optlab.studies.adaptive_sweeper import sweep

        assert self.launcher and self.hydra_context and self.config is not None
        return sweep(
            [*(f"{option}={values}" for option, values in self.params.items()), *arguments],
            launcher=self.launcher,
            hydra_context=self.hydra_context,
            config=self.config,
            rounds=self.rounds,
            first_seed=self.first_seed,
        )
