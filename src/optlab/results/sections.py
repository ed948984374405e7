"""The report's sections about one problem, each left out when its data are missing."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from optlab.results.display import (
    NOTHING,
    count,
    joined,
    points,
    seconds,
)
from optlab.results.figures import (
    AccuracyCurves,
    ConfusionMatrices,
    GeneralisationGap,
    LossCurves,
    LRSensitivity,
    PairedDifferences,
    PerClassF1,
    TimeToTarget,
    TrainingCost,
)
from optlab.results.labels import key_of
from optlab.results.page import Block, Cell, ReportFolder, Section, Text, table_block
from optlab.results.palette import styles_for
from optlab.results.per_class import most_confused, precision_recall_f1
from optlab.results.rates import rates_of_problem
from optlab.results.statistics import MIN_PAIRS
from optlab.results.summary import GroupSummary, ProblemSummary, rows_for_curves
from optlab.results.summary_rows import SUMMARY_COLUMNS, SUMMARY_LEFT, label_cell, summary_cells
from optlab.results.tables import (
    confusion_matrices,
    confusion_table,
    differences_table,
    per_class_table,
    rates_table,
    time_to_target_table,
)
from optlab.results.verdict import interval, target_origin

MOST_ROWS = 24  # of a chart with a row for each setting; more do not fit on a screen


def problem_sections(
    summary: ProblemSummary, folder: ReportFolder, suffix: str, tuned: bool
) -> list[Section]:
    """All sections of one problem but the verdict, in reading order.

    Args:
        summary: the ranked problem.
        folder: where pictures and tables go.
        suffix: ends their names where a report covers several problems.
        tuned: whether the rates were chosen by a tuning, which has a section of its own.
    """
    sections = [_table(summary), _curves(summary, folder, suffix)]
    sections.append(_target(summary, folder, suffix))
    if not tuned:
        sections.append(_rates(summary, folder, suffix))
    sections += [
        _differences(summary, folder, suffix),
        _per_class(summary, folder, suffix),
        _confusion(summary, folder, suffix),
        _gap(summary, folder, suffix),
        _cost(summary, folder, suffix),
    ]
    return [section for section in sections if section is not None]


def _table(summary: ProblemSummary) -> Section:
    note = (
        "Ranked by validation accuracy at the best epoch; test, train and gap belong to the same "
        "weights. ± is half of the 95 % interval of the mean over runs. Gap is train minus test, "
        "in percentage points."
    )
    rows = [summary_cells(row) for row in summary.rows]
    table = table_block(SUMMARY_COLUMNS, rows, left=SUMMARY_LEFT, file="summary.csv")
    return Section("Summary", (table, Text(note)))


def _curves(summary: ProblemSummary, folder: ReportFolder, suffix: str) -> Section | None:
    rows, remark = rows_for_curves(summary.rows)
    styles = styles_for([row.group.optimizer for row in rows])
    groups = [replace(row.group, style=style) for row, style in zip(rows, styles, strict=True)]
    if not remark:  # all settings are here, in the styles of the tables
        groups = [row.group for row in rows]
    loss = LossCurves.from_groups(groups, f"Training loss: {summary.problem.title}")
    if not any(curve.end for curve in loss.curves):
        return None
    blocks: list[Block] = [
        folder.picture(
            f"loss_comparison{suffix}",
            loss.plot(),
            "Training loss over optimizer steps, one line for each of "
            + ", ".join(curve.label for curve in loss.curves),
        )
    ]
    accuracy = AccuracyCurves.from_groups(
        groups, summary.target, f"Validation accuracy: {summary.problem.title}"
    )
    if any(curve.end for curve in accuracy.curves):
        blocks.append(
            folder.picture(
                f"val_accuracy{suffix}",
                accuracy.plot(),
                "Validation accuracy over epochs, the same lines",
            )
        )
    if remark:
        blocks.insert(0, Text(f"The figures show {remark}; all settings are in the table."))
    return Section("Curves", tuple(blocks))


def _target(summary: ProblemSummary, folder: ReportFolder, suffix: str) -> Section | None:
    if not summary.targets:
        return Section("Time to target", (Text("No target is recorded for this problem."),))
    if summary.target is None or not any(row.reached for row in summary.rows):
        return None
    figure = TimeToTarget.from_summary(summary)
    file = folder.csv(f"time_to_target{suffix}", time_to_target_table(summary))
    by_label = {row.label: row for row in summary.rows}
    rows: list[list[str | Cell]] = []
    for row in (by_label[label] for label in figure.labels):
        cells: list[str | Cell] = [label_cell(row), f"{row.num_reached} of {len(row.reached)}"]
        cells += [count(row.epochs_to_target), seconds(row.time_to_target_s)]
        rows.append(cells)
    origin = target_origin(summary)
    note = (
        f"Target: {100 * summary.target:g} % validation accuracy"
        + (f" ({origin})" if origin else "")
        + ". The first epoch at or above it counts, and seconds of training without evaluation. "
        "A run that never reached it, or diverged before, is a miss and stays in the median."
    )
    if len(figure.labels) > MOST_ROWS:
        note += f" The picture shows the {MOST_ROWS} best of {len(figure.labels)} settings by time."
    if summary.unlike_clocks:
        note += f" Careful: seconds do not compare, the runs had {summary.unlike_clocks}."
    table = table_block(
        ("setting", "runs that reached it", "median epoch", "median training time"),
        rows,
        file=file,
    )
    shown = folder.picture(
        f"time_to_target{suffix}", _fastest(figure).plot(), "Seconds of training to the target"
    )
    return Section("Time to target", (shown, table, Text(note)))


def _fastest(figure: TimeToTarget) -> TimeToTarget:
    """The rows that one picture can show, the fastest; the table has all."""
    return replace(
        figure,
        labels=figure.labels[:MOST_ROWS],
        times_s=figure.times_s[:MOST_ROWS],
        median_epochs=figure.median_epochs[:MOST_ROWS],
        styles=figure.styles[:MOST_ROWS],
    )


def _rates(summary: ProblemSummary, folder: ReportFolder, suffix: str) -> Section | None:
    found, knob = rates_of_problem(summary.problem)
    if not found:
        return None
    figure = LRSensitivity(
        found, knob, title=f"Validation accuracy by rate: {summary.problem.title}"
    ).plot()
    note = "A wide flat top means that a rate is easy to find."
    if any(point.status == "diverged" for point in found):
        note += " The best rate is chosen as in the ranking: a diverged run counts as guessing."
    file = folder.csv(f"lr_sensitivity{suffix}", rates_table(found, knob))
    return Section(
        "Learning-rate sensitivity",
        (
            folder.picture(
                f"lr_sensitivity{suffix}", figure, "Best validation accuracy over the rate"
            ),
            Text(f"{note} Numbers: {file}."),
        ),
    )


def _differences(summary: ProblemSummary, folder: ReportFolder, suffix: str) -> Section | None:
    compared = summary.compared()
    if not compared or summary.best is None:
        return None
    file = folder.csv(f"paired_differences{suffix}", differences_table([summary]))
    rows: list[list[str | Cell]] = [
        [
            label_cell(row),
            points(difference.mean),
            interval(difference) + (" (range)" if 1 < difference.num_pairs < MIN_PAIRS else "")
            or NOTHING,
            str(difference.num_pairs),
            difference.verdict,
        ]
        for row, difference in compared
    ]
    table = table_block(
        ("setting", "difference", "95 % interval", "pairs", "verdict"),
        rows,
        left=(0, 4),
        file=file,
    )
    note = (
        f"Test accuracy minus that of {summary.best.label}, which is best by validation, in "
        f"percentage points. {_pairing([summary.best, *(row for row, _ in compared)])} The "
        "interval is a bootstrap of the mean difference, widened for few pairs; from "
        f"{MIN_PAIRS} pairs on it may separate."
    )
    shown, remark = _best_rows(summary)
    blocks: list[Block] = []
    if shown.compared():
        picture = folder.picture(
            f"paired_differences{suffix}",
            PairedDifferences.from_summary(shown).plot(),
            f"Differences in test accuracy to {summary.best.label} with intervals",
        )
        blocks = [picture, *remark]
    return Section("Paired differences", (*blocks, table, Text(note)))


def _best_rows(summary: ProblemSummary) -> tuple[ProblemSummary, list[Block]]:
    """The settings that one picture has room for, and a remark where it has none for the others."""
    if len(summary.rows) <= MOST_ROWS:
        return summary, []
    remark = (
        f"The picture shows the {MOST_ROWS} best of {len(summary.rows)} settings by validation; "
        "summary.csv has all."
    )
    return replace(summary, rows=summary.rows[:MOST_ROWS]), [Text(remark)]


def _pairing(rows: Sequence[GroupSummary]) -> str:
    """What the runs of a pair share: one seed gives two networks different weights."""
    parts = ("data.", "model.", "module.label_smoothing")
    settings = {
        key_of({key: value for key, value in row.group.config.items() if key.startswith(parts)})
        for row in rows
    }
    if len(settings) > 1:
        return "Paired by seed; these settings do not share weights or batches."
    return (
        "Runs are paired by seed and fold: a pair starts from the same weights and sees the same "
        "batches."
    )


def _per_class(summary: ProblemSummary, folder: ReportFolder, suffix: str) -> Section | None:
    rows = [row for row in summary.finished if confusion_matrices(row)]
    if not rows:
        return None
    f1 = np.array(
        [
            np.mean([precision_recall_f1(matrix)[2] for matrix in confusion_matrices(row)], axis=0)
            for row in rows
        ]
    )
    folder.csv(f"per_class{suffix}", per_class_table([summary]))
    figure = PerClassF1(
        f1[:MOST_ROWS],
        [row.label for row in rows[:MOST_ROWS]],
        summary.problem.class_names,
        f"F1 of each class on test: {summary.problem.title}",
    ).plot()
    shown = folder.picture(f"per_class_f1{suffix}", figure, "F1 of each class, one row a setting")
    weakest = int(f1.mean(axis=0).argmin())
    note = (
        f"Hardest for all together: {summary.problem.class_names[weakest]} "
        f"({100 * f1[:, weakest].mean():.1f} % on average). "
        f"{_most_confused(summary)}Precision and recall as well: per_class{suffix}.csv."
    )
    if len(rows) > MOST_ROWS:
        note += f" The picture shows the {MOST_ROWS} best of {len(rows)} settings by validation."
    return Section("F1 of each class", (shown, Text(note)))


def _most_confused(summary: ProblemSummary) -> str:
    """The most frequent mistakes of all finished runs together; empty where there are none."""
    matrices = [matrix for row in summary.finished for matrix in confusion_matrices(row)]
    names = summary.problem.class_names
    pairs = [
        f"{names[true]} as {names[predicted]} ({count(number)})"
        for true, predicted, number in most_confused(np.sum(matrices, axis=0))
    ]
    runs = f" over {len(matrices)} runs" if len(matrices) > 1 else ""
    return f"Most often confused{runs}, true as predicted: {joined(pairs)}. " if pairs else ""


def _confusion(summary: ProblemSummary, folder: ReportFolder, suffix: str) -> Section | None:
    all_rows = [row for row in summary.finished if confusion_matrices(row)]
    rows, remark = rows_for_curves(all_rows, most=9)
    if not rows or summary.problem.num_classes > 40:
        return None
    matrices = [np.sum(confusion_matrices(row), axis=0) for row in rows]
    folder.csv(f"confusion_matrices{suffix}", confusion_table([summary]))
    figure = ConfusionMatrices(
        matrices,
        [row.label for row in rows],
        summary.problem.class_names,
        f"Confusion on test: {summary.problem.title}",
    ).plot()
    shown = folder.picture(f"confusion_matrices{suffix}", figure, "Confusion matrices on test")
    text = f"Shown: {remark}. " if remark else ""
    note = Text(f"{text}All counts: confusion_matrices{suffix}.csv.")
    return Section("Confusion matrices", (shown, note))


def _gap(summary: ProblemSummary, folder: ReportFolder, suffix: str) -> Section | None:
    shown, remark = _best_rows(summary)
    figure = GeneralisationGap.from_summary(shown)
    if not figure.labels:
        return None
    picture = folder.picture(
        f"generalization_gap{suffix}", figure.plot(), "Train and test accuracy of each setting"
    )
    return Section("Generalisation gap", (picture, *remark))


def _cost(summary: ProblemSummary, folder: ReportFolder, suffix: str) -> Section | None:
    shown, remark = _best_rows(summary)
    figure = TrainingCost.from_summary(shown)
    if not figure.labels:
        return None
    picture = folder.picture(f"training_cost{suffix}", figure.plot(), "Seconds of training")
    blocks: list[Block] = [picture, *remark]
    if summary.unlike_clocks:
        blocks.append(Text(f"Careful: times do not compare, the runs had {summary.unlike_clocks}."))
    return Section("Training cost", tuple(blocks))
