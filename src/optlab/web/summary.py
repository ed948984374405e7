"""Describe models and studies for the API, from their records and the report's ranking."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from urllib.parse import quote

import pandas as pd

from optlab.analysis import Run
from optlab.analysis.labels import display_name
from optlab.data.preprocessing import PEN_WIDTHS
from optlab.plots.interactive import curves_data
from optlab.plots.palette import line_style
from optlab.runs.folder import RunFolder
from optlab.web import schemas
from optlab.web.inference import Networks
from optlab.web.run_index import REPORT, Model, Study, Table, failure_reason


def describe(
    table: Table,
    networks: Networks,
    *,
    training: bool = False,
    train_command: str | None = None,
    can_race: bool = False,
    address: str | None = None,
) -> schemas.Models:
    """Describe everything that can be asked, the newest study first."""
    default = table.default_study()
    studies = sorted(table.studies.values(), key=lambda study: -study.modified_ns)
    return schemas.Models(
        default_study=default.name if default else None,
        studies=[_entry(study) for study in studies],
        models=[_model(each, study, networks) for study in studies for each in study.models],
        unusable=list(table.unusable),
        unfinished=list(table.unfinished),
        styles={name: style(name) for study in studies for name in study.optimizers},
        training=training,
        train_command=train_command,
        can_race=can_race,
        address=address,
    )


def describe_model(model: Model, study: Study, networks: Networks) -> schemas.ModelDetail:
    return schemas.ModelDetail(
        **_model(model, study, networks).model_dump(),
        curve=_curve(model.run.epochs.set_index("epoch")),
        moments=_moments(model.run),
        class_names=list(model.input.class_names),
        confusion_matrix=model.run.record.confusion_matrix,
    )


def describe_study(study: Study) -> schemas.StudyDetail:
    """Describe a study, with a row for each optimizer in the order of the report's ranking."""
    rows = [_row(study, optimizer) for optimizer in study.optimizers]
    finished = [run for row in study.rows for run in row.configuration.finished]
    judged = sorted({run.judged_weights for run in finished})
    return schemas.StudyDetail(
        **_entry(study).model_dump(),
        rows=rows,
        curves=_curves(study),
        judged_weights=judged,
        moments=_study_moments(study),
    )


@lru_cache(maxsize=8)
def _curves(study: Study) -> list[schemas.Quantity]:
    """Return the mean curves of each optimizer's best configuration."""
    shown = [
        replace(  # copies of runs, so that their long tables of steps are not kept
            row.configuration,
            label=optimizer,  # the only one of its optimizer
            runs=tuple(replace(run, notes=[]) for run in row.configuration.runs),
        )
        for optimizer, row in study.best.items()
    ]
    found = curves_data(shown, {one.label: line_style(one.optimizer) for one in shown})
    return [schemas.Quantity(**quantity) for quantity in found]


def _study_moments(study: Study) -> list[schemas.Moment]:
    """Return every optimizer step at which a model of the study has a snapshot."""
    kept = {model: RunFolder(model.run.folder).snapshot_steps for model in study.models}
    kept = {model: steps for model, steps in kept.items() if steps}
    if not kept:
        return []
    epochs = max(kept, key=lambda model: kept[model][-1]).run.epochs
    passed = epochs["step"].iloc[-1] / epochs["epoch"].iloc[-1] if len(epochs) else math.nan
    return [
        schemas.Moment(step=step, epoch=step / passed if passed > 0 else None)
        for step in sorted({step for steps in kept.values() for step in steps})
    ]


def _moments(run: Run) -> schemas.Moments:
    steps = RunFolder(run.folder).snapshot_steps
    losses = replace(run, notes=[]).steps["train/loss"]  # of a copy, which is not kept

    def mean_from(step: int) -> float | None:
        """Average over a tenth of the steps so far, because a single batch is noisy."""
        count = 1 + step // 10
        mean = losses.iloc[: step + count].tail(count).mean()
        return float(mean) if math.isfinite(mean) else None

    return schemas.Moments(steps=steps, train_loss=[mean_from(step) for step in steps])


def _entry(study: Study) -> schemas.StudyEntry:
    read = study.input
    address = f"/api/studies/{quote(study.name, safe='')}/report/{REPORT}"
    return schemas.StudyEntry(
        name=study.name,
        folder=study.folder.name,
        title=study.title,
        dataset=read.title,
        reads="drawing" if study.reads_drawings else "picture",
        preparation=read.preparation,
        class_names=list(read.class_names),
        image_size=read.image_size,
        pen_width=PEN_WIDTHS.get(read.preparation),
        optimizers=list(study.answering),
        report_url=address if study.report_files() else None,
    )


def style(optimizer: str) -> schemas.Style:
    """Return an optimizer's title, color and line, the same in every figure."""
    line = line_style(optimizer)
    return schemas.Style(title=display_name(optimizer), color=line.color, dashes=list(line.dashes))


def _model(model: Model, study: Study, networks: Networks) -> schemas.Model:
    record = model.run.record
    return schemas.Model(
        id=model.id,
        study_name=study.name,
        run_name=record.run_name,
        network=record.model.name,
        optimizer=model.optimizer,
        seed=record.seed,
        lr=record.optimizer.lr,
        num_parameters=record.model.num_parameters,
        num_epochs=record.num_epochs,
        train_time_s=record.train_time_s,
        val_accuracy=record.metric("validation", "best"),
        test_accuracy=record.metric("test", "best"),
        answers_by_default=model in study.answering.get(model.optimizer, ()),
        problem=networks.problem(model),
    )


def _row(study: Study, optimizer: str) -> schemas.StudyRow:
    """Return means over the finished runs of the optimizer's best configuration.

    As in the report, accuracies are those of the weights that the ranking judges.
    """
    rows = [row for row in study.rows if row.configuration.optimizer == optimizer]
    best = study.best.get(optimizer)
    shown = [best] if best else rows  # without a result, all that diverged
    others = sum(row.num_finished + row.num_diverged for row in rows if row not in shown)
    failed = [run for row in rows for run in row.configuration.failed]
    finished = best.configuration.finished if best else ()
    tests = [accuracy for run in finished if (accuracy := run.metric("test")) is not None]
    rates = {run.lr for run in finished}

    def mean(number: Callable[[Run], float | None]) -> float | None:
        return best.mean(number) if best else None

    return schemas.StudyRow(
        optimizer=optimizer,
        num_runs=len(finished),
        num_other_runs=others + study.num_others.get(optimizer, 0),
        num_diverged=sum(row.num_diverged for row in shown),
        num_failed=len(failed),
        reasons=list(dict.fromkeys(map(failure_reason, failed))),
        lr=rates.pop() if len(rates) == 1 else None,
        test_accuracy=mean(lambda run: run.metric("test")),
        test_accuracy_min=min(tests, default=None),
        test_accuracy_max=max(tests, default=None),
        val_accuracy=mean(lambda run: run.metric("validation")),
        train_loss=mean(lambda run: run.metric("train", quantity="loss")),
        train_time_s=mean(lambda run: run.record.train_time_s),
        num_epochs=mean(lambda run: run.record.num_epochs),
    )


def _curve(curve: pd.DataFrame) -> schemas.Curve:
    """Return the curve by epoch, the index; null where a number is not finite."""

    def column(name: str) -> list[float | None]:
        return [value if math.isfinite(value) else None for value in curve[name].tolist()]

    return schemas.Curve(
        epochs=[int(epoch) for epoch in curve.index],
        train_loss=column("train/loss"),
        val_loss=column("val/loss"),
        val_accuracy=column("val/accuracy"),
    )
