"""CUDA graphs: a training step whose kernels are recorded once and then launched all together.

A small network on a GPU waits for launches: each of its dozens of kernels takes longer to start
than to run. Source: "Whole-network capture", CUDA semantics, PyTorch documentation.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adadelta, Adagrad, Adam, AdamW, Optimizer, RMSprop, Rprop

NUM_WARM_UPS = 3  # libraries and torch.compile settle in their first calls, which no graph may hold

FUSED = (SGD, Adam, AdamW, Adagrad)  # their kernels take the rate from the device's memory
# Not Adamax, ASGD, NAdam and RAdam: what is recorded of them takes powers in float32
CAPTURABLE = (Adadelta, RMSprop, Rprop)

LossAndLogits = tuple[Tensor, list[Tensor]]


class _Recorded(NamedTuple):
    batches: list[Any]  # what the recorded kernels read
    replay: Callable[[], None]
    loss: Tensor  # what they write
    logits: list[Tensor]
    gradients: list[tuple[nn.Parameter, Tensor]]


class Replayed:
    """A computation over the batches of a step, recorded for each shape that they come in.

    The first call is launched as ever, which makes what the optimizer keeps.

    Args:
        compute: makes new gradients of `net`, and returns the loss () and the logits of each batch.
            It may not wait for the device.
        net: whose weights and buffers it reads and writes.
        optimizer: whose update it makes as well, one that `can_be_recorded`; None if it makes none.
    """

    def __init__(
        self,
        compute: Callable[[Sequence[Any]], LossAndLogits],
        net: nn.Module,
        optimizer: Optimizer | None = None,
    ) -> None:
        self._compute = compute
        self._net = net
        self._groups = [] if optimizer is None else optimizer.param_groups
        self._optimizer_state = {} if optimizer is None else optimizer.state
        self._rates = [_on_device_of(group["params"][0], group["lr"]) for group in self._groups]
        self._rates_set: list[float] = []
        self._recorded: dict[tuple[torch.Size, ...], _Recorded] = {}
        self._num_trained = 0  # weights that the calls so far have trained

    def __call__(self, batches: Sequence[Any]) -> LossAndLogits:
        self._set_rates()
        if not self._num_trained:
            self._num_trained = self._count_trained()
            with self._rates_on_device():  # as in every later step, in whichever process it is made
                return self._compute(batches)
        shapes = tuple(batch.images.shape for batch in batches)
        if shapes not in self._recorded:
            self._recorded[shapes] = self._record(batches)
        recorded = self._recorded[shapes]
        for own, batch in zip(recorded.batches, batches, strict=True):
            own.images.copy_(batch.images)
            own.labels.copy_(batch.labels)
        recorded.replay()
        for weight, gradient in recorded.gradients:
            weight.grad = gradient
        # The next replay writes over these
        return recorded.loss.clone(), [logits.clone() for logits in recorded.logits]

    def follow_unfreezing(self) -> None:
        """Forgets what was recorded if the net has other weights to train by now."""
        if self._num_trained != self._count_trained():
            self._recorded.clear()
            self._num_trained = 0

    def _count_trained(self) -> int:
        return sum(weight.requires_grad for weight in self._net.parameters())

    def _set_rates(self) -> None:
        rates = [group["lr"] for group in self._groups]
        if rates != self._rates_set:
            self._rates_set = rates
            for on_device, rate in zip(self._rates, rates, strict=True):
                on_device.fill_(rate)

    @contextmanager
    def _rates_on_device(self) -> Iterator[None]:
        for group, on_device in zip(self._groups, self._rates, strict=True):
            group["lr"] = on_device
        yield
        for group, rate in zip(self._groups, self._rates_set, strict=True):
            group["lr"] = rate

    def _record(self, batches: Sequence[Any]) -> _Recorded:
        """Records without a trace: weights, statistics and random numbers are as they were."""
        own = [
            batch._replace(images=batch.images.clone(), labels=batch.labels.clone())
            for batch in batches
        ]
        changed = [*self._net.parameters(), *self._net.buffers()]
        changed += [
            value
            for state in self._optimizer_state.values()
            for value in state.values()
            if isinstance(value, Tensor)
        ]
        before = [tensor.detach().clone() for tensor in changed]
        device = own[0].images.device
        random_numbers = torch.random.fork_rng([device] if device.type == "cuda" else [])
        with random_numbers, self._rates_on_device():
            replay, (loss, logits) = record(lambda: self._compute(own))
        with torch.no_grad():
            for tensor, value in zip(changed, before, strict=True):
                tensor.copy_(value)
        weights = self._net.parameters()
        gradients = [(each, each.grad) for each in weights if each.grad is not None]
        return _Recorded(own, replay, loss, logits, gradients)


def can_be_recorded(optimizer: Optimizer) -> bool:
    """Whether its update can be, to the numbers of launching it, but for the rate in float32.

    Such an optimizer is made ready for it; one whose state was just loaded, too.
    """
    groups = optimizer.param_groups
    if type(optimizer) in FUSED:
        possible = all(group["fused"] for group in groups)
    else:  # the update of one weight after the other reads the rate
        possible = type(optimizer) in CAPTURABLE and all(g["foreach"] is not False for g in groups)
    if possible:
        for group in groups:
            if "capturable" in group:
                group["capturable"] = True
        optimizer.load_state_dict(optimizer.state_dict())  # brings step counts to the device
    return possible


def record(compute: Callable[[], LossAndLogits]) -> tuple[Callable[[], None], LossAndLogits]:
    """Records the kernels that `compute` launches.

    Returns:
        What launches them again, and the result, whose tensors every launch rewrites.
    """
    stream = _side_stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(NUM_WARM_UPS):
            compute()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        result = compute()
    return graph.replay, result


@cache
def _side_stream() -> torch.cuda.Stream:
    """One for all recordings: nothing can be recorded on the default stream, and libraries set up
    memory of their own for every stream that they see."""
    return torch.cuda.Stream()


def _on_device_of(weight: Tensor, rate: float) -> Tensor:
    return torch.tensor(rate, dtype=torch.float32, device=weight.device)  # as fused kernels ask
