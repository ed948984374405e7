"""Fill the report's section on one workload: pictures, tables and notes for the template."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from optlab.analysis import tables
from optlab.analysis.calibration import (
    Calibration,
    calibration_table,
    mean_test_loss,
    measure_calibration,
)
from optlab.analysis.comparisons import MIN_SEEDS, Difference
from optlab.analysis.diagnostics import AT_THE_END, read_diagnostics
from optlab.analysis.disagreement import (
    Votes,
    count_votes,
    disagreement,
    disagreement_images_table,
    disagreement_table,
    hardest_images,
    mistaken_pictures,
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
from optlab.analysis.images import read_all_answers
from optlab.analysis.labels import as_text, display_name
from optlab.analysis.learning_rates import lr_points_of_workload, lr_table
from optlab.analysis.pareto import tradeoffs
from optlab.analysis.per_class import confusion_matrices, most_confused
from optlab.analysis.summary import ConfigurationSummary, WorkloadSummary
from optlab.analysis.verdict import between, interval, make_verdict, target_origin
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
from optlab.plots.targets import TimeToTargetDisplay
from optlab.report.folder import ReportFolder, Table

Content = dict[str, Any]  # by the names that the template uses
Styles = Mapping[str, LineStyle]  # by label
MOST_IMAGES = 24  # that most runs misclassify
MOST_STRIPS = 6  # of images, one for each configuration
MOST_ROWS = 24  # of a chart with a row for each configuration; more do not fit on a screen


def workload_content(summary: WorkloadSummary, folder: ReportFolder, *, is_tuned: bool) -> Content:
    """Write the pictures and tables of one workload, and return what the template needs.

    A section is left out where its picture or table is missing.

    Args:
        folder: of the report; its suffix names the workload where there are several.
        is_tuned: whether a tuning chose the learning rates, which has a section of its own.
    """
    workload = summary.workload
    styles = styles_by_label(workload.configurations)
    content: Content = {
        "summary": summary,
        "title": workload.title,
        "suffix": folder.suffix,
        "figures": folder.figures,
        "verdict": make_verdict(summary, is_tuned=is_tuned),
        "table": _summary_table(summary, styles),
        "judged_weights": _judged_weights(summary),
        "min_seeds": MIN_SEEDS,
        "num_looks": max((len(summary.looks(row)) for row, _ in summary.compared()), default=1),
        "shares_batches": _shares_batches(summary),
        "most_rows": MOST_ROWS,
        **_curves(summary, styles, folder),
        **_classes(summary, folder),
        **_answers(summary, styles, folder),
        **_diagnostics(summary, styles, folder),
    }
    folder.write(f"summary{folder.suffix}.tex", tables.latex_table(summary).encode())
    if any(row.reached for row in summary.rows) and summary.target is not None:
        times = TimeToTargetDisplay.from_summary(summary, MOST_ROWS)
        folder.figure("time_to_target", times, "Optimizer steps to the target")
        file = folder.csv("time_to_target", tables.time_to_target_table(summary))
        content["target_table"] = _target_table(summary, styles, file)
        content["target_origin"] = target_origin(summary)
    lr_points, option = ([], "lr") if is_tuned else lr_points_of_workload(workload)
    if lr_points:
        title = f"Validation accuracy by learning rate: {workload.title}"
        sensitivity = LRSensitivityDisplay(points=lr_points, option=option, title=title)
        folder.figure(
            "lr_sensitivity", sensitivity, "Best validation accuracy over the learning rate"
        )
        folder.csv("lr_sensitivity", lr_table(lr_points, option))
        content["any_rate_diverged"] = any(point.status == "diverged" for point in lr_points)
    best_rows = replace(summary, rows=summary.rows[:MOST_ROWS])  # what one picture has room for
    if summary.compared() and summary.best:
        file = folder.csv("paired_differences", tables.differences_table(summary))
        content["differences_table"] = _differences_table(summary, styles, file)
        if best_rows.compared():
            alt = f"Differences in test accuracy to {summary.best.name} with intervals"
            folder.figure(
                "paired_differences", PairedDifferencesDisplay.from_summary(best_rows), alt
            )
    gaps = GeneralizationGapDisplay.from_summary(best_rows)
    if gaps.labels:
        folder.figure("generalization_gap", gaps, "Train and test accuracy of each configuration")
    costs = TrainingCostDisplay.from_summary(best_rows)
    if costs.labels:
        folder.figure("training_cost", costs, "Seconds of training")
        content["cost_table"] = _cost_table(summary, styles)
    rows, content["pareto_remark"] = rows_for_curves(summary.finished)
    compared = tradeoffs(rows)
    if len(compared) > 1:
        display = ParetoDisplay.from_summary(summary, compared)
        folder.figure(
            "pareto", display, "Test accuracy over seconds of training and over peak memory"
        )
    return content


def _diagnostics(summary: WorkloadSummary, styles: Styles, folder: ReportFolder) -> Content:
    table = read_diagnostics(summary.workload.configurations)
    if table.empty:
        return {}
    file = folder.csv("diagnostics", table)
    title = f"What each optimizer does to the layers: {summary.workload.title}"
    display = DiagnosticsDisplay(table=table, styles=styles, title=title)
    folder.figure(
        "diagnostics", display, "Update ratio, gradient norm, angle and dead units over epochs"
    )
    at_end = table[table["quantity"].isin(AT_THE_END)].pivot_table(
        index="configuration", columns="quantity", values="value", sort=False
    )
    columns = [quantity for quantity in AT_THE_END if quantity in at_end]
    if not columns:
        return {}
    curvature = Table(
        columns=("configuration", *(each.replace("_", " ") for each in columns)),
        rows=[
            (display_name(label), *(f"{value:.3g}" for value in at_end.loc[label, columns]))
            for label in at_end.index
        ],
        file=file,
        styles=_by_name(styles),
    )
    return {"curvature_table": curvature}


def _answers(summary: WorkloadSummary, styles: Styles, folder: ReportFolder) -> Content:
    """Sections on the answers that runs have kept.

    Compared are rows that kept answers for the same images as the first of them.
    """
    rows, remark = rows_for_curves(summary.finished, most=9)
    calibrations, votes = [], []
    for row in rows:
        answers = read_all_answers(row.configuration.finished)
        if (calibration := measure_calibration(row, answers)) is not None:
            calibrations.append(calibration)
        if (found := count_votes(row, answers)) is not None:
            votes.append(found)
    content: Content = {"answers_remark": remark}
    if calibrations:
        content["calibration_table"] = _calibration(summary, calibrations, styles, folder)
    votes = [each for each in votes if np.array_equal(each.labels, votes[0].labels)]
    if votes:
        content |= _disagreement(summary, votes, styles, folder)
    return content


def _calibration(
    summary: WorkloadSummary,
    calibrations: Sequence[Calibration],
    styles: Styles,
    folder: ReportFolder,
) -> Table:
    title = f"Reliability on test: {summary.workload.title}"
    shown = styles_by_label([each.row.configuration for each in calibrations])
    display = ReliabilityDisplay(calibrations=calibrations, styles=shown, title=title)
    alt = "Accuracy over confidence, one line for each configuration"
    folder.figure("reliability", display, alt)
    return Table.of(
        calibrations,
        {
            "configuration": lambda each: each.row.name,
            "calibration error, points": lambda each: percent_estimate(each.error),
            "test loss": lambda each: (
                NOTHING if (loss := mean_test_loss(each.row)) is None else f"{loss:.4f}"
            ),
        },
        file=folder.csv("calibration", calibration_table(calibrations)),
        styles=_by_name(styles),
    )


def _disagreement(
    summary: WorkloadSummary, votes: Sequence[Votes], styles: Styles, folder: ReportFolder
) -> Content:
    """Images that only the best or another recognizes, and those that most runs misclassify."""
    first, *others = votes
    found = [disagreement(each, first) for each in others] if first.row.is_best else []
    hardest = hardest_images(votes).tolist()
    runs = [run for each in votes for run in each.row.configuration.finished]
    sides = [side for each in found for side in (each.only_reference, each.only_ours)]
    wanted = [*hardest[:MOST_IMAGES], *(image for side in sides for image in side)]
    pictures = mistaken_pictures(runs, wanted)
    hardest_display = HardestImagesDisplay(
        votes=votes,
        images=hardest[:MOST_IMAGES],
        pictures=pictures,
        class_names=summary.workload.class_names,
        title=f"Misclassified by most: {summary.workload.title}",
    )
    if hardest_display.shown:
        alt = "Test images that most runs misclassify"
        folder.figure("hardest_images", hardest_display, alt)
    content: Content = {"num_hardest": len(hardest)}
    if not found:
        return content
    best, own = first.row.name, first.own_share
    display = DisagreementDisplay(
        disagreements=found[:MOST_STRIPS],
        pictures=pictures,
        class_names=summary.workload.class_names,
        styles=styles,
        title=f"Recognized by one only: {summary.workload.title}",
    )
    if display.rows:
        alt = f"Test images that only {best} or only another recognizes"
        folder.figure("disagreement", display, alt)
    folder.csv("disagreement_images", disagreement_images_table(found))
    table = Table.of(
        found,
        {
            "configuration": lambda each: each.ours.row.name,
            f"differs from {best}": lambda each: share(each.share),
            f"only {best} right": lambda each: count(len(each.only_reference)),
            "only this right": lambda each: count(len(each.only_ours)),
            "two of its runs differ": lambda each: share(each.ours.own_share),
        },
        file=folder.csv("disagreement", disagreement_table(found)),
        styles=_by_name(styles),
    )
    return content | {
        "disagreement_own": None if own is None else share(own),
        "disagreement_table": table,
    }


def _cost_table(summary: WorkloadSummary, styles: Styles) -> Table:
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


def _summary_table(summary: WorkloadSummary, styles: Styles) -> Table:
    columns = {column.heading: column for column in tables.SUMMARY if column.heading is not None}
    names = [column.name for column in columns.values()]
    return Table.of(
        summary.rows,
        {heading: column.text for heading, column in columns.items()},
        left=(names.index("label"), names.index("verdict")),
        file="summary.csv",
        styles=_by_name(styles),
    )


def _by_name(styles: Styles) -> dict[str, LineStyle]:
    """Styles by the names that tables show."""
    return {display_name(label): style for label, style in styles.items()}


def _judged_weights(summary: WorkloadSummary) -> str:
    kinds = {row.configuration.judged_weights for row in summary.rows}
    if len(kinds) > 1:
        return "the last weights, with early stopping at the best epoch"
    return "the last weights" if kinds == {"last"} else "the best epoch"


def _curves(summary: WorkloadSummary, styles: Styles, folder: ReportFolder) -> Content:
    rows, remark = rows_for_curves(summary.rows)
    shown = [row.configuration for row in rows]
    if remark:  # fewer lines are easier to distinguish
        styles = styles_by_label(shown)
    title = summary.workload.title
    loss = LossCurvesDisplay.from_configurations(shown, styles, f"Training loss: {title}")
    if not loss.drawn:
        return {}
    names = ", ".join(display_name(curve.label) for curve in loss.curves)
    alt = f"Training loss over optimizer steps, one line for each of {names}"
    folder.figure("loss_comparison", loss, alt)
    accuracy = AccuracyCurvesDisplay.from_configurations(
        shown, styles, summary.target, f"Validation accuracy: {title}"
    )
    if accuracy.drawn:
        folder.figure("val_accuracy", accuracy, "Validation accuracy over epochs, the same lines")
    unlike = summary.unlike_clocks
    note = f"training times are not comparable: the runs had {unlike}" if unlike else ""
    curves = {"quantities": curves_data(shown, styles), "clock_note": note}
    return {"curves": curves, "curves_remark": remark}


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


def _target_table(summary: WorkloadSummary, styles: Styles, file: str) -> Table:
    return Table.of(
        summary.by_steps_to_target,
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


def _differences_table(summary: WorkloadSummary, styles: Styles, file: str) -> Table:
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
        as_text({key: value for key, value in one.config.items() if key.startswith(parts)})
        for one in compared
    ]
    return len(set(kept)) <= 1


def _classes(summary: WorkloadSummary, folder: ReportFolder) -> Content:
    """F1 of each class and the confusion matrices, where records hold confusion matrices."""
    matrices = {row.label: confusion_matrices(row.configuration) for row in summary.finished}
    rows = [row for row in summary.finished if matrices[row.label]]
    if not rows:
        return {}
    names, title = summary.workload.class_names, summary.workload.title
    classes = tables.per_class_table(summary)
    folder.csv("per_class", classes)
    f1 = classes["f1"].to_numpy().reshape(len(rows), -1)
    f1_of_classes = PerClassF1Display(
        f1=f1[:MOST_ROWS],
        labels=[row.label for row in rows[:MOST_ROWS]],
        class_names=names,
        title=f"F1 of each class on test: {title}",
    )
    folder.figure("per_class_f1", f1_of_classes, "F1 of each class, one row a configuration")
    hardest = int(np.nanargmin(f1.mean(axis=0)))
    every = [matrix for row in rows for matrix in matrices[row.label]]
    pairs = [
        f"{names[true]} as {names[predicted]} ({count(number)})"
        for true, predicted, number in most_confused(np.sum(every, axis=0))
    ]
    shown, remark = rows_for_curves(rows, most=9)
    if summary.workload.num_classes <= 40:
        folder.csv("confusion_matrices", tables.confusion_table(summary))
        confusion = ConfusionMatricesDisplay(
            matrices=[np.sum(matrices[row.label], axis=0) for row in shown],
            labels=[row.label for row in shown],
            class_names=names,
            title=f"Confusion on test: {title}",
        )
        folder.figure("confusion_matrices", confusion, "Confusion matrices on test")
    return {
        "hardest_class": names[hardest],
        "hardest_f1": f1[:, hardest].mean(),
        "confused": joined(pairs) if pairs else "",
        "num_matrices": len(every),
        "num_with_classes": len(rows),
        "confusion_remark": remark,
    }
