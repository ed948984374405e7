"""Detect drawings that are out of distribution for the networks.

Networks classify any input, often with high confidence. The features of a letter (the input of the
last layer, scaled to length 1) are farther from those of training images than the features of a
digit. Source: Sun, Ming, Zhu and Li 2022, "Out-of-Distribution Detection with
Deep Nearest Neighbors", arXiv:2204.06507, section 3. As there, the threshold lets 95 % of held-out
images pass. Held-out MNIST has many untidy digits; of drawn ones more pass (docs/page.md).

Only for networks that read drawings in MNIST's form. The embedded digits are so coarse and so few
that drawn digits are as far from them as letters are.
"""

import copy
import logging
import math
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor, nn

from optlab.data.image_dataset import DataUnavailableError
from optlab.data.preprocessing import EDGE_LEVEL, Prepared, extract_ink
from optlab.data.registry import clear_dataset_cache
from optlab.data.run_images import load_run_images
from optlab.web.inference import Networks, WeightsKey, normalization, weights_key
from optlab.web.run_index import Model, Study
from optlab.web.schemas import NoReference

log = logging.getLogger(__name__)

NUM_TRAINING_IMAGES = 20_000  # at most, whose features are kept: 10 MB with 128 features
NUM_HELD_OUT = 3_000  # maximum number of images for the threshold
NEIGHBOR = 5  # the distance is that of the fifth nearest
SHARE_PASSED = 0.95
MAX_PARAMETERS = 3_000_000  # of a network; more would take a minute
MAX_KEPT = 4  # references, of the studies that were asked last
BATCH = 500
RETRY_S = 30.0  # between two looks for images that were missing
PARTS_SIDE = 280  # pixels, of the page's canvas
TALL = 0.5  # of the tallest part: as tall a part is a digit of its own


class Reference:
    """One network's features of training images.

    Args:
        network: ends with a linear layer.
        training: (N, C, H, W) uint8 images.
        held_out: (M, C, H, W) uint8 images that it was not trained on.
        normalization: factor and summand of their pixels, as in training.
    """

    def __init__(
        self,
        network: nn.Module,
        training: Tensor,
        held_out: Tensor,
        normalization: tuple[Tensor, Tensor],
    ) -> None:
        self._body = without_last_layer(network)
        self._scale, self._shift = normalization
        self._known = torch.cat([self._features(batch) for batch in training.split(BATCH)])
        distances = np.concatenate([self._distances(batch) for batch in held_out.split(BATCH)])
        self.threshold = float(np.quantile(distances, SHARE_PASSED))

    def distance(self, prepared: Prepared) -> float:
        """Return how far a drawing is from training images; above `threshold` it is unfamiliar."""
        return float(self._distances(torch.from_numpy(prepared.pixels)[None])[0])

    def _features(self, images: Tensor) -> Tensor:
        with torch.inference_mode():
            features = self._body(images.float() * self._scale + self._shift).flatten(1)
            return nn.functional.normalize(features, dim=1)  # (N, features)

    def _distances(self, images: Tensor) -> np.ndarray:
        similarity = self._features(images) @ self._known.T  # of vectors of length 1
        kth = similarity.topk(NEIGHBOR, dim=1).values[:, -1]
        return (2 - 2 * kth).clamp_min(0).sqrt().numpy()


def without_last_layer(network: nn.Module) -> nn.Module:
    """Return a copy whose output is what the last linear layer is given.

    Raises:
        ValueError: it has no linear layer.
    """
    linear = [name for name, each in network.named_modules() if isinstance(each, nn.Linear)]
    if not linear:
        raise ValueError("the network has no linear layer")
    body = copy.deepcopy(network)
    parent, _, name = linear[-1].rpartition(".")
    setattr(body.get_submodule(parent), name, nn.Identity())
    return body.eval()


@dataclass
class _Kept:
    """The reference of a study, and the model whose features it has."""

    model: Model
    key: WeightsKey
    reference: Reference | NoReference | None  # None while it is computed
    retry_at: float = math.inf  # where images are missing
    maker: threading.Thread = field(init=False)


