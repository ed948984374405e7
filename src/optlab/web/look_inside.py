"""Compute occlusion maps, mixtures of two pictures, and feature maps of the first layers."""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from optlab.data.image_dataset import Preparation
from optlab.models.feature_maps import feature_maps
from optlab.web import inference, schemas
from optlab.web.pictures import png_in_base64
from optlab.web.question import (
    Upload,
    ask_models,
    choose_models,
    not_blank,
    prepare_for,
    read_picture,
    seen,
)
from optlab.web.run_index import RunIndex
from optlab.web.selection import NotFound, find_model

MAX_LAYERS = 3  # whose feature maps are shown, the first ones
MAX_MAPS = 16  # of a layer, the first ones
MAX_MAP_SIDE = 64  # pixels; larger maps are averaged
GRAY = 128  # covers photographs, as in the paper; drawings are light on black
NUM_STRIDES = 7  # of the patch along each side, about


@dataclass(frozen=True)
class Patches:
    """The places of a square patch on a picture: each pair of a row and a column of `offsets`.

    Attributes:
        side: of the patch in pixels.
        offsets: of its upper left corner, rising, from one edge of the picture to the other.
    """

    side: int
    offsets: tuple[int, ...]

    @classmethod
    def of(cls, image_size: int) -> "Patches":
        """Return patches of a quarter of the picture's side; at 28 pixels of 7 with stride 3."""
        side = image_size // 4
        last = image_size - side
        stride = max(1, round(last / NUM_STRIDES))
        return cls(side, (*range(0, last, stride), last))

    def cover(self, pixels: np.ndarray, preparation: Preparation) -> np.ndarray:
        """Return the picture once for each patch, covered by background there.

        Source: Zeiler and Fergus 2014, arXiv:1311.2901, section 4.2.

        Args:
            pixels: uint8 (C, H, W), as prepared.
            preparation: how; the background of drawings and garments is black, that of
                photographs gray.

        Returns:
            (len(offsets)**2, C, H, W), columns of a row next to each other.
        """
        background = GRAY if preparation in ("resize", "center_crop") else 0
        places = [(row, column) for row in self.offsets for column in self.offsets]
        covered = np.repeat(pixels[None], len(places), axis=0)
        for picture, (row, column) in zip(covered, places, strict=True):
            picture[:, row : row + self.side, column : column + self.side] = background
        return covered


def falls(probabilities: np.ndarray) -> tuple[np.ndarray, int]:
    """Return how much each patch lowers the top class's probability, and the class at the worst.

    Args:
        probabilities: (1 + n * n, num_classes) of the picture itself, then of it covered by each
            patch.

    Returns:
        (n, n) differences of probabilities, negative where the answer becomes more probable, and
        the top class where the difference is largest.
    """
    plain, covered = probabilities[0], probabilities[1:]
    top = plain.argmax()
    difference = plain[top] - covered[:, top]
    num_offsets = round(len(covered) ** 0.5)
    worst = int(covered[difference.argmax()].argmax())
    return difference.reshape(num_offsets, num_offsets), worst


def mixtures(start: np.ndarray, end: np.ndarray, number: int) -> np.ndarray:
    """Return pictures on the line from one prepared picture to another, both included.

    Args:
        start: uint8 (C, H, W).
        end: likewise.
        number: of pictures, 2 or more.

    Returns:
        float32 (number, C, H, W) in 0..255.
    """
    share = np.linspace(0, 1, number, dtype=np.float32)[:, None, None, None]
    return (1 - share) * start + share * end


def switches(probabilities: np.ndarray) -> list[tuple[float, int]]:
    """Return where the answer changes along a line of pictures, and to which class.

    Between two pictures the logarithm of the ratio of the two classes' probabilities is taken as
    linear, which it is where the logits are linear. A class that wins nowhere but between two
    pictures is not found.

    Args:
        probabilities: (number, num_classes) of pictures at equal distances.

    Returns:
        Places in [0, 1], rising, each with the class from there on.
    """
    top = probabilities.argmax(axis=1)
    logs = np.log(probabilities.clip(np.finfo(float).tiny))
    found = []
    for index in np.flatnonzero(top[1:] != top[:-1]):
        lead = logs[index : index + 2, top[index]] - logs[index : index + 2, top[index + 1]]
        part = lead[0] / (lead[0] - lead[1]) if lead[0] > 0 else 0.0
        found.append((float((index + part) / (len(top) - 1)), int(top[index + 1])))
    return found


def answer_morph(
    run_index: RunIndex,
    store: inference.Networks,
    question: schemas.MorphQuestion,
    start: Upload,
    end: Upload,
) -> schemas.Morph:
    """Answer mixtures of two pictures, from one to the other.

    Raises:
        As `answer_question`, and UnreadablePicture where one of them is blank.
    """
    pictures = [read_picture(upload) for upload in (start, end)]
    study, models, num_left_out = choose_models(run_index, question)
    ends = [not_blank(prepare_for(study, picture)) for picture in pictures]
    images = mixtures(ends[0].pixels, ends[1].pixels, question.num_pictures)
    answer, unanswered = ask_models(store, models, images, question.step)
    return schemas.Morph(
        study=study.name,
        step=question.step,
        class_names=list(study.input.class_names),
        start=seen(ends[0]),
        end=seen(ends[1]),
        optimizers=[
            schemas.MorphAnswer(
                optimizer=one.optimizer,
                top=one.probabilities.argmax(axis=1).tolist(),
                probability=one.probabilities.max(axis=1).tolist(),
                switches=[
                    schemas.Switch(at=at, top=top) for at, top in switches(one.probabilities)
                ],
            )
            for one in answer.optimizers
        ],
        num_left_out=num_left_out,
        unanswered=unanswered,
    )


def answer_feature_maps(
    run_index: RunIndex, store: inference.Networks, model_id: str, step: int | None, upload: Upload
) -> schemas.FeatureMaps:
    """Return the feature maps of one model's first layers for a picture.

    Raises:
        As `answer_question`, and UnreadablePicture where it is blank.
    """
    picture = read_picture(upload)
    model, study = find_model(run_index.table(), model_id)
    prepared = not_blank(prepare_for(study, picture))
    network = store.get(model, step)
    if isinstance(network, str):
        raise NotFound(f"{model.run.folder.name} cannot answer: {network}.")
    image = inference.normalized(model, torch.from_numpy(prepared.pixels))
    try:
        # A copy, because other threads ask the network itself, and would run into its hooks
        layers = feature_maps(copy.deepcopy(network), image)[:MAX_LAYERS]
    except ValueError:  # it has no convolutions
        layers = []
    return schemas.FeatureMaps(model=model.id, layers=[_layer(maps) for maps in layers])


def _layer(maps: torch.Tensor) -> schemas.FeatureLayer:
    num_maps, height, width = maps.shape
    shown = maps[:MAX_MAPS]
    if max(height, width) > MAX_MAP_SIDE:
        shown = functional.adaptive_avg_pool2d(shown, MAX_MAP_SIDE)
    low, high = min(float(shown.min()), 0.0), float(shown.max())
    levels = ((shown - low) / max(high - low, 1e-12) * 255).round().byte()
    return schemas.FeatureLayer(
        num_maps=num_maps,
        height=height,
        width=width,
        low=low,
        high=high,
        maps=[png_in_base64(each.numpy()) for each in levels],
    )
