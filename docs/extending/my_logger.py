import json
from pathlib import Path

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only


class JSONLines(Logger):
    """Append everything that is logged to one file, a JSON object a line."""

    name, version = "json_lines", ""

    def __init__(self, path):
        super().__init__()
        self.path = Path(path)

    @rank_zero_only
    def log_metrics(self, metrics, step=None):
        self._append({"step": step, **metrics})

    @rank_zero_only
    def log_hyperparams(self, params):
        self._append({"hyperparameters": params})

    def _append(self, row):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(row, default=str) + "\n")
