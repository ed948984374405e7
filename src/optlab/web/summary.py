"""What the API tells about runs and studies, from their records alone."""

from collections.abc import Callable, Sequence
from statistics import fmean
from urllib.parse import quote

from optlab.analysis.labels import display_name
from optlab.plots.palette import style_of
from optlab.web import schemas
from optlab.web.answers import Networks
from optlab.web.catalogue import REPORT, Study, Table
from optlab.web.preprocessing import IN_WORDS, PEN_WIDTHS
from optlab.web.record import BestAndLast
from optlab.web.run import Curve, Run


def describe(table: Table, networks: Networks, training: bool) -> schemas.Models:
    """Everything that can be asked, studies with the newest first."""
    default = table.default_study()
    studies = sorted(table.studies.values(), key=lambda study: -study.modified_ns)
    return schemas.Models(
        default_study=default.name if default else None,
        studies=[_entry(study) for study in studies],
        models=[_model(run, study, networks) for study in studies for run in study.finished],
        unusable=[
            schemas.Unusable(study=study, run=run, problem=problem)
            for study, run, problem in table.unreadable
        ],
        styles={name: _style(name) for study in studies for name in _optimizers(study)},
        training=training,
    )


def describe_model(table: Table, networks: Networks, run: Run) -> schemas.ModelDetail:
    study = next(study for study in table.studies.values() if run in study.runs)
    return schemas.ModelDetail(
        **_model(run, study, networks).model_dump(),
        curve=_curve(run.curve),
        class_names=run.record.dataset.class_names,
        confusion_matrix=run.record.confusion_matrix,
    )


def describe_study(study: Study) -> schemas.StudyDetail:
    """A row for each optimizer that was run, best by validation first."""
    scores = {name: fmean(run.score for run in runs) for name, runs in study.best.items()}
    names = sorted(_optimizers(study), key=lambda name: -scores.get(name, 0))
    rows = [_row(study, optimizer) for optimizer in names]
    return schemas.StudyDetail(**_entry(study).model_dump(), rows=rows)


def _optimizers(study: Study) -> list[str]:
    """All that were run, those that came to no result among them."""
    names = [run.optimizer for run in study.runs]
    return list(dict.fromkeys([*names, *(failure.optimizer for failure in study.failures)]))


def _entry(study: Study) -> schemas.StudyEntry:
    dataset = study.dataset
    address = f"/api/studies/{quote(study.name, safe='')}/report/{REPORT}"
    return schemas.StudyEntry(
        name=study.name,
        title=study.title,
        dataset=dataset.title,
        reads="drawing" if study.reads_drawings else "picture",
        preparation=IN_WORDS[dataset.preparation],
        class_names=dataset.class_names,
        image_size=dataset.image_size,
        pen_width=PEN_WIDTHS.get(dataset.preparation),
        optimizers=list(study.answering),
        report_url=address if study.report_files() else None,
    )


def _style(optimizer: str) -> schemas.Style:
    style = style_of(optimizer)
    return schemas.Style(
        title=display_name(optimizer), colour=style.color, dashes=list(style.dashes)
    )


def _model(run: Run, study: Study, networks: Networks) -> schemas.Model:
    record = run.record
    return schemas.Model(
        id=run.id,
        study_name=study.name,
        run_name=record.run_name,
        network=record.model.name,
        optimizer=run.optimizer,
        seed=record.seed,
        lr=record.optimizer.lr,
        num_parameters=record.model.num_parameters,
        num_epochs=record.num_epochs,
        train_time_s=record.train_time_s,
        val_accuracy=_accuracy(record.validation),
        test_accuracy=_accuracy(record.test),
        answers_by_default=run in study.answering.get(run.optimizer, ()),
        problem=networks.problem(run),
    )


def _row(study: Study, optimizer: str) -> schemas.StudyRow:
    speaking = study.answering.get(optimizer, ())
    every = [run for run in study.runs if run.optimizer == optimizer]
    best = study.best.get(optimizer) or [run for run in every if not run.finished]
    failed = [failure for failure in study.failures if failure.optimizer == optimizer]
    records = [run.record for run in speaking]
    tests = [a for record in records if (a := _accuracy(record.test)) is not None]
    rates = {record.optimizer.lr for record in records}
    return schemas.StudyRow(
        optimizer=optimizer,
        num_runs=len(speaking),
        num_other_runs=len(every) - len(best),
        num_diverged=len(best) - len(speaking),
        num_failed=len(failed),
        reasons=list(dict.fromkeys(failure.reason for failure in failed)),
        lr=rates.pop() if len(rates) == 1 else None,
        test_accuracy=_mean(tests),
        test_accuracy_min=min(tests, default=None),
        test_accuracy_max=max(tests, default=None),
        val_accuracy=_mean([_accuracy(record.validation) for record in records]),
        train_loss=_mean(
            [r.train.best.loss if r.train and r.train.best else None for r in records]
        ),
        train_time_s=_mean([record.train_time_s for record in records]),
        num_epochs=_mean([record.num_epochs for record in records]),
        curve=_mean_curve([run.curve for run in speaking]),
    )


def _accuracy(scores: BestAndLast | None) -> float | None:
    return scores.best.accuracy if scores and scores.best else None


def _mean(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return fmean(present) if present else None


def _curve(curve: Curve) -> schemas.Curve:
    return schemas.Curve(
        epochs=curve.epochs,
        train_loss=curve.train_loss,
        val_loss=curve.val_loss,
        val_accuracy=curve.val_accuracy,
    )


def _mean_curve(curves: Sequence[Curve]) -> schemas.Curve | None:
    """Epoch by epoch up to the shortest run, so that every point is a mean over all of them."""
    curves = [curve for curve in curves if curve.epochs]
    if not curves:
        return None
    length = min(len(curve.epochs) for curve in curves)

    def mean(column: Callable[[Curve], list[float | None]]) -> list[float | None]:
        return [_mean([column(curve)[i] for curve in curves]) for i in range(length)]

    return schemas.Curve(
        epochs=curves[0].epochs[:length],
        train_loss=mean(lambda curve: curve.train_loss),
        val_loss=mean(lambda curve: curve.val_loss),
        val_accuracy=mean(lambda curve: curve.val_accuracy),
    )
