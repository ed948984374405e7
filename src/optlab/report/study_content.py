"""Fill the report's sections on the whole study: tuning, published numbers, failures."""

from collections import Counter
from typing import Any

import pandas as pd

from optlab.analysis.formatting import (
    NOTHING,
    join_first,
    joined,
    percent,
    percent_estimate,
    points,
)
from optlab.analysis.labels import display_name
from optlab.analysis.learning_rates import lr_points_of_tuning, lr_table
from optlab.analysis.published import published_rows, published_table
from optlab.analysis.records import Run
from optlab.analysis.study import Study
from optlab.analysis.summary import WorkloadSummary
from optlab.analysis.target import performance_profile
from optlab.analysis.tuning import Tuning
from optlab.plots.palette import line_style
from optlab.plots.sensitivity import LRSensitivityDisplay
from optlab.plots.targets import PerformanceProfileDisplay
from optlab.report.folder import ReportFolder, Table
from optlab.runs.record import Device


def study_content(
    study: Study, summaries: list[WorkloadSummary], folder: ReportFolder
) -> dict[str, Any]:
    """Write the pictures and tables of the whole study, and return what the template needs."""
    return {
        "figures": folder.figures,
        "profile": _profile(summaries, folder),
        "tuning": _tuning(study.tuning, folder) if study.tuning else None,
        "published": _published(study, folder),
        "failures": _failures(study, folder),
        "to_repeat": list(
            dict.fromkeys(r.command for r in study.counted_runs if not r.is_finished)
        ),
        "environment": _environment(summaries, folder),
        "commands_of_runs": sorted({run.command for run in study.counted_runs}),
        "has_folds": any(run.fold or _num_folds(run) > 1 for run in study.counted_runs),
    }


def _profile(summaries: list[WorkloadSummary], folder: ReportFolder) -> dict[str, Any] | None:
    """Draw the profile; None unless two workloads of one protocol have a target."""
    versions = {
        summary: {run.record.protocol_version for run in summary.workload.runs}
        for summary in summaries
    }
    newest = max(version for found in versions.values() for version in found)
    timed = [
        summary
        for summary in summaries
        if versions[summary] == {newest}
        and any(row.reached for row in summary.rows)
        and not summary.unlike_clocks
    ]
    times: dict[str, dict[str, float]] = {}
    for summary in timed:
        for row in summary.rows:
            found = times.setdefault(row.configuration.optimizer, {})
            if row.time_to_target_s is not None:  # rows come by rank: the best one counts
                found.setdefault(summary.workload.name, row.time_to_target_s)
    everywhere = {name: found for name, found in times.items() if len(found) == len(timed)}
    if len(timed) < 2 or not everywhere:
        return None
    tau, shares = performance_profile(everywhere)
    ordered = dict(sorted(shares.items(), key=lambda item: (-float(item[1].mean()), item[0])))
    display = PerformanceProfileDisplay(tau=tau, shares=ordered, num_workloads=len(timed))
    alt = "Share of workloads within a multiple of the best time"
    absent = [display_name(name) for name in times if name not in everywhere]
    folder.figure("performance_profile", display, alt)
    return {"absent": joined(absent) if absent else ""}


def _tuning(tuning: Tuning, folder: ReportFolder) -> dict[str, Any]:
    budgets = sorted(Counter(tuning.label(row) for row in tuning.rows).values()) or [0]
    epochs = sorted({row.num_epochs for row in tuning.rows if row.num_epochs is not None})
    content: dict[str, Any] = {
        "num_trials": " to ".join(str(number) for number in sorted({budgets[0], budgets[-1]})),
        "tuning_seeds": join_first([str(seed) for seed in tuning.tuning_seeds]) or "unknown",
        "seeds": ", ".join(map(str, tuning.seeds)) or "none",
        "for_each_seed": any(winner.for_seed is not None for winner in tuning.winners),
        "short_epochs": ", ".join(map(str, epochs)),
        "cautions": tuning.cautions(),
    }
    lr_points, option, is_joined = lr_points_of_tuning(tuning)
    if lr_points:
        folder.csv("lr_sensitivity", lr_table(lr_points, option))
        display = LRSensitivityDisplay(points=lr_points, option=option, joined=is_joined)
        alt = "Validation accuracy of the trials by learning rate"
        folder.figure("lr_sensitivity", display, alt)
    if tuning.winners:
        winners = tuning.winners_rows()
        content["winners"] = Table.of(
            winners,
            {
                "optimizer": lambda row: display_name(row["label"]),
                "for seed": lambda row: "all" if row["for_seed"] is None else str(row["for_seed"]),
                "winner": lambda row: row["settings"],
                "validation %": lambda row: percent(row["val_accuracy_of_trials"]),
                "tuning seeds": lambda row: str(row["num_tuning_seeds"]),
                "trials": lambda row: str(row["num_trials"]),
                "diverged": lambda row: str(row["num_diverged"]),
                "at the edge": lambda row: row["at_edge_of_space"] or NOTHING,
            },
            left=(0, 2, 7),
            file=folder.csv("tuning_winners", pd.DataFrame(winners)),
            styles={display_name(row["label"]): line_style(row["optimizer"]) for row in winners},
        )
    return content


