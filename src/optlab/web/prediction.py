"""From a question and the bytes of a picture to the API's answer."""

import time
from typing import Any

import numpy as np

from optlab.data.preprocessing import Prepared, prepare
from optlab.web import inference, schemas
from optlab.web.novelty import Reference, References, has_reference, num_side_by_side
from optlab.web.pictures import CONTENT_TYPES, picture_from_image, picture_from_json
from optlab.web.run_index import Model, RunIndex, Study
from optlab.web.selection import NotFound, at_most, choose

MAX_MODELS_PER_QUESTION = 32


class UnsupportedType(ValueError):
    """A content type that is neither JSON nor an image we read."""


def answer_question(
    run_index: RunIndex,
    store: inference.Networks,
    references: References,
    question: schemas.Question,
    content_type: str,
    body: bytes,
) -> schemas.Prediction:
    """From the body of a request to its answer.

    Raises:
        UnsupportedType: the content type is none of ours.
        PictureTooLarge: more pixels than are decoded.
        NotFound: a name that is not in the table, or nobody who can answer.
        UnreadablePicture: the body is no such picture.
    """
    start_s = time.perf_counter()
    picture = read_picture(content_type, body)
    table = run_index.table()
    study, models = choose(table, question.study, question.optimizer, question.model)
    asked = at_most(models, MAX_MODELS_PER_QUESTION)
    prepared = prepare(
        picture,
        preparation=study.input.preparation,
        in_channels=study.input.in_channels,
        image_size=study.input.image_size,
    )
    answer = None
    if not prepared.blank:
        answer = inference.ask(
            store, asked, prepared, with_saliency=question.saliency, step=question.step
        )
    answered = [each.model for said in answer.optimizers for each in said.models] if answer else []
    unanswered = {
        model: store.problem(model, question.step) or "its answer is not finite"
        for members in asked.values()
        for model in members
        if not prepared.blank and model not in answered
    }
    if unanswered and not answered:
        model, problem = next(iter(unanswered.items()))
        others = f", and {len(unanswered) - 1} more" if len(unanswered) > 1 else ""
        name = model.run.folder.name
        raise NotFound(f"None of the chosen models can answer: {name} ({problem}){others}.")
    num_left_out = sum(map(len, models.values())) - sum(map(len, asked.values()))
    doubts = {} if prepared.blank else _doubts(study, picture, prepared, references)
    elapsed_ms = 1000 * (time.perf_counter() - start_s)
    return _prediction(
        study, question.step, prepared, answer, unanswered, num_left_out, doubts, elapsed_ms
    )


def _doubts(
    study: Study, picture: np.ndarray, prepared: Prepared, references: References
) -> dict[str, Any]:
    """Return what speaks against reading a picture as one digit."""
    reference = references.get(study)
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
        "no_novelty": reference if isinstance(reference, str) else None,
    }


def read_picture(content_type: str, body: bytes) -> np.ndarray:
    """From the body of a request to pixels.

    Raises:
        UnsupportedType: the content type is none of ours.
        PictureTooLarge: more pixels than are decoded.
        UnreadablePicture: the body is no such picture.
    """
    if content_type == "application/json":
        return picture_from_json(body)
    if content_type in CONTENT_TYPES:  # the bytes say which of them, as for training
        return picture_from_image(body)
    raise UnsupportedType(f"Send {', '.join(['application/json', *CONTENT_TYPES])}.")


def _prediction(
    study: Study,
    step: int | None,
    prepared: Prepared,
    answer: inference.Answer | None,
    unanswered: dict[Model, str],
    num_left_out: int,
    doubts: dict[str, Any],
    elapsed_ms: float,
) -> schemas.Prediction:
    names = list(study.input.class_names)
    channels, side, _ = prepared.pixels.shape

    def choice(probabilities: np.ndarray) -> dict[str, Any]:
        top = int(probabilities.argmax())
        return {"probabilities": probabilities.tolist(), "top": top, "name": names[top]}

    optimizers = [
        schemas.OptimizerChoice(
            optimizer=said.optimizer,
            models=[
                schemas.ModelChoice(
                    id=each.model.id,
                    step=inference.step_at(each.model, step),
                    **choice(each.probabilities),
                )
                for each in said.models
            ],
            saliency=_levels(said.saliency),
            **choice(said.probabilities),
        )
        for said in (answer.optimizers if answer else ())
    ]
    ensemble = None
    if answer:
        top = int(answer.probabilities.argmax())
        ensemble = schemas.Ensemble(
            num_models=sum(len(said.models) for said in answer.optimizers),
            num_agreeing=sum(said.top == top for said in optimizers),
            saliency=_levels(answer.saliency),
            **choice(answer.probabilities),
        )
    return schemas.Prediction(
        study=study.name,
        step=step,
        class_names=names,
        blank=prepared.blank,
        seen=schemas.Seen(channels=channels, side=side, pixels=prepared.pixels.tolist()),
        ensemble=ensemble,
        optimizers=optimizers,
        num_left_out=num_left_out,
        unanswered=[
            schemas.Unanswered(id=model.id, problem=problem)
            for model, problem in unanswered.items()
        ],
        elapsed_ms=elapsed_ms,
        **doubts,
    )


def _levels(values: np.ndarray | None) -> Any:
    """From [0, 1] to nested lists of whole numbers 0 to 255."""
    return None if values is None else (values * 255).round().astype(np.uint8).tolist()
