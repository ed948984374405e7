"""CUDA graphs: capture the kernels of a training step once, then replay them in one launch.

A small network on a GPU is limited by kernel launches: each of its dozens of kernels takes longer
to launch than to run. Source: "Whole-network capture", CUDA semantics, PyTorch documentation.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import lightning as L
import torch
from lightning.pytorch.loops.fetchers import _DataFetcher
from torch import Tensor, nn
from torch.optim import SGD, Adadelta, Adagrad, Adam, AdamW, Optimizer, RMSprop, Rprop

from optlab.training.lean_loop import LeanEpochLoop

NUM_WARM_UPS = 3  # the first calls initialize libraries and compile, which cannot be captured

FUSED = (SGD, Adam, AdamW, Adagrad)  # their kernels take the learning rate from the device's memory
# Not Adamax, ASGD, NAdam and RAdam: their capturable versions compute powers in float32
CAPTURABLE = (Adadelta, RMSprop, Rprop)

Batch = tuple[Tensor, ...]
Outputs = dict[str, Tensor]  # "loss" and what else training_step returned


class CUDAGraphLoop(LeanEpochLoop):
    """LeanEpochLoop that replays the forward pass, the backward pass and, if possible, the update.

    A graph contains kernels and no Python code, so hooks within a step would be called only during
    capture. Callbacks with such hooks are rejected.
    """

    _step: "CUDAGraphStep | None" = None

    def on_run_start(self, data_fetcher: _DataFetcher) -> None:
        super().on_run_start(data_fetcher)
        if not self._lean:
            raise ValueError(
                "cuda_graphs=true needs the lean loop, but this run uses Lightning's own loop; see "
                "train.log for the reason.\n\nhint: cuda_graphs=false"
            )
        if self.trainer.accumulate_grad_batches > 1 or self._clips:
            raise ValueError(
                "cuda_graphs=true supports neither gradient accumulation nor gradient clipping.\n\n"
                "hint: cuda_graphs=false, or leave trainer.accumulate_grad_batches at 1 and "
                "trainer.gradient_clip_val at null"
            )
        self._check_hooks()
        if self._step is None:
            update = can_be_captured(self._optimizer)
            self._step = CUDAGraphStep(
                self._pass_and_update if update else self._pass,
                self._module,
                self._optimizer if update else None,
            )
        else:
            self._step.discard_if_unfrozen()

    def _check_hooks(self) -> None:
        """Refuse hooks that a replayed step would skip, except CSVMetrics' own.

        Raises:
            ValueError: naming who overrides what.
        """
        inner = (
            "on_before_zero_grad",
            "on_before_backward",
            "on_after_backward",
            "on_before_optimizer_step",
        )
        for hook in inner:
            owners = [type(call.__self__).__name__ for call in self._callback_hooks[hook]]
            owners = [owner for owner in owners if not owner.endswith("CSVMetrics")]
            owners += [type(self._module).__name__] if self._module_hooks[hook] else []
            if owners:
                raise ValueError(
                    f"cuda_graphs=true replays a step without calling {hook}, which "
                    f"{', '.join(owners)} overrides.\n\nhint: cuda_graphs=false, or remove the hook"
                )

    def _train_on(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        assert self._step is not None
        steps = self.automatic_optimization.optim_progress.optimizer.step
        steps.increment_ready()
        found: list[Outputs] = []
        if self._step.includes_update:
            found.append(self._step(batch))
        else:

            def closure() -> Tensor:
                found.append(self._step(batch))  # type: ignore[misc]
                return found[-1]["loss"]

            self._optimizer.step(closure)  # type: ignore[arg-type]
        steps.increment_completed()
        for outputs in found:  # L-BFGS makes several, and CSVMetrics takes the first one's loss
            self._call("on_before_backward", outputs["loss"])
        return found[-1]

    def _pass(self, batch: Batch) -> Outputs:
        """Compute new gradients; return the outputs of training_step, detached."""
        self._optimizer.zero_grad()
        with self._forward_context():
            output = (
                self._training_step(batch, 0)
                if self._takes_batch_idx
                else (self._training_step(batch))
            )
        outputs: dict[str, Any] = dict(output) if isinstance(output, Mapping) else {"loss": output}
        outputs["loss"].backward()
        return {name: value.detach() for name, value in outputs.items()}

    def _pass_and_update(self, batch: Batch) -> Outputs:
        outputs = self._pass(batch)
        # Autocast is for the network; the update's arithmetic stays in the precision of the weights
        self._optimizer.step()
        return outputs


def use_cuda_graphs(trainer: L.Trainer) -> None:
    """Replace the trainer's epoch loop by a `CUDAGraphLoop`. Call this before `trainer.fit`."""
    standard = trainer.fit_loop.epoch_loop
    trainer.fit_loop.epoch_loop = CUDAGraphLoop(
        trainer, min_steps=standard.min_steps, max_steps=standard.max_steps
    )


