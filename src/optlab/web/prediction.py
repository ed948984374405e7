"""Answer a question about a picture for the API."""

import time
from typing import Any

import numpy as np

from optlab.data.preprocessing import Prepared
from optlab.web import inference, schemas
from optlab.web.look_inside import Patches, falls
from optlab.web.novelty import Reference, References, has_reference, num_side_by_side
from optlab.web.question import Upload, ask_models, choose_models, prepare_for, read_picture, seen
from optlab.web.run_index import RunIndex, Study


def answer_question(
    run_index: RunIndex,
    store: inference.Networks,
    references: References,
    question: schemas.Question,
    upload: Upload,
) -> schemas.Prediction:
    """Answer a picture.

    Raises:
        UnsupportedType: the content type is none of ours.
        PictureTooLarge: more pixels than are decoded.
        NotFound: a name is not in the table, or no model can answer.
        UnreadablePicture: the body is no such picture.
    """
    start_s = time.perf_counter()
    picture = read_picture(upload)
    study, models, num_left_out = choose_models(run_index, question)
    prepared = prepare_for(study, picture)
    patches = Patches.of(study.input.image_size) if question.occlusion else None
    answer: inference.Answer | None = None
    unanswered: list[schemas.Unanswered] = []
    found: dict[str, Any] = {}
    if not prepared.blank:
        images = prepared.pixels[None]
        if patches:
            covered = patches.cover(prepared.pixels, study.input.preparation)
            images = np.concatenate([images, covered])
        answer, unanswered = ask_models(store, models, images, question.step, question.saliency)
        found = doubts(study, picture, prepared, references.get(study))
    elapsed_ms = 1000 * (time.perf_counter() - start_s)
    names = list(study.input.class_names)
    ensemble, optimizers = _choices(answer, names, question.step, patches)
    return schemas.Prediction(
        study=study.name,
        step=question.step,
        class_names=names,
        blank=prepared.blank,
        seen=seen(prepared),
        ensemble=ensemble,
        optimizers=optimizers,
        num_left_out=num_left_out,
        unanswered=unanswered,
        elapsed_ms=elapsed_ms,
        **found,
    )


def doubts(
    study: Study,
    picture: np.ndarray,
    prepared: Prepared,
    reference: Reference | schemas.NoReference | None,
) -> dict[str, Any]:
    """Return reasons not to read a picture as one digit, as fields of a prediction."""
    novelty = None
    if isinstance(reference, Reference):
        distance = reference.distance(prepared)
        is_unfamiliar = distance > reference.threshold
        novelty = schemas.Novelty(
            distance=distance, threshold=reference.threshold, unfamiliar=is_unfamiliar
        )
    return {
        "num_digits": num_side_by_side(picture) if study.reads_drawings else None,
        "novelty": novelty,
        "novelty_pending": reference is None and has_reference(study),
        "no_novelty": None if isinstance(reference, Reference) else reference,
    }


def _choices(
    answer: inference.Answer | None, names: list[str], step: int | None, patches: Patches | None
) -> tuple[schemas.Ensemble | None, list[schemas.OptimizerChoice]]:
    """Return the answers to the first picture; the others are it with a patch over it."""
    if answer is None:
        return None, []

    def choice(probabilities: np.ndarray) -> dict[str, Any]:
        top = int(probabilities[0].argmax())
        return {"probabilities": probabilities[0].tolist(), "top": top, "name": names[top]}

    def occlusion(probabilities: np.ndarray) -> schemas.Occlusion | None:
        if patches is None:
            return None
        by_patch, worst = falls(probabilities)
        return schemas.Occlusion(
            patch=patches.side,
            offsets=list(patches.offsets),
            falls=by_patch.round(4).tolist(),
            worst=worst,
        )

    optimizers = [
        schemas.OptimizerChoice(
            optimizer=one.optimizer,
            models=[
                schemas.ModelChoice(
                    id=each.model.id,
                    step=inference.step_at(each.model, step),
                    **choice(each.probabilities),
                )
                for each in one.models
            ],
            saliency=_levels(one.saliency),
            occlusion=occlusion(one.probabilities),
            **choice(one.probabilities),
        )
        for one in answer.optimizers
    ]
    all_together = choice(answer.probabilities)
    ensemble = schemas.Ensemble(
        num_models=sum(len(one.models) for one in answer.optimizers),
        num_agreeing=sum(one.top == all_together["top"] for one in optimizers),
        saliency=_levels(answer.saliency),
        **all_together,
    )
    return ensemble, optimizers


def _levels(values: np.ndarray | None) -> Any:
    """Convert values in [0, 1] to nested lists of whole numbers from 0 to 255."""
    return None if values is None else (values * 255).round().astype(np.uint8).tolist()
