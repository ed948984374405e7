"""A sweeper that runs seeds in rounds and stops configurations with clearly worse validation."""

from collections.abc import Sequence
from itertools import pairwise

from hydra.core.utils import JobReturn

from optlab.studies.grid_sweeper import GridSweeper
from optlab.training.option_values import check_arguments


class AdaptiveSweeper(GridSweeper):
    """Seeds in rounds; the work is done in `optlab.studies.adaptive_sweeper`."""

    def __init__(
        self,
        rounds: list[int],
        first_seed: int,
        params: dict[str, str] | None = None,
        rows: dict[str, list[str]] | None = None,
    ) -> None:
        """`params` are swept options of an experiment; `rows` of a table raise a ValueError."""
        check_arguments("hydra.sweeper", AdaptiveSweeper, locals())
        if any(later <= earlier for earlier, later in pairwise(rounds)):
            raise ValueError(
                f"hydra.sweeper.rounds is {list(rounds)}; each round must have more seeds than the "
                "one before.\n\nhint: use cumulative numbers of seeds, such as [5,10,20]"
            )
        if not rounds:
            raise ValueError("hydra.sweeper.rounds is empty.\n\nhint: use a list such as [5,10,20]")
        super().__init__("adaptive", params, rows)
        self.rounds = list(rounds)
        self.first_seed = first_seed

    def sweep(self, arguments: list[str]) -> list[Sequence[JobReturn]]:
        from optlab.studies.adaptive_sweeper import sweep

        return self.start(sweep, arguments, rounds=self.rounds, first_seed=self.first_seed)