class References:
    """The reference of each study, computed in a background thread when it is first needed.

    With MNIST and the small CNN that takes 7 s of one core and 300 MB until it is done. Of these
    10 MB are the features; at most `MAX_KEPT` references are kept.

    Args:
        networks: where loaded networks are kept.
    """

    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        self._kept: OrderedDict[str, _Kept] = OrderedDict()  # by study
        self._lock = threading.Lock()
        self._making = threading.Lock()

    def get(self, study: Study) -> Reference | NoReference | None:
        """Return a study's reference, or why there is none.

        None where the study has no use for one, and while it is being made.
        """
        if not has_reference(study):
            return None
        with self._lock:
            kept = self._kept.get(study.name)
            ids = {model.id for model in study.models}
            if kept is None or kept.model.id not in ids or weights_key(kept.model) != kept.key:
                kept = self._start(study, None)
            elif kept.reference == "no_images" and time.monotonic() >= kept.retry_at:
                kept = self._start(study, "no_images")  # they may have arrived
            self._kept.move_to_end(study.name)
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        return kept.reference

    def wait(self, study: Study) -> Reference | NoReference | None:
        """Return the same as `get`, after the reference is computed."""
        if self.get(study) is None and has_reference(study):
            self._kept[study.name].maker.join()
        return self.get(study)

    def _start(self, study: Study, until_then: NoReference | None) -> _Kept:
        model = _best(study)
        kept = self._kept[study.name] = _Kept(model, weights_key(model), until_then)
        kept.maker = threading.Thread(target=self._make, args=(kept,), daemon=True)
        kept.maker.start()
        return kept

    def _make(self, kept: _Kept) -> None:
        torch.set_num_threads(1)
        with self._making:  # one at a time, which bounds memory
            reference = self._reference(kept.model)
        with self._lock:
            kept.reference, kept.retry_at = reference, time.monotonic() + RETRY_S

    def _reference(self, model: Model) -> Reference | NoReference:
        network = self._networks.get(model)
        if isinstance(network, str):
            return "no_network"
        if sum(parameter.numel() for parameter in network.parameters()) > MAX_PARAMETERS:
            return "large_network"
        try:
            dataset, split = load_run_images(model.run.folder, model.run.record)
            training, held_out = (
                dataset.train_images[_some(indices, number)]
                for indices, number in (
                    (split.train, NUM_TRAINING_IMAGES),
                    (split.val, NUM_HELD_OUT),
                )
            )
            del dataset
            return Reference(network, training, held_out, normalization(model))
        except DataUnavailableError:
            return "no_images"
        except Exception:  # of a foreign network or data set; the answers must not suffer
            log.exception("cannot compare drawings with the images of %s", model.run.folder)
            return "unusable_images"
        finally:
            clear_dataset_cache()


def has_reference(study: Study) -> bool:
    """Whether drawings are compared with the images of a study, now or as soon as it is made."""
    return study.input.preparation == "mnist" and bool(study.answering)


def _best(study: Study) -> Model:
    """Return the answering model with the best validation accuracy."""
    models = (model for models in study.answering.values() for model in models)
    return max(models, key=lambda model: model.run.record.metric("validation", "best") or 0.0)


def _some(indices: Tensor, number: int) -> Tensor:
    """Return at most `number` of the indices, the same ones every time."""
    order = torch.randperm(len(indices), generator=torch.Generator().manual_seed(0))
    return indices[order[:number]]


def num_side_by_side(picture: np.ndarray) -> int:
    """Return how many separate tall parts of ink there are next to each other, as two digits are.

    Args:
        picture: (height, width) gray or (height, width, 3) color, 0 to 255.
    """
    ink = extract_ink(picture)
    shrink = max(ink.shape) // PARTS_SIDE
    if shrink > 1:  # a large photograph of noise has a million parts
        ink = np.asarray(Image.fromarray(ink).reduce(shrink))
    labels, _ = ndimage.label(ink > EDGE_LEVEL * ink.max(), structure=np.ones((3, 3)))
    boxes = [each for each in ndimage.find_objects(labels) if each is not None]
    heights = [rows.stop - rows.start for rows, _ in boxes]
    tall = [
        (columns.start, columns.stop)
        for (_, columns), height in zip(boxes, heights, strict=True)
        if height >= TALL * max(heights)
    ]
    number, right = 0, -1
    for start, stop in sorted(tall):
        number += start >= right
        right = max(right, stop)
    return number
