"""CUDA graphs: a training pass whose kernels are recorded once and then launched all together.

A small network on a GPU waits for launches: each of its dozens of kernels takes longer to start
than to run. Source: "Whole-network capture", CUDA semantics, PyTorch documentation.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

NUM_WARM_UPS = 3  # libraries and torch.compile settle in their first calls, which no graph may hold

LossAndLogits = tuple[Tensor, list[Tensor]]


class _Recorded(NamedTuple):
    batches: list[Any]  # what the recorded kernels read
    replay: Callable[[], None]
    loss: Tensor  # what they write, as they write the gradients
    logits: list[Tensor]


class ReplayedPass:
    """A training pass over batches, recorded for each shape that they come in.

    Args:
        compute: leaves the gradients of `net` in place, in the tensors that hold them already, and
            returns the loss () and the logits of each batch. It may not wait for the device.
        net: whose weights and buffers it reads and writes.
    """

    def __init__(self, compute: Callable[[Sequence[Any]], LossAndLogits], net: nn.Module) -> None:
        self._compute = compute
        self._net = net
        self._recorded: dict[tuple[torch.Size, ...], _Recorded] = {}
        self._gradients: list[tuple[nn.Parameter, Tensor]] = []  # what every recording writes

    def __call__(self, batches: Sequence[Any]) -> LossAndLogits:
        for weight, gradient in self._gradients:  # Lightning drops them before validation
            weight.grad = gradient
        shapes = tuple(batch.images.shape for batch in batches)
        if shapes not in self._recorded:
            self._recorded[shapes] = self._record(batches)
        recorded = self._recorded[shapes]
        for own, batch in zip(recorded.batches, batches, strict=True):
            own.images.copy_(batch.images)
            own.labels.copy_(batch.labels)
        recorded.replay()
        # The next replay writes over these
        return recorded.loss.clone(), [logits.clone() for logits in recorded.logits]

    def follow_unfreezing(self) -> None:
        """Forgets what was recorded if the net has other weights to train by now."""
        trained = [weight for weight in self._net.parameters() if weight.requires_grad]
        if len(trained) != len(self._gradients):
            self._recorded.clear()
            self._gradients.clear()

    def _record(self, batches: Sequence[Any]) -> _Recorded:
        """Records without a trace: running statistics and random numbers are as they were."""
        own = [
            batch._replace(images=batch.images.clone(), labels=batch.labels.clone())
            for batch in batches
        ]
        buffers = list(self._net.buffers())
        before = [buffer.clone() for buffer in buffers]
        device = own[0].images.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            replay, (loss, logits) = record(lambda: self._compute(own))
        weights = self._net.parameters()
        self._gradients = [(each, each.grad) for each in weights if each.grad is not None]
        for buffer, value in zip(buffers, before, strict=True):
            buffer.copy_(value)
        return _Recorded(own, replay, loss, logits)


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
