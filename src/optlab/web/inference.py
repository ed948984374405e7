"""Ask models about pictures: probabilities, the ensemble, and saliency."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from optlab.data.normalize import scale_and_shift
from optlab.models import load_network
from optlab.runs.folder import RunFolder
from optlab.web.run_index import Model, modified_ns

log = logging.getLogger(__name__)

NO_SNAPSHOTS = "it has kept no weights of that moment; callbacks=snapshots keeps them"
MAX_CACHED_PARAMETERS = 250_000_000  # of all kept networks, about 1 GiB of float32 weights
MAX_PIXELS_AT_ONCE = 4_000_000  # of a forward pass, channels counted; it bounds its memory

# Model, weights, when its record and they were written
WeightsKey = tuple[str, str | int, int, int]


@dataclass(frozen=True)
class _Answers:
    """Answers to N pictures.

    Attributes:
        probabilities: (N, num_classes).
        saliency: of the first picture, (side, side) in [0, 1] or None.
    """

    probabilities: np.ndarray
    saliency: np.ndarray | None


@dataclass(frozen=True)
class ModelAnswer(_Answers):
    """The answers of one model."""

    model: Model


@dataclass(frozen=True)
class OptimizerAnswer(_Answers):
    """The mean over the models that one optimizer trained."""

    optimizer: str
    models: tuple[ModelAnswer, ...]


@dataclass(frozen=True)
class Answer(_Answers):
    """All optimizers' answers; the ensemble is their mean, each optimizer counting the same."""

    optimizers: tuple[OptimizerAnswer, ...]


class Networks:
    """A cache of loaded networks that drops the least recently used ones.

    Args:
        load: from a run folder, and `best` or the step of a snapshot, to a network in eval mode on
            the CPU.
    """

    def __init__(self, load: Callable[[Path, str | int], nn.Module] = load_network) -> None:
        self._load = load
        self._kept: OrderedDict[WeightsKey, nn.Module | str] = OrderedDict()
        self._lock = threading.Lock()
        self._loading = threading.Lock()

    def get(self, model: Model, step: int | None = None) -> nn.Module | str:
        """Return the model's network, or a sentence that says why it cannot answer.

        Args:
            step: use the latest snapshot at or before this optimizer step; None for the weights of
                the best epoch.
        """
        weights = _weights_at(model, step)
        if weights is None:
            return NO_SNAPSHOTS
        key = weights_key(model, weights)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        with self._loading:  # one at a time, so two requests never load the same network
            with self._lock:
                if key in self._kept:
                    return self._kept[key]
            network = self._load_checked(model, weights)
            with self._lock:
                self._kept[key] = network
                self._make_room(key)
        return network

    def problem(self, model: Model, step: int | None = None) -> str | None:
        """Return why this model cannot be used; None if it works or has not been tried."""
        weights = _weights_at(model, step)
        if weights is None:
            return NO_SNAPSHOTS
        with self._lock:
            kept = self._kept.get(weights_key(model, weights))
        return kept if isinstance(kept, str) else None

    def _load_checked(self, model: Model, weights: str | int) -> nn.Module | str:
        read = model.input
        try:
            network = self._load(model.run.folder, weights)
            with torch.inference_mode():
                logits = network(torch.zeros(1, read.in_channels, read.image_size, read.image_size))
        except Exception as error:  # of a damaged or foreign file; the others must answer
            # The message of a ValueError is enough for the user
            details = None if isinstance(error, ValueError) else error
            log.error("cannot load the weights: %s", error, exc_info=details)
            return "its weights could not be loaded; the server's log says why"
        if logits.shape != (1, len(read.class_names)):
            return f"it does not answer with {len(read.class_names)} classes"
        numbers = [*network.state_dict().values(), logits]
        if not all(bool(each.isfinite().all()) for each in numbers):
            return "its weights or its answers are not finite"
        return network.requires_grad_(False)

    def _make_room(self, latest: WeightsKey) -> None:
        for key in [k for k in self._kept if k[:2] == latest[:2] and k != latest]:
            del self._kept[key]  # the weights of before
        total = sum(map(_num_parameters, self._kept.values()))
        while total > MAX_CACHED_PARAMETERS and len(self._kept) > 1:
            _, network = self._kept.popitem(last=False)
            total -= _num_parameters(network)


