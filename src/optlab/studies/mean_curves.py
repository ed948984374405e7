"""Write means over seeds as TensorBoard runs, next to the runs that they average."""

import re
import shutil
import time
from pathlib import Path

import pandas as pd
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from optlab.analysis import Run, Study
from optlab.analysis.mean_curves import CURVES, mean_curves
from optlab.runs.folder import RunFolder

FOLDER = "mean"  # within the study; TensorBoard shows <study>/mean/<configuration>_N_runs


def write_mean_curves(study: Study) -> list[Path]:
    """Write the mean curves of every configuration with several finished runs.

    Only for runs that were logged to TensorBoard. Curves of an earlier call are replaced.

    Returns:
        The folders that were written.
    """
    target = study.folder / FOLDER
    shutil.rmtree(target, ignore_errors=True)
    written = []
    for workload in study.workloads:
        several = len(study.workloads) > 1
        for configuration in workload.configurations:
            if len(configuration.finished) < 2 or not any(map(_has_events, configuration.finished)):
                continue
            label = configuration.label
            name = f"{workload.name} {label}" if several else label
            name = re.sub(r"[^\w.=+·-]+", "_", f"{name}, {len(configuration.finished)} runs")
            _write(target / name, mean_curves(configuration.finished))
            written.append(target / name)
    return written


def _write(folder: Path, means: pd.DataFrame) -> None:
    writer = EventFileWriter(str(folder))
    for _, row in means.iterrows():
        values = [
            Summary.Value(tag=curve, simple_value=row[curve])
            for curve in CURVES
            if pd.notna(row[curve])
        ]
        summary = Summary(value=values)
        writer.add_event(Event(wall_time=time.time(), step=int(row["step"]), summary=summary))
    writer.close()


def _has_events(run: Run) -> bool:
    return bool(RunFolder(run.folder).event_files)
