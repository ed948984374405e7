"""The parts that all questions about a picture share: the picture, the models, the answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from optlab.data.preprocessing import Prepared, prepare
from optlab.web import inference, schemas
from optlab.web.pictures import (
    CONTENT_TYPES,
    UnreadablePicture,
    picture_from_image,
    picture_from_json,
)
from optlab.web.run_index import Model, RunIndex, Study
from optlab.web.selection import NotFound, at_most_allowed, choose


class UnsupportedType(ValueError):
    """A content type that is neither JSON nor an image we read."""


@dataclass(frozen=True)
class Upload:
    """A picture as a client sent it."""

    content_type: str
    body: bytes


def read_picture(upload: Upload) -> np.ndarray:
    """Return the pixels of an upload.

    Raises:
        UnsupportedType: the content type is none of ours.
        PictureTooLarge: more pixels than are decoded.
        UnreadablePicture: the body is no such picture.
    """
    if upload.content_type == "application/json":
        return picture_from_json(upload.body)
    if upload.content_type in CONTENT_TYPES:  # the bytes say which of them, as for training
        return picture_from_image(upload.body)
    raise UnsupportedType(f"Send {', '.join(['application/json', *CONTENT_TYPES])}.")


def choose_models(
    run_index: RunIndex, whom: schemas.Whom
) -> tuple[Study, dict[str, Sequence[Model]], int]:
    """Return a study, the models to ask by optimizer, and how many more were chosen."""
    study, chosen = choose(run_index.table(), whom.study, whom.optimizer, whom.model)
    models = at_most_allowed(chosen)
    return study, models, sum(map(len, chosen.values())) - sum(map(len, models.values()))


def prepare_for(study: Study, picture: np.ndarray) -> Prepared:
    """Return a picture as the networks of a study read it."""
    read = study.input
    return prepare(
        picture,
        preparation=read.preparation,
        in_channels=read.in_channels,
        image_size=read.image_size,
    )


def not_blank(prepared: Prepared) -> Prepared:
    """Return the picture.

    Raises:
        UnreadablePicture: it is blank.
    """
    if prepared.blank:
        raise UnreadablePicture("The picture is blank: there is nothing in it to read.")
    return prepared


def ask_models(
    store: inference.Networks,
    models: Mapping[str, Sequence[Model]],
    images: np.ndarray,
    step: int | None,
    with_saliency: bool = False,
) -> tuple[inference.Answer, list[schemas.Unanswered]]:
    """Return the answers to pictures, and the models that cannot answer.

    Raises:
        NotFound: no model can answer.
    """
    answer = inference.ask(store, models, images, with_saliency=with_saliency, step=step)
    answered = [each.model for one in answer.optimizers for each in one.models] if answer else []
    problems = {
        model: store.problem(model, step) or "its answer is not finite"
        for members in models.values()
        for model in members
        if model not in answered
    }
    if answer is None:
        model, problem = next(iter(problems.items()))
        others = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        name = model.run.folder.name
        raise NotFound(f"None of the chosen models can answer: {name} ({problem}){others}.")
    return answer, [
        schemas.Unanswered(id=model.id, problem=problem) for model, problem in problems.items()
    ]


def seen(prepared: Prepared) -> schemas.Seen:
    """Return the networks' input as the API describes it."""
    channels, side, _ = prepared.pixels.shape
    return schemas.Seen(channels=channels, side=side, pixels=prepared.pixels.tolist())