def step_at(model: Model, step: int | None) -> int | None:
    """Return the optimizer step of the weights that a model answers with; None if unknown."""
    if step is None:
        validation = model.run.record.validation
        return validation.best.step if validation else None
    steps = RunFolder(model.run.folder).snapshot_steps
    return max((each for each in steps if each <= step), default=None)


def _weights_at(model: Model, step: int | None) -> str | int | None:
    return "best" if step is None else step_at(model, step)


def weights_key(model: Model, weights: str | int = "best") -> WeightsKey:
    """Return a key that changes when a run is trained again or its weights are replaced."""
    files = RunFolder(model.run.folder)
    file = files.snapshot(weights) if isinstance(weights, int) else files.checkpoint(weights)
    return model.id, weights, modified_ns(files.record) or 0, modified_ns(file) or 0


def _num_parameters(network: nn.Module | str) -> int:
    return 0 if isinstance(network, str) else sum(p.numel() for p in network.parameters())


def ask(
    networks: Networks,
    models: Mapping[str, Sequence[Model]],
    images: np.ndarray,
    *,
    with_saliency: bool = False,
    step: int | None = None,
) -> Answer | None:
    """Ask every model, by optimizer; None where none of them can answer.

    Args:
        networks: where loaded networks are kept.
        models: by optimizer; all read the same input shape and know the same classes.
        images: (N, C, H, W) in 0..255, as networks read them before they are normalized.
        with_saliency: also say which pixels the answers to the first picture depend on.
        step: the moment of training, as for `Networks.get`.
    """
    pixels = torch.from_numpy(images)
    optimizers = []
    for optimizer, members in models.items():
        answers = []
        for model in members:
            network = networks.get(model, step)
            if isinstance(network, str):
                continue
            answer = _ask_one(network, model, pixels, with_saliency)
            if np.isfinite(answer.probabilities).all():
                answers.append(answer)
        if answers:
            optimizers.append(OptimizerAnswer(*_mean(answers), optimizer, tuple(answers)))
    return Answer(*_mean(optimizers), tuple(optimizers)) if optimizers else None


def normalization(model: Model) -> tuple[torch.Tensor, torch.Tensor]:
    """Return factor and summand of pixels in 0..255, (C, 1, 1) each, as in the model's training."""
    dataset = model.run.record.dataset
    assert dataset.mean is not None and dataset.std is not None  # else it were no model
    return scale_and_shift(dataset.mean, dataset.std)


def normalized(model: Model, pixels: torch.Tensor) -> torch.Tensor:
    """Return pixels in 0..255, (C, H, W) or (N, C, H, W), as a model was given them in training."""
    scale, shift = normalization(model)
    return pixels.float() * scale + shift


def _ask_one(
    network: nn.Module, model: Model, pixels: torch.Tensor, with_saliency: bool
) -> ModelAnswer:
    saliency = None
    if with_saliency:
        picture = normalized(model, pixels[:1]).requires_grad_(True)
        (gradient,) = torch.autograd.grad(network(picture).max(), picture)
        saliency = _saliency(gradient)
    batches = pixels.split(max(1, MAX_PIXELS_AT_ONCE // pixels[0].numel()))
    with torch.inference_mode():
        logits = torch.cat([network(normalized(model, batch)) for batch in batches])
    return ModelAnswer(logits.double().softmax(dim=1).numpy(), saliency, model)


def _saliency(gradient: torch.Tensor) -> np.ndarray:
    """Return the size of the top logit's gradient at each pixel, over channels, at most 1.

    Source: Simonyan, Vedaldi and Zisserman 2013, arXiv:1312.6034, section 3.1.
    """
    strength = gradient[0].abs().amax(dim=0)  # (H, W)
    return (strength / strength.max().clamp_min(1e-12)).numpy()


def _mean(answers: Sequence[_Answers]) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the mean probabilities, and the mean saliency with the strongest pixel 1."""
    probabilities = np.mean([answer.probabilities for answer in answers], axis=0)
    maps = [answer.saliency for answer in answers if answer.saliency is not None]
    if not maps:
        return probabilities, None
    saliency = np.mean(maps, axis=0)
    return probabilities, saliency / max(float(saliency.max()), 1e-12)
