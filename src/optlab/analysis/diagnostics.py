"""Diagnostics of layers, of the runs that have them (callbacks=diagnostics)."""

import pandas as pd

from optlab.analysis.workloads import Configuration
from optlab.runs.folder import DIAGNOSTIC_COLUMNS, RunFolder

AT_THE_END = ("top_eigenvalue", "sharpness")


def read_diagnostics(configurations: tuple[Configuration, ...]) -> pd.DataFrame:
    """Return the means over seeds: columns configuration, epoch, quantity, layer, value.

    Empty where no finished run has diagnostics.

    Raises:
        ValueError: a file is damaged.
    """
    found = []
    for one in configurations:
        for run in one.finished:
            path = RunFolder(run.folder).diagnostics
            if not path.is_file():
                continue
            table = pd.read_csv(path)
            if list(table.columns) != list(DIAGNOSTIC_COLUMNS):
                raise ValueError(
                    f"{path} has the columns {', '.join(table.columns)}, not "
                    f"{', '.join(DIAGNOSTIC_COLUMNS)}.\n\n"
                    "hint: delete it to do without, or repeat the run with rerun=true"
                )
            found.append(table.assign(configuration=one.label))
    keys = ["configuration", "epoch", "quantity", "layer"]
    if not found:
        return pd.DataFrame(columns=[*keys, "value"])
    return pd.concat(found).groupby(keys, sort=False)["value"].mean().reset_index()