class _CapturedGraph(NamedTuple):
    batch: Batch  # what the recorded kernels read
    replay: Callable[[], None]
    outputs: Outputs  # what they write
    gradients: list[tuple[nn.Parameter, Tensor]]


class CUDAGraphStep:
    """A computation on a batch, captured as a CUDA graph for each batch shape and replayed.

    The first call runs without a graph, which creates the optimizer's state.

    Args:
        compute: computes new gradients of `net` and returns tensors. Must not synchronize.
        net: the network whose weights and buffers `compute` reads and writes.
        optimizer: the optimizer that `compute` steps, one that `can_be_captured`; None if it does
            not make the update.
    """

    def __init__(
        self,
        compute: Callable[[Batch], Outputs],
        net: nn.Module,
        optimizer: Optimizer | None = None,
    ) -> None:
        self.includes_update = optimizer is not None
        self._compute = compute
        self._net = net
        self._groups = [] if optimizer is None else optimizer.param_groups
        self._optimizer_state = {} if optimizer is None else optimizer.state
        self._rates = [_on_device_of(group["params"][0], group["lr"]) for group in self._groups]
        self._rates_set: list[float] = []
        self._recorded: dict[tuple[torch.Size, ...], _CapturedGraph] = {}
        self._num_trained = 0  # weights that the calls so far have trained

    def __call__(self, batch: Batch) -> Outputs:
        self._set_rates()
        if not self._num_trained:
            self._num_trained = self._count_trained()
            with self._rates_on_device():  # as in the later steps, which may be of a resumed run
                return self._compute(batch)
        shapes = tuple(tensor.shape for tensor in batch)
        if shapes not in self._recorded:
            self._recorded[shapes] = self._record(batch)
        recorded = self._recorded[shapes]
        for own, tensor in zip(recorded.batch, batch, strict=True):
            own.copy_(tensor)
        recorded.replay()
        for weight, gradient in recorded.gradients:
            weight.grad = gradient
        # The next replay writes over these
        return {name: value.clone() for name, value in recorded.outputs.items()}

    def discard_if_unfrozen(self) -> None:
        """Discard the captured graphs if the number of trainable parameters has changed."""
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

    def _record(self, batch: Batch) -> _CapturedGraph:
        """Capture a graph, then restore weights, batch-norm statistics and the random state."""
        own = tuple(tensor.clone() for tensor in batch)
        changed = [*self._net.parameters(), *self._net.buffers()]
        changed += [
            value
            for state in self._optimizer_state.values()
            for value in state.values()
            if isinstance(value, Tensor)
        ]
        before = [tensor.detach().clone() for tensor in changed]
        device = own[0].device
        random_numbers = torch.random.fork_rng([device] if device.type == "cuda" else [])
        with random_numbers, self._rates_on_device():
            replay, outputs = record(lambda: self._compute(own))
        with torch.no_grad():
            for tensor, value in zip(changed, before, strict=True):
                tensor.copy_(value)
        weights = self._net.parameters()
        gradients = [(each, each.grad) for each in weights if each.grad is not None]
        return _CapturedGraph(own, replay, outputs, gradients)


def can_be_captured(optimizer: Optimizer) -> bool:
    """Return whether the optimizer's update can be captured without changing its results.

    Only the learning rate is rounded to float32. If so, the optimizer is prepared for capture,
    also when its state has just been loaded.
    """
    groups = optimizer.param_groups
    if type(optimizer) in FUSED:
        possible = all(group["fused"] for group in groups)
    else:  # the for-loop implementation reads the learning rate
        possible = type(optimizer) in CAPTURABLE and all(g["foreach"] is not False for g in groups)
    if possible:
        for group in groups:
            if "capturable" in group:
                group["capturable"] = True
        optimizer.load_state_dict(optimizer.state_dict())  # brings step counts to the device
    return possible


def record(compute: Callable[[], Outputs]) -> tuple[Callable[[], None], Outputs]:
    """Capture the kernels that `compute` launches.

    Returns:
        A function that replays them, and the result, whose tensors each replay overwrites.
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
    """Return one stream for all captures: the default stream cannot be captured, and libraries
    allocate memory for every stream."""
    return torch.cuda.Stream()


def _on_device_of(weight: Tensor, rate: float) -> Tensor:
    return torch.tensor(rate, dtype=torch.float32, device=weight.device)  # as fused kernels ask
