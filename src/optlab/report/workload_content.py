"""Fill the report's section on one workload: pictures, tables and notes for the template."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from optlab.analysis import tables
from optlab.analysis.calibration import calibration_table, calibrations, mean_test_loss
from optlab.analysis.comparisons import MIN_SEEDS, Difference
from optlab.analysis.diagnostics import AT_THE_END, read_diagnostics
from optlab.analysis.disagreement import (
    disagreement_images_table,
    disagreement_table,
    disagreements,
    hardest_images,
    mistaken_pictures,
    votes_of,
)
from optlab.analysis.formatting import (
    NOTHING,
    count,
    joined,
    percent_estimate,
    points,
    seconds,
    share,
    size,
)
from optlab.analysis.labels import display_name, key_of
from optlab.analysis.learning_rates import lr_points_of_workload, lr_table
from optlab.analysis.pareto import tradeoffs
from optlab.analysis.per_class import confusion_matrices, most_confused, precision_recall_f1
from optlab.analysis.summary import ConfigurationSummary, WorkloadSummary
from optlab.analysis.verdict import between, interval, target_origin, verdict_of
from optlab.plots.calibration import ReliabilityDisplay
from optlab.plots.classes import ConfusionMatricesDisplay, PerClassF1Display
from optlab.plots.comparisons import (
    GeneralizationGapDisplay,
    PairedDifferencesDisplay,
    TrainingCostDisplay,
)
from optlab.plots.curves import AccuracyCurvesDisplay, LossCurvesDisplay
from optlab.plots.diagnostics import DiagnosticsDisplay
from optlab.plots.disagreement import DisagreementDisplay, HardestImagesDisplay
from optlab.plots.interactive import curves_data
from optlab.plots.palette import LineStyle, styles_by_label
from optlab.plots.pareto import ParetoDisplay
from optlab.plots.sensitivity import LRSensitivityDisplay
from optlab.plots.style import Display
from optlab.plots.targets import TimeToTargetDisplay
from optlab.report.folder import ReportFolder, Table

Draw = Callable[[str, Display, str], None]  # name of the file, picture, text for who cannot see it
MOST_IMAGES = 24  # that most runs misclassify
MOST_STRIPS = 6  # of images, one for each configuration
MOST_ROWS = 24  # of a chart with a row for each configuration; more do not fit on a screen


def workload_content(
    summary: WorkloadSummary, folder: ReportFolder, suffix: str, is_tuned: bool
) -> dict[str, Any]:
    """Write the pictures and tables of one workload, and return what the template needs.

    A section is left out where its picture or table is missing.

    Args:
        suffix: ends the names of files where a report covers several workloads.
        is_tuned: whether a tuning chose the learning rates, which has a section of its own.
    """
    workload = summary.workload
    styles = styles_by_label(workload.configurations)
    content: dict[str, Any] = {
        "summary": summary,
        "title": workload.title,
        "suffix": suffix,
        "verdict": verdict_of(summary, is_tuned=is_tuned),
        "table": _summary_table(summary, styles),
        "judged_weights": _judged_weights(summary),
        "min_seeds": MIN_SEEDS,
        "num_looks": max((len(summary.looks(row)) for row, _ in summary.compared()), default=1),
        "shares_batches": _shares_batches(summary),
        "most_rows": MOST_ROWS,
        "figures": {},
    }

    def draw(name: str, display: Display, alt: str) -> None:
        content["figures"][name] = folder.figure(f"{name}{suffix}", display, alt)

    folder.write(f"summary{suffix}.tex", tables.latex_table(summary).encode())
    _draw_curves(summary, styles, content, draw)
    if any(row.reached for row in summary.rows) and summary.target is not None:
        times = TimeToTargetDisplay.from_summary(summary, MOST_ROWS)
        draw("time_to_target", times, "Optimizer steps to the target")
        file = folder.csv(f"time_to_target{suffix}", tables.time_to_target_table(summary))
        content["target_table"] = _target_table(summary, styles, file)
        content["target_origin"] = target_origin(summary)
    lr_points, option = ([], "lr") if is_tuned else lr_points_of_workload(workload)
    if lr_points:
        title = f"Validation accuracy by learning rate: {workload.title}"
        sensitivity = LRSensitivityDisplay(points=lr_points, option=option, title=title)
        draw("lr_sensitivity", sensitivity, "Best validation accuracy over the learning rate")
        folder.csv(f"lr_sensitivity{suffix}", lr_table(lr_points, option))
        content["any_rate_diverged"] = any(point.status == "diverged" for point in lr_points)
    best_rows = replace(summary, rows=summary.rows[:MOST_ROWS])  # what one picture has room for
    if summary.compared() and summary.best:
        file = folder.csv(f"paired_differences{suffix}", tables.differences_table(summary))
        content["differences_table"] = _differences_table(summary, styles, file)
        if best_rows.compared():
            alt = f"Differences in test accuracy to {summary.best.name} with intervals"
            draw("paired_differences", PairedDifferencesDisplay.from_summary(best_rows), alt)
    _draw_classes(summary, folder, content, draw)
    _draw_calibration(summary, styles, folder, content, draw)
    _draw_disagreement(summary, styles, folder, content, draw)
    _draw_hardest(summary, content, draw)
    _draw_diagnostics(summary, styles, folder, content, draw)
    gaps = GeneralizationGapDisplay.from_summary(best_rows)
    if gaps.labels:
        draw("generalization_gap", gaps, "Train and test accuracy of each configuration")
    costs = TrainingCostDisplay.from_summary(best_rows)
    if costs.labels:
        draw("training_cost", costs, "Seconds of training")
        content["cost_table"] = _cost_table(summary, styles)
    rows, content["pareto_remark"] = rows_for_curves(summary.finished)
    compared = tradeoffs(rows)
    if len(compared) > 1:
        display = ParetoDisplay.from_summary(summary, compared)
        draw("pareto", display, "Test accuracy over seconds of training and over peak memory")
    return content


def _draw_diagnostics(
    summary: WorkloadSummary,
    styles: dict[str, LineStyle],
    folder: ReportFolder,
    content: dict[str, Any],
    draw: Draw,
) -> None:
    table = read_diagnostics(summary.workload.configurations)
    if table.empty:
        return
    file = folder.csv(f"diagnostics{content['suffix']}", table)
    title = f"What each optimizer does to the layers: {summary.workload.title}"
    display = DiagnosticsDisplay(table=table, styles=styles, title=title)
    draw("diagnostics", display, "Update ratio, gradient norm, angle and dead units over epochs")
    at_end = table[table["quantity"].isin(AT_THE_END)].pivot_table(
        index="configuration", columns="quantity", values="value", sort=False
    )
    columns = [quantity for quantity in AT_THE_END if quantity in at_end]
    if columns:
        content["curvature_table"] = Table(
            columns=("configuration", *(each.replace("_", " ") for each in columns)),
            rows=[
                (display_name(label), *(f"{value:.3g}" for value in at_end.loc[label, columns]))
                for label in at_end.index
            ],
            file=file,
            styles=_by_name(styles),
        )


def _draw_calibration(
    summary: WorkloadSummary,
    styles: dict[str, LineStyle],
    folder: ReportFolder,
    content: dict[str, Any],
    draw: Draw,
) -> None:
    rows, remark = rows_for_curves(summary.finished, most=9)
    found = calibrations(rows)
    if not found:
        return
    title = f"Reliability on test: {summary.workload.title}"
    shown = styles_by_label([each.row.configuration for each in found])
    display = ReliabilityDisplay(calibrations=found, styles=shown, title=title)
    draw("reliability", display, "Accuracy over confidence, one line for each configuration")
    content["calibration_remark"] = remark
    content["calibration_table"] = Table.of(
        found,
        {
            "configuration": lambda each: each.row.name,
            "calibration error, points": lambda each: percent_estimate(each.error),
            "test loss": lambda each: (
                NOTHING if (loss := mean_test_loss(each.row)) is None else f"{loss:.4f}"
            ),
        },
        file=folder.csv(f"calibration{content['suffix']}", calibration_table(found)),
        styles=_by_name(styles),
    )


def _draw_disagreement(
    summary: WorkloadSummary,
    styles: dict[str, LineStyle],
    folder: ReportFolder,
    content: dict[str, Any],
    draw: Draw,
) -> None:
    rows, content["disagreement_remark"] = rows_for_curves(summary.finished, most=9)
    if summary.best is None:
        return
    found = disagreements(summary.best, [row for row in rows if not row.is_best])
    if not found:
        return
    suffix, best = content["suffix"], summary.best.name
    folder.csv(f"disagreement_images{suffix}", disagreement_images_table(found))
    own = found[0].reference.own_share
    content["disagreement_own"] = None if own is None else share(own)
    content["disagreement_table"] = Table.of(
        found,
        {
            "configuration": lambda each: each.ours.row.name,
            f"differs from {best}": lambda each: share(each.share),
            f"only {best} right": lambda each: count(len(each.only_reference)),
            "only this right": lambda each: count(len(each.only_ours)),
            "two of its runs differ": lambda each: share(each.ours.own_share),
        },
        file=folder.csv(f"disagreement{suffix}", disagreement_table(found)),
        styles=_by_name(styles),
    )
    runs = [run for row in rows for run in row.configuration.finished]
    wanted = [
        int(image)
        for each in found
        for side in (each.only_reference, each.only_ours)
        for image in side
    ]
    display = DisagreementDisplay(
        disagreements=found[:MOST_STRIPS],
        pictures=mistaken_pictures(runs, wanted),
        class_names=summary.workload.class_names,
        styles=styles,
        title=f"Recognized by one only: {summary.workload.title}",
    )
    if display.rows:
        draw("disagreement", display, f"Test images that only {best} or only another recognizes")


def _draw_hardest(summary: WorkloadSummary, content: dict[str, Any], draw: Draw) -> None:
    """The images that most runs misclassify, of the rows that kept answers for the same images."""
    rows, content["hardest_remark"] = rows_for_curves(summary.finished, most=9)
    found = [each for row in rows if (each := votes_of(row)) is not None]
    votes = [each for each in found if np.array_equal(each.labels, found[0].labels)]
    if not votes:
        return
    hardest = hardest_images(votes).tolist()
    runs = [run for each in votes for run in each.row.configuration.finished]
    display = HardestImagesDisplay(
        votes=votes,
        images=hardest[:MOST_IMAGES],
        pictures=mistaken_pictures(runs, hardest[:MOST_IMAGES]),
        class_names=summary.workload.class_names,
        title=f"Misclassified by most: {summary.workload.title}",
    )
    content["num_hardest"] = len(hardest)
    if display.shown:
        draw("hardest_images", display, "Test images that most runs misclassify")


def _cost_table(summary: WorkloadSummary, styles: dict[str, LineStyle]) -> Table:
    columns: dict[str, Callable[[ConfigurationSummary], str]] = {
        "configuration": lambda row: row.name,
        "training": lambda row: seconds(row.mean_of_record("train_time_s")),
        "images/s": lambda row: (
            count(float(f"{speed:.3g}"))
            if (speed := row.mean_of_record("images_per_s"))
            else NOTHING
        ),
        "optimizer's share of a step": lambda row: share(row.mean_of_record("optimizer_share")),
        "evaluations a step": lambda row: count(row.mean_of_record("evaluations_per_step")),
        "optimizer's state": lambda row: size(row.mean_of_record("optimizer_state_bytes")),
        "peak memory": lambda row: (
            NOTHING if (gib := row.mean_of_record("peak_memory_gib")) is None else f"{gib:.2f} GiB"
        ),
    }
    if all(row.mean_of_record("evaluations_per_step") in (None, 1.0) for row in summary.finished):
        del columns["evaluations a step"]
    return Table.of(summary.finished, columns, file="summary.csv", styles=_by_name(styles))


def _summary_table(summary: WorkloadSummary, styles: dict[str, LineStyle]) -> Table:
    columns = {column.heading: column for column in tables.SUMMARY if column.heading is not None}
    names = [column.name for column in columns.values()]
    return Table.of(
        summary.rows,
        {heading: column.text for heading, column in columns.items()},
        left=(names.index("label"), names.index("verdict")),
        file="summary.csv",
        styles=_by_name(styles),
    )


def _by_name(styles: Mapping[str, LineStyle]) -> dict[str, LineStyle]:
    """Styles by the names that tables show."""
    return {display_name(label): style for label, style in styles.items()}


def _judged_weights(summary: WorkloadSummary) -> str:
    kinds = {row.configuration.judged_weights for row in summary.rows}
    if len(kinds) > 1:
        return "the last weights, with early stopping at the best epoch"
    return "the last weights" if kinds == {"last"} else "the best epoch"


def _draw_curves(
    summary: WorkloadSummary, styles: dict[str, LineStyle], content: dict[str, Any], draw: Draw
) -> None:
    rows, content["curves_remark"] = rows_for_curves(summary.rows)
    shown = [row.configuration for row in rows]
    if content["curves_remark"]:  # fewer lines are easier to distinguish
        styles = styles_by_label(shown)
    title = summary.workload.title
    loss = LossCurvesDisplay.from_configurations(shown, styles, f"Training loss: {title}")
    if not loss.drawn:
        return
    content["curves"] = {
        "quantities": curves_data(shown, styles),
        "clock_note": f"training times are not comparable: the runs had {summary.unlike_clocks}"
        if summary.unlike_clocks
        else "",
    }
    names = ", ".join(display_name(curve.label) for curve in loss.curves)
    alt = f"Training loss over optimizer steps, one line for each of {names}"
    draw("loss_comparison", loss, alt)
    accuracy = AccuracyCurvesDisplay.from_configurations(
        shown, styles, summary.target, f"Validation accuracy: {title}"
    )
    if accuracy.drawn:
        draw("val_accuracy", accuracy, "Validation accuracy over epochs, the same lines")


def rows_for_curves(
    rows: Sequence[ConfigurationSummary], most: int = 12
) -> tuple[list[ConfigurationSummary], str]:
    """Rows that one picture can show, best first, and a remark where some are left out.

    Args:
        rows: in the order of their rank.
        most: lines that can still be distinguished.
    """
    best_first: dict[str, ConfigurationSummary] = {}
    for row in rows:
        best_first.setdefault(row.configuration.optimizer, row)
    best = list(best_first.values())
    if len(rows) > 8 and 1 < len(best) < len(rows):
        if len(best) <= most:
            return best, "the best configuration of each optimizer by validation"
        cut = f"the {most} best of {len(best)} optimizers by validation"
        return best[:most], f"{cut}, each at its best configuration"
    if len(rows) > most:
        return list(rows)[:most], f"the {most} best of {len(rows)} by validation"
    return list(rows), ""


def _target_table(summary: WorkloadSummary, styles: dict[str, LineStyle], file: str) -> Table:
    by_label = {row.label: row for row in summary.rows}
    order = TimeToTargetDisplay.from_summary(summary).labels
    return Table.of(
        [by_label[label] for label in order],
        {
            "configuration": lambda row: row.name,
            "runs that reached it": lambda row: f"{row.num_reached} of {len(row.reached)}",
            "median step": lambda row: count(row.steps_to_target),
            "median epoch": lambda row: count(row.epochs_to_target),
            "median training time": lambda row: seconds(row.time_to_target_s),
        },
        file=file,
        styles=_by_name(styles),
    )


def _differences_table(summary: WorkloadSummary, styles: dict[str, LineStyle], file: str) -> Table:
    confidences = {difference.confidence for _, difference in summary.compared()}
    of = f"{next(iter(confidences))} " if len(confidences) == 1 else ""
    columns: dict[str, Callable[[ConfigurationSummary, Difference], str]] = {
        "configuration": lambda row, _: row.name,
        "difference": lambda _, one: points(one.mean),
        f"simultaneous {of}interval": lambda _, one: interval(one) or NOTHING,
        "confidence": lambda _, one: one.confidence,
        "seeds and images": lambda row, _: between(*summary.interval_over_images(row)) or NOTHING,
        "adjusted p": lambda _, one: NOTHING if one.p_value is None else f"{one.p_value:.2g}",
        "seeds": lambda _, one: str(one.num_seeds),
        "can find": lambda _, one: points(one.detectable).removeprefix("+"),
        "seeds needed": lambda _, one: str(one.seeds_needed or NOTHING),
        "conclusion": lambda _, one: one.conclusion,
    }
    if not summary.over_images:
        del columns["seeds and images"]
    if len(confidences) == 1:
        del columns["confidence"]
    return Table(
        columns=tuple(columns),
        rows=[
            tuple(text(row, difference) for text in columns.values())
            for row, difference in summary.compared()
        ],
        left=(0, len(columns) - 1),
        file=file,
        styles=_by_name(styles),
    )


def _shares_batches(summary: WorkloadSummary) -> bool:
    """Whether one seed gives the compared configurations the same weights and batches."""
    compared = [row.configuration for row, _ in summary.compared()]
    if summary.best:
        compared.append(summary.best.configuration)
    parts = ("data.", "model.", "module.label_smoothing")
    kept = [
        key_of({key: value for key, value in one.config.items() if key.startswith(parts)})
        for one in compared
    ]
    return len(set(kept)) <= 1


def _draw_classes(
    summary: WorkloadSummary, folder: ReportFolder, content: dict[str, Any], draw: Draw
) -> None:
    """F1 of each class and the confusion matrices, where records hold confusion matrices."""
    matrices = {row.label: confusion_matrices(row.configuration) for row in summary.finished}
    rows = [row for row in summary.finished if matrices[row.label]]
    if not rows:
        return
    names, title, suffix = summary.workload.class_names, summary.workload.title, content["suffix"]
    scores = [[precision_recall_f1(each)[2] for each in matrices[row.label]] for row in rows]
    f1 = np.array([np.mean(each, axis=0) for each in scores])
    folder.csv(f"per_class{suffix}", tables.per_class_table(summary))
    f1_of_classes = PerClassF1Display(
        f1=f1[:MOST_ROWS],
        labels=[row.label for row in rows[:MOST_ROWS]],
        class_names=names,
        title=f"F1 of each class on test: {title}",
    )
    draw("per_class_f1", f1_of_classes, "F1 of each class, one row a configuration")
    hardest = int(np.nanargmin(f1.mean(axis=0)))
    every = [matrix for row in rows for matrix in matrices[row.label]]
    pairs = [
        f"{names[true]} as {names[predicted]} ({count(number)})"
        for true, predicted, number in most_confused(np.sum(every, axis=0))
    ]
    content["hardest_class"], content["hardest_f1"] = names[hardest], f1[:, hardest].mean()
    content["confused"] = joined(pairs) if pairs else ""
    content["num_matrices"], content["num_with_classes"] = len(every), len(rows)
    shown, content["confusion_remark"] = rows_for_curves(rows, most=9)
    if summary.workload.num_classes <= 40:
        folder.csv(f"confusion_matrices{suffix}", tables.confusion_table(summary))
        confusion = ConfusionMatricesDisplay(
            matrices=[np.sum(matrices[row.label], axis=0) for row in shown],
            labels=[row.label for row in shown],
            class_names=names,
            title=f"Confusion on test: {title}",
        )
        draw("confusion_matrices", confusion, "Confusion matrices on test")
