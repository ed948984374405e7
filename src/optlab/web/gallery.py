"""Test images that only one optimizer gets wrong, or right."""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from optlab.analysis.disagreement import Votes, count_votes, mistaken_pictures, single_images
from optlab.analysis.images import read_all_answers
from optlab.web import schemas
from optlab.web.pictures import png_in_base64
from optlab.web.run_index import Study

MOST_IMAGES = 24  # of a group
WRONG_OR_RIGHT: tuple[Literal["wrong", "right"], ...] = ("wrong", "right")


def describe_gallery(study: Study) -> schemas.Gallery:
    """Return the images that only one optimizer gets wrong or right, at its best configuration.

    Two optimizers have only the images that one gets wrong: the other gets them right.

    An optimizer whose runs kept no answers for the same test images is left out and named.
    """
    votes: dict[str, Votes] = {}
    left_out = []
    for optimizer, row in study.best.items():
        try:
            found = count_votes(row, read_all_answers(row.configuration.finished))
        except ValueError:  # a damaged file
            found = None
        first = next(iter(votes.values()), found)
        if found is None or first is None or not np.array_equal(found.labels, first.labels):
            left_out.append(optimizer)
        else:
            votes[optimizer] = found
    if len(votes) < 2:
        return schemas.Gallery(groups=[], left_out=left_out)
    # Of two optimizers, only one is right exactly where only the other is wrong
    ways = WRONG_OR_RIGHT if len(votes) > 2 else WRONG_OR_RIGHT[:1]
    images_of = {  # where only this optimizer is wrong, or right
        (optimizer, only): images.tolist()
        for optimizer, pair in zip(votes, single_images([*votes.values()]), strict=True)
        for only, images in zip(ways, pair, strict=False)
    }
    wanted = [image for images in images_of.values() for image in images]
    runs = [run for name in votes for run in study.best[name].configuration.finished]
    try:
        pictures = mistaken_pictures(runs, wanted)
    except ValueError:
        pictures = {}
    groups = [
        schemas.GalleryGroup(
            optimizer=optimizer,
            only=only,
            num_images=len(images),
            images=[
                _image(image, pictures[image], votes)
                for image in [each for each in images if each in pictures][:MOST_IMAGES]
            ],
        )
        for (optimizer, only), images in images_of.items()
    ]
    return schemas.Gallery(groups=groups, left_out=left_out)


def _image(image: int, pixels: np.ndarray, votes: Mapping[str, Votes]) -> schemas.GalleryImage:
    return schemas.GalleryImage(
        image=image,
        true=int(next(iter(votes.values())).labels[image]),
        answers={optimizer: int(each.majority[image]) for optimizer, each in votes.items()},
        png=png_in_base64(pixels),
    )