def _published(study: Study, folder: ReportFolder) -> dict[str, Any] | None:
    published = study.file.published or {}
    rows = published_rows(published, study.workloads)
    if not rows:
        return None
    table = Table.of(
        rows,
        {
            "configuration": lambda row: row.label,
            "published %": lambda row: percent(row.published),
            "ours %": lambda row: percent_estimate(row.best),
            "ours %, last weights": lambda row: percent_estimate(row.last),
            "runs": lambda row: str(row.best.num_runs) if row.best else "not run",
            "difference": lambda row: points(row.difference),
            "note": lambda row: row.note,
        },
        left=(0, 6),
        file=folder.csv("published", published_table(rows)),
    )
    return {"table": table, "source": published.get("source"), "metric": published.get("metric")}


def _failures(study: Study, folder: ReportFolder) -> Table | None:
    rows = [(r.folder.name, r.status, _reason(r)) for r in study.counted_runs if not r.is_finished]
    left_out = [pair for workload in study.workloads for pair in workload.left_out]
    rows += [(run.folder.name, "left out", reason) for run, reason in left_out]
    rows += [(path.name, "damaged", reason) for path, reason in study.damaged]
    rows += [(path.name, "unfinished", "it has no record.json yet") for path in study.unfinished]
    rows += [(run.folder.name, "curves", note) for run in study.runs for note in run.notes]
    if not rows:
        return None
    file = folder.csv("failures", pd.DataFrame(rows, columns=["folder", "what", "reason"]))
    return Table(("run", "what", "reason"), rows, left=(0, 1, 2), file=file)


def _reason(run: Run) -> str:
    reason = " ".join((run.record.reason or "no reason recorded").split())
    steps = run.record.num_steps
    return f"{reason} (after {steps:,.0f} steps)" if steps else reason


def _environment(summaries: list[WorkloadSummary], folder: ReportFolder) -> Table:
    """Return versions and settings of the runs; where they differ, with the number of runs."""
    runs = [run for summary in summaries for run in summary.workload.runs]
    facts: dict[str, Counter[str]] = {}
    for run in runs:
        for name, value in _facts(run).items():
            if value is not None:
                facts.setdefault(name, Counter())[str(value)] += 1
    rows = []
    for name, values in facts.items():
        texts = [f"{value} ({n} run{'s' * (n != 1)})" for value, n in sorted(values.items())]
        rows.append((name, "; ".join(texts) if len(values) > 1 else next(iter(values))))
    started = [run.record.started_at for run in runs if run.record.started_at]
    ended = [run.record.finished_at for run in runs if run.record.finished_at]
    if started and ended:
        rows.append(("made", f"{min(started)} to {max(ended)}"))
    file = folder.csv("environment", pd.DataFrame(rows, columns=["what", "value"]))
    return Table(("what", "value"), rows, left=(0, 1), file=file)


def _facts(run: Run) -> dict[str, object]:
    record = run.record
    dataset, model, device = record.dataset, record.model, record.device or Device()
    sizes = (dataset.num_train, dataset.num_val, dataset.num_test)
    return {
        "dataset": dataset.title or dataset.name,
        "dataset checksum": dataset.checksum,
        "images: train / validation / test": " / ".join(f"{size:,}" for size in sizes)
        if all(size is not None for size in sizes)
        else None,
        "network": f"{model.name}, {model.num_parameters:,} parameters"
        if model.num_parameters
        else None,
        "protocol version": record.protocol_version,
        "device": device.name,
        "threads": device.num_threads,
        **record.versions,
        **{f"{module} (fingerprint)": code for module, code in record.own_code.items()},
        "git commit": record.git_commit,
        "trained as replicas": record.replica.equality if record.replica else None,
    }


def _num_folds(run: Run) -> int:
    value = run.data_options.get("num_folds")
    return value if isinstance(value, int) else 1
