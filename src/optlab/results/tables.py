"""Tables of a study as data frames: plain numbers, fractions and seconds, one idea a table."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from optlab.results.per_class import precision_recall_f1
from optlab.results.rates import RatePoint
from optlab.results.records import Run
from optlab.results.statistics import Estimate
from optlab.results.study import Study
from optlab.results.summary import GroupSummary, ProblemSummary
from optlab.results.target import target_of, time_to_target


def summary_table(summaries: Iterable[ProblemSummary]) -> pd.DataFrame:
    """One row a group; intervals as `_low` and `_high`, empty where there is none."""
    return pd.DataFrame(
        [_summary_row(summary, row) for summary in summaries for row in summary.rows]
    )


def _summary_row(summary: ProblemSummary, row: GroupSummary) -> dict[str, object]:
    difference = row.difference
    cells: dict[str, object] = {
        "problem": summary.problem.name,
        "rank": row.rank,
        "label": row.label,
        "optimizer": row.group.optimizer,
        "num_finished": row.num_finished,
        "num_diverged": row.num_diverged,
        "num_failed": row.num_failed,
        "validation_score": row.score,
    }
    for name, estimate in (
        ("val_accuracy_best", row.accuracy("validation")),
        ("test_accuracy_best", row.accuracy("test")),
        ("test_accuracy_last", row.accuracy("test", "last")),
        ("train_accuracy_best", row.accuracy("train")),
        ("generalization_gap", row.gap),
    ):
        cells.update(_spread(name, estimate))
    cells |= {
        "best_epoch": row.median(lambda run: run.metric("validation", "best", "epoch")),
        "num_epochs": row.median(lambda run: run.number("num_epochs")),
        "target": summary.target,
        "num_reached": row.num_reached if row.reached else None,
        "epochs_to_target": row.epochs_to_target,
        "time_to_target_s": row.time_to_target_s,
        "train_time_s": _mean(row.mean(lambda run: run.number("train_time_s"))),
        "images_per_s": _mean(row.mean(lambda run: run.number("images_per_s"))),
        "test_difference_to_best": difference.mean if difference else None,
        "test_difference_low": difference.low if difference else None,
        "test_difference_high": difference.high if difference else None,
        "num_pairs": difference.num_pairs if difference else None,
        "verdict": row.verdict,
    }
    return cells


def runs_table(study: Study, summaries: Iterable[ProblemSummary]) -> pd.DataFrame:
    """One row a run, tuning trials and runs left out included, with the part each one plays."""
    rows = []
    for summary in summaries:
        for row in summary.rows:
            for run in row.group.runs:
                rows.append(_run_row(run, summary.problem.name, row.label, "counted"))
        for run, reason in summary.problem.left_out:
            rows.append(_run_row(run, summary.problem.name, "", f"left out: {reason}"))
    rows += [_run_row(run, "", run.optimizer, "tuning trial") for run in study.tuning_runs]
    return pd.DataFrame(rows)


def _run_row(run: Run, problem: str, label: str, role: str) -> dict[str, object]:
    reached = time_to_target(run) if role == "counted" and run.status != "failed" else None
    return {
        "problem": problem,
        "label": label,
        "optimizer": run.optimizer,
        "seed": run.seed,
        "fold": run.fold,
        "status": run.status,
        "role": role,
        "lr": run.lr,
        "val_accuracy_best": run.metric("validation"),
        "val_accuracy_last": run.metric("validation", "last"),
        "test_accuracy_best": run.metric("test"),
        "test_accuracy_last": run.metric("test", "last"),
        "train_accuracy_best": run.metric("train"),
        "best_epoch": run.metric("validation", "best", "epoch"),
        "num_epochs": run.number("num_epochs"),
        "num_steps": run.number("num_steps"),
        "epochs_to_target": reached.epoch if reached else None,
        "time_to_target_s": reached.train_time_s if reached else None,
        "train_time_s": run.number("train_time_s"),
        "images_per_s": run.number("images_per_s"),
        "peak_memory_gib": run.number("peak_memory_gib"),
        "reason": run.record.get("reason"),
        "command": run.record.get("command"),
        "hash": run.hash,
        "folder": run.folder.name,
    }


def differences_table(summaries: Iterable[ProblemSummary]) -> pd.DataFrame:
    """Paired differences in test accuracy against the best by validation, as fractions."""
    return pd.DataFrame(
        [
            {
                "problem": summary.problem.name,
                "label": row.label,
                "best": summary.best.label if summary.best else None,
                "difference": difference.mean,
                "low": difference.low,
                "high": difference.high,
                "num_pairs": difference.num_pairs,
                "verdict": difference.verdict,
            }
            for summary in summaries
            for row, difference in summary.compared()
        ]
    )


def per_class_table(summaries: Iterable[ProblemSummary]) -> pd.DataFrame:
    """Precision, recall and F1 of each class on test, averaged over the finished runs."""
    rows = []
    for summary in summaries:
        names = summary.problem.class_names
        for row in summary.finished:
            scores = [precision_recall_f1(matrix) for matrix in confusion_matrices(row)]
            if not scores:
                continue
            means = np.mean(scores, axis=0)  # (3, num_classes)
            for name, precision, recall, f1 in zip(names, *means, strict=True):
                rows.append(
                    {
                        "problem": summary.problem.name,
                        "label": row.label,
                        "class": name,
                        "precision": precision,
                        "recall": recall,
                        "f1": f1,
                        "num_runs": len(scores),
                    }
                )
    return pd.DataFrame(rows)


def confusion_table(summaries: Iterable[ProblemSummary]) -> pd.DataFrame:
    """Test images by true and predicted class, summed over the finished runs; zeros left out."""
    rows = []
    for summary in summaries:
        names = summary.problem.class_names
        for row in summary.finished:
            matrices = confusion_matrices(row)
            if not matrices:
                continue
            total = np.sum(matrices, axis=0)  # (num_classes, num_classes)
            for true, predicted in np.argwhere(total):
                rows.append(
                    {
                        "problem": summary.problem.name,
                        "label": row.label,
                        "true": names[true],
                        "predicted": names[predicted],
                        "num_images": total[true, predicted],
                    }
                )
    return pd.DataFrame(rows)


def time_to_target_table(summary: ProblemSummary) -> pd.DataFrame:
    """One row a run: epoch, step and second at which it reached the target; `inf` for a miss."""
    rows = []
    for row in summary.rows:
        for run in row.group.runs:
            reached = time_to_target(run) if run.status != "failed" else None
            if reached is not None:
                rows.append(
                    {
                        "label": row.label,
                        "seed": run.seed,
                        "fold": run.fold,
                        "target": target_of(run),
                        "epoch": reached.epoch,
                        "step": reached.step,
                        "train_time_s": reached.train_time_s,
                    }
                )
    return pd.DataFrame(rows)


def rates_table(points: Iterable[RatePoint], knob: str) -> pd.DataFrame:
    """The points of an LR-sensitivity figure, the rate under its own name."""
    return pd.DataFrame(
        [
            {
                "optimizer": point.optimizer,
                "setting": point.label,
                knob: point.rate,
                "val_accuracy_best": point.val_accuracy,
                "status": point.status,
                "seed": point.seed,
            }
            for point in points
        ]
    )


def confusion_matrices(row: GroupSummary) -> list[np.ndarray]:
    """Test confusion matrices of a group's finished runs, those of the right shape."""
    matrices = []
    for run in row.group.finished:
        size = len(run.class_names)
        try:
            matrix = np.asarray(run.record.get("confusion_matrix"), dtype=int)
        except (TypeError, ValueError):
            continue
        if size and matrix.shape == (size, size):
            matrices.append(matrix)
    return matrices


def _spread(name: str, estimate: Estimate | None) -> dict[str, object]:
    return {
        name: estimate.mean if estimate else None,
        f"{name}_low": estimate.low if estimate else None,
        f"{name}_high": estimate.high if estimate else None,
    }


def _mean(estimate: Estimate | None) -> float | None:
    return estimate.mean if estimate else None
