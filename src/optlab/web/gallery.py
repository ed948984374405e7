"""Test images that only one optimizer gets wrong, or right."""

import base64
import io
from collections.abc import Mapping

import numpy as np
from PIL import Image

from optlab.analysis.disagreement import Votes, mistaken_pictures, single_images, votes_of
from optlab.web import schemas
from optlab.web.run_index import Study

MOST_IMAGES = 24  # of a group


def describe_gallery(study: Study) -> schemas.Gallery:
    """Return the images that only one optimizer gets wrong or right, at its best configuration.

    An optimizer whose runs kept no answers for the same test images is left out and named.
    """
    votes: dict[str, Votes] = {}
    left_out = []
    for optimizer, row in study.best.items():
        try:
            found = votes_of(row)
        except ValueError:  # a damaged file
            found = None
        first = next(iter(votes.values()), found)
        if found is None or first is None or not np.array_equal(found.labels, first.labels):
            left_out.append(optimizer)
        else:
            votes[optimizer] = found
    if len(votes) < 2:
        return schemas.Gallery(groups=[], left_out=left_out)
    alone = dict(zip(votes, single_images([*votes.values()]), strict=True))
    wanted = [int(image) for pair in alone.values() for images in pair for image in images]
    runs = [run for name in votes for run in study.best[name].configuration.finished]
    try:
        pictures = mistaken_pictures(runs, wanted)
    except ValueError:
        pictures = {}
    groups = [
        schemas.GalleryGroup(
            optimizer=optimizer,
            alone="wrong" if images is only_wrong else "right",
            num_images=len(images),
            images=[
                _image(image, pictures[image], votes)
                for image in map(int, images)
                if image in pictures
            ][:MOST_IMAGES],
        )
        for optimizer, (only_wrong, only_right) in alone.items()
        for images in (only_wrong, only_right)
    ]
    return schemas.Gallery(groups=groups, left_out=left_out)


def _image(image: int, pixels: np.ndarray, votes: Mapping[str, Votes]) -> schemas.GalleryImage:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return schemas.GalleryImage(
        image=image,
        true=int(next(iter(votes.values())).labels[image]),
        answers={optimizer: int(each.majority[image]) for optimizer, each in votes.items()},
        png=base64.b64encode(file.getvalue()).decode(),
    )
