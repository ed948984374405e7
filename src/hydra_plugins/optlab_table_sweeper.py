"""A sweeper for tables whose rows are not a grid: each row changes several options together."""

from collections.abc import Mapping, Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import Override

from optlab.training.option_values import check_arguments


class TableSweeper(BasicSweeper):
    """Hydra's own sweeper over `params` and the command line, once for each row.

    All rows of a grid point run one after the other, so the table is complete after one seed.
    """

    def __init__(
        self,
        rows: Mapping[str, Sequence[str]],
        only: Sequence[str] | None = None,
        params: dict[str, str] | None = None,
        max_batch_size: int | None = None,
    ) -> None:
        check_arguments("hydra.sweeper", TableSweeper, locals())
        super().__init__(max_batch_size, params)
        unknown = sorted(set(only or ()) - set(rows))
        if unknown:
            raise ValueError(
                f"hydra.sweeper.only has unknown rows: {', '.join(unknown)}.\n\n"
                f"hint: the rows of the table are {', '.join(rows) or 'none, it is a plain grid'}"
            )
        self.rows = {name: list(row) for name, row in rows.items() if not only or name in only}

    def split_arguments(  # type: ignore[override]  # Hydra has it static; a row needs self
        self, overrides: list[Override], max_batch_size: int | None
    ) -> list[list[list[str]]]:
        """Return the overrides of all runs, in batches. Later ones win, so the row's come first."""
        grid = BasicSweeper.split_arguments(overrides, None)[0]
        rows = [[*row, f"run_name={name}-seed${{seed}}"] for name, row in self.rows.items()]
        runs = [[*row, *point] for point in grid for row in rows or [[]]]
        return list(BasicSweeper.split_overrides_to_chunks(runs, max_batch_size))
