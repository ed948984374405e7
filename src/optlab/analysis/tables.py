"""Tables of a study as data frames, with plain numbers, fractions and seconds.

The summary has one definition of its columns, `SUMMARY`: the CSV file, the page, summary.md and the
terminal all take theirs from it.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from optlab.analysis.formatting import MINUS, NOTHING, count, percent_estimate, points, seconds
from optlab.analysis.per_class import confusion_matrices, precision_recall_f1
from optlab.analysis.records import Run
from optlab.analysis.statistics import Estimate
from optlab.analysis.study import Study
from optlab.analysis.summary import ConfigurationSummary, WorkloadSummary
from optlab.analysis.target import accuracy_target, time_to_target
from optlab.analysis.verdict import interval, outlook

# Fields of the record
COSTS = (
    *("train_time_s", "images_per_s", "peak_memory_gib"),
    *("optimizer_share", "evaluations_per_step", "optimizer_state_bytes"),
)


@dataclass(frozen=True)
class Column:
    """One column of the summary.

    Attributes:
        name: in the CSV file, where an estimate takes two more columns, `_low` and `_high`; empty
            for a column that only readers see.
        value: the number.
        heading: on the page; None for a column that only the CSV file has.
        text: the number as people read it.
        short: heading in the terminal; None for a column that it has no room for.
    """

    name: str
    value: Callable[[ConfigurationSummary], object]
    heading: str | None = None
    text: Callable[[ConfigurationSummary], str] = lambda row: ""
    short: str | None = None


def _accuracy(
    name: str,
    split: str,
    weights: str | None = None,
    heading: str | None = None,
    short: str | None = None,
) -> Column:
    """Accuracy on a split, at the judged weights or at those that are asked for."""
    return Column(
        name,
        lambda row: row.accuracy(split, weights),
        heading,
        lambda row: percent_estimate(row.accuracy(split, weights)),
        short,
    )


def _difference(row: ConfigurationSummary, end: str) -> float | None:
    return getattr(row.difference, end) if row.difference else None


def _cost(name: str) -> Column:
    return Column(name, lambda row: row.mean_of_record(name))


def _best_epoch(row: ConfigurationSummary) -> float | None:
    return row.median(lambda run: run.metric("validation", "best", "epoch"))


def _num_epochs(row: ConfigurationSummary) -> float | None:
    return row.median(lambda run: run.record.num_epochs)


def _runs_text(row: ConfigurationSummary) -> str:
    total = len(row.configuration.runs)
    return str(total) if row.num_finished == total else f"{row.num_finished}/{total}"


def _best_epoch_text(row: ConfigurationSummary) -> str:
    best = _best_epoch(row)
    return f"{count(best)} of {count(_num_epochs(row))}" if best else NOTHING


def _target_text(row: ConfigurationSummary) -> str:
    """Median epochs to the target or `missed`; of several runs, how many reached it."""
    if not row.reached:
        return NOTHING
    when, total = count(row.epochs_to_target), len(row.reached)
    return when if total == 1 or not row.num_reached else f"{when} ({row.num_reached}/{total})"


def _verdict_text(row: ConfigurationSummary) -> str:
    further = outlook(row.difference) if row.difference else ""
    return f"{row.verdict} ({further})" if further else row.verdict


def _short_verdict(row: ConfigurationSummary) -> str:
    """Difference and verdict in a few words; divergences are in the column of runs."""
    if not row.num_finished:
        return row.verdict
    if row.is_best:
        return "best"
    difference = row.difference
    if difference is None or difference.mean is None:
        return row.difference_in_words
    return f"{points(difference.mean)} {difference.conclusion}"


SUMMARY = (
    Column("rank", lambda row: row.rank, "#", lambda row: str(row.rank), "#"),
    Column("label", lambda row: row.label, "configuration", lambda row: row.name, ""),
    Column("optimizer", lambda row: row.configuration.optimizer),
    Column("num_finished", lambda row: row.num_finished, "runs", _runs_text, "runs"),
    Column("num_diverged", lambda row: row.num_diverged),
    Column("num_failed", lambda row: row.num_failed),
    Column("validation_score", lambda row: row.score),
    Column("judged_weights", lambda row: row.configuration.judged_weights),
    _accuracy("val_accuracy", "validation", None, "validation %", "val %"),
    _accuracy("test_accuracy", "test", None, "test %", "test %"),
    _accuracy("test_accuracy_best", "test", "best", "test %, best epoch"),
    _accuracy("train_accuracy", "train", None, "train %"),
    Column(
        "generalization_gap",
        lambda row: row.gap,
        "gap",
        lambda row: points(row.gap.mean if row.gap else None),
    ),
    Column("best_epoch", _best_epoch, "best epoch", _best_epoch_text),
    Column("num_epochs", _num_epochs),
    Column("num_reached", lambda row: row.num_reached if row.reached else None),
    Column(
        "epochs_to_target",
        lambda row: row.epochs_to_target,
        "epochs to target",
        _target_text,
        "epochs to\ntarget",
    ),
    Column("steps_to_target", lambda row: row.steps_to_target),
    Column("time_to_target_s", lambda row: row.time_to_target_s),
    Column(
        "train_time_s",
        lambda row: row.mean_of_record("train_time_s"),
        "training",
        lambda row: seconds(row.mean_of_record("train_time_s")),
        "time",
    ),
    *map(_cost, COSTS[1:]),
    Column("test_difference_to_best", lambda row: _difference(row, "mean")),
    Column("test_difference_low", lambda row: _difference(row, "low")),
    Column("test_difference_high", lambda row: _difference(row, "high")),
    Column("test_difference_p", lambda row: _difference(row, "p_value")),
    Column("num_seeds_compared", lambda row: _difference(row, "num_seeds")),
    Column("detectable_difference", lambda row: _difference(row, "detectable")),
    Column("seeds_needed", lambda row: _difference(row, "seeds_needed")),
    Column("verdict", lambda row: row.verdict, "verdict", _verdict_text),
    Column("", lambda row: None, None, _short_verdict, "test vs. best"),
)


def summary_table(summaries: Iterable[WorkloadSummary]) -> pd.DataFrame:
    """A row for each configuration; intervals as `_low` and `_high`, empty where there is none."""
    rows = []
    for summary in summaries:
        for row in summary.rows:
            cells: dict[str, object] = {"workload": summary.workload.name}
            for column in SUMMARY:
                value = column.value(row)
                if isinstance(value, Estimate):
                    cells[column.name] = value.mean
                    cells |= {f"{column.name}_low": value.low, f"{column.name}_high": value.high}
                elif column.name:
                    cells[column.name] = value
            rows.append(cells | {"target": summary.target})
    return pd.DataFrame(rows)


def latex_table(summary: WorkloadSummary) -> str:
    """The summary for a paper, a table environment with the rules of booktabs."""
    names = ("label", "num_finished", "val_accuracy", "test_accuracy")
    rows = []
    for row in summary.rows:
        cells = {column.name: column.text(row) for column in SUMMARY if column.name in names}
        one = row.difference
        rows.append(
            {
                "Configuration": cells["label"],
                "Runs": cells["num_finished"],
                "Validation": cells["val_accuracy"],
                "Test": cells["test_accuracy"],
                "Difference": NOTHING if row.is_best else points(one.mean if one else None),
                "95 % interval": (interval(one) if one else "") or NOTHING,
                "p": f"{one.p_value:.2g}" if one and one.p_value is not None else NOTHING,
            }
        )
    caption = (
        f"{summary.workload.title}: accuracy in percent, mean and 95 % interval over runs. "
        "Difference: of test accuracy to the best by validation, in percentage points, paired by "
        "seed; the intervals hold for all rows at once, p is adjusted after Holm."
    )
    frame = pd.DataFrame([{_latex(key): _latex(cell) for key, cell in row.items()} for row in rows])
    text = frame.to_latex(
        index=False,
        column_format="lr" + "r" * (len(frame.columns) - 2),
        position="tb",
        caption=_latex(caption),
        label=f"tab:{summary.workload.name}",
    )
    text = text.replace("\\begin{table}[tb]\n", "\\begin{table}[tb]\n\\centering\n")
    return "% \\usepackage{booktabs}\n" + text


def _latex(text: str) -> str:
    special = {char: f"\\{char}" for char in "&%$#_{}"} | {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        MINUS: "$-$",
        "±": r"$\pm$",
        "·": r"$\cdot$",
    }
    return "".join(special.get(char, char) for char in text)


def runs_table(study: Study, summaries: Iterable[WorkloadSummary]) -> pd.DataFrame:
    """A row for each run, trials and runs left out included, with the part each one plays."""
    rows = []
    for summary in summaries:
        name = summary.workload.name
        for row in summary.rows:
            rows += [_run_row(run, name, row.label, "counted") for run in row.configuration.runs]
        for run, reason in summary.workload.left_out:
            rows.append(_run_row(run, name, "", f"left out: {reason}"))
    rows += [_run_row(run, "", run.optimizer, "tuning trial") for run in study.tuning_runs]
    return pd.DataFrame(rows)


def _run_row(run: Run, workload: str, label: str, role: str) -> dict[str, object]:
    reached = time_to_target(run) if role == "counted" else None
    return {
        "workload": workload,
        "label": label,
        "optimizer": run.optimizer,
        "seed": run.seed,
        "fold": run.fold,
        "status": run.status,
        "role": role,
        "lr": run.lr,
        "judged_weights": run.judged_weights,
        "val_accuracy_best": run.metric("validation", "best"),
        "val_accuracy_last": run.metric("validation", "last"),
        "test_accuracy_best": run.metric("test", "best"),
        "test_accuracy_last": run.metric("test", "last"),
        "train_accuracy_best": run.metric("train", "best"),
        "train_accuracy_last": run.metric("train", "last"),
        "best_epoch": run.metric("validation", "best", "epoch"),
        "num_epochs": run.record.num_epochs,
        "num_steps": run.record.num_steps,
        "epochs_to_target": reached.epoch if reached else None,
        "steps_to_target": reached.step if reached else None,
        "time_to_target_s": reached.train_time_s if reached else None,
        **{name: getattr(run.record, name) for name in COSTS},
        "reason": run.record.reason,
        "command": run.record.command,
        "hash": run.hash,
        "folder": run.folder.name,
    }


def differences_table(summary: WorkloadSummary) -> pd.DataFrame:
    """Paired differences in test accuracy to the best by validation, as fractions.

    `low` and `high` are the simultaneous interval over seeds at one minus `level` (the share of the
    error rate that a claim has, 0.05 in a study that is read once), `low_over_images` and
    `high_over_images` that over seeds and test images, `p_value` is adjusted for all rows,
    `detectable` is what this number of seeds (five, where it is less) finds with a power of 80 %,
    and `seeds_needed` how many a true difference of this size would need.
    """
    return pd.DataFrame(
        [
            {
                "workload": summary.workload.name,
                "label": row.label,
                "best": summary.best.label if summary.best else None,
                "difference": difference.mean,
                "low": difference.low,
                "high": difference.high,
                "low_over_images": summary.interval_over_images(row)[0],
                "high_over_images": summary.interval_over_images(row)[1],
                "p_value": difference.p_value,
                "level": difference.level,
                "num_seeds": difference.num_seeds,
                "detectable": difference.detectable,
                "seeds_needed": difference.seeds_needed,
                "conclusion": difference.conclusion,
            }
            for row, difference in summary.compared()
        ]
    )


def per_class_table(summary: WorkloadSummary) -> pd.DataFrame:
    """Precision, recall and F1 of each class on test, averaged over the finished runs."""
    frames = []
    for row in summary.finished:
        scores = [precision_recall_f1(each) for each in confusion_matrices(row.configuration)]
        if scores:
            frame = pd.DataFrame(np.mean(scores, axis=0).T, columns=["precision", "recall", "f1"])
            frame.insert(0, "workload", summary.workload.name)
            frame.insert(1, "label", row.label)
            frame.insert(2, "class", summary.workload.class_names)
            frames.append(frame.assign(num_runs=len(scores)))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def confusion_table(summary: WorkloadSummary) -> pd.DataFrame:
    """Test images by true and predicted class, summed over the finished runs; zeros left out."""
    names = summary.workload.class_names
    rows = []
    for row in summary.finished:
        total = np.sum(confusion_matrices(row.configuration) or [np.zeros((0, 0), int)], axis=0)
        for true, predicted in np.argwhere(total):
            rows.append(
                {
                    "workload": summary.workload.name,
                    "label": row.label,
                    "true": names[true],
                    "predicted": names[predicted],
                    "num_images": total[true, predicted],
                }
            )
    return pd.DataFrame(rows)


def time_to_target_table(summary: WorkloadSummary) -> pd.DataFrame:
    """A row for each run: epoch, step and second at the target; `inf` for a miss."""
    return pd.DataFrame(
        [
            {"label": row.label, "seed": run.seed, "fold": run.fold, "target": accuracy_target(run)}
            | asdict(reached)
            for row in summary.rows
            for run in row.configuration.runs
            if (reached := time_to_target(run)) is not None
        ]
    )
