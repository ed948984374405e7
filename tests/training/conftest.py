"""Commands that are typed, runs that are interrupted, and a stand-in for a GPU.

The stand-in is a device of its own for torch, whose kernels are those of the CPU. It keeps the
rules of one: its tensors may not meet those of the CPU, whatever makes the CPU wait for it is
noted, and its kernels can be recorded and replayed on the memory that they were recorded with, as
long as nothing waits meanwhile.
"""

import logging
import runpy
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.precision import MixedPrecision
from lightning.pytorch.strategies import SingleDeviceStrategy
from made_records import make_record
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

from optlab.runs.record import write_record
from optlab.training import build, cli, cuda_graphs
from optlab.training.environment import now
from optlab.training.plan import Plan
from optlab.training.run import run
from optlab.training.run_id import replicas, run_dir

NAME = "standin"
MOVES = ("_to_copy", "copy_")  # the only kernels that may see two devices
LOOKS = ("_local_scalar_dense", "is_nonzero", "nonzero", "equal", "masked_select", "bincount")
AUTOCAST = {"linear": torch.bfloat16, "conv2d": torch.bfloat16, "cross_entropy_loss": torch.float32}


class StandIn(TorchDispatchMode):
    """Runs what is asked of the device; as a mode, it also sees tensors being made there."""

    def __init__(self) -> None:
        super().__init__()
        self.device = torch.device(NAME, 0)
        self.waits: Counter[str] = Counter()  # by file and function
        self.recording: list[tuple[Any, Any, Any, Any]] | None = None

    def __enter__(self) -> "StandIn":
        torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device=...) comes here too
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        torch._C._set_only_lift_cpu_tensors(False)

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        inputs = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        if _is_ours(kwargs.get("device")) or any(isinstance(each, OnDevice) for each in inputs):
            return self.run(op, inputs, args, kwargs)
        return op(*args, **kwargs)

    def run(self, op: Any, inputs: list[Tensor], args: Any, kwargs: dict[str, Any]) -> Any:
        name = op.overloadpacket.__name__
        ours = [each for each in inputs if isinstance(each, OnDevice)]
        others = [each for each in inputs if not isinstance(each, OnDevice) and each.ndim]
        if ours and others and name not in MOVES:
            raise RuntimeError(f"{op}: expected all tensors to be on the same device")
        stays = self._result_is_ours(name, args, kwargs)
        if ours and (name in LOOKS or not stays or _chooses_by_mask(name, args)):
            self._wait(op)
        held_args, held_kwargs = tree_map(_held, (args, kwargs))
        if _is_ours(kwargs.get("device")):
            held_kwargs["device"] = torch.device("cpu")
        result = op(*held_args, **held_kwargs)
        if self.recording is not None:
            self.recording.append((op, held_args, held_kwargs, result))
        if name == "copy_":
            return args[0]
        if not stays:
            return result
        # A view of a tensor from outside of inference mode is none of its tensors
        with torch.inference_mode(
            torch.is_inference_mode_enabled()
            and not (op.is_view and ours and not ours[0].is_inference())
        ):
            wrapped = tree_map(lambda each: OnDevice(each) if _is_tensor(each) else each, result)
        return return_and_correct_aliasing(op, args, kwargs, wrapped) if ours else wrapped

    @staticmethod
    def _result_is_ours(name: str, args: Any, kwargs: dict[str, Any]) -> bool:
        if name == "copy_":
            return isinstance(args[0], OnDevice)
        return kwargs.get("device") is None or _is_ours(kwargs["device"])

    def _wait(self, op: Any) -> None:
        assert self.recording is None, f"{op} waits for the device, which is recording"
        frame = sys._getframe()
        while frame.f_back and not _is_of_interest(frame.f_code.co_filename):
            frame = frame.f_back
        file = frame.f_code.co_filename.rpartition("/")[2]
        self.waits[f"{file} {frame.f_code.co_name}"] += 1

    def record(self, compute: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        """As optlab.training.cuda_graphs.record."""
        compute()  # a warm-up
        self.recording = []
        try:
            result = compute()
            kernels = self.recording
        finally:
            self.recording = None
        return partial(self._replay, kernels), result

    @torch.no_grad()
    def _replay(self, kernels: list[tuple[Any, Any, Any, Any]]) -> None:
        for op, args, kwargs, result in kernels:
            again = op(*args, **kwargs)
            for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class OnDevice(Tensor):
    """A tensor of the device; `held` has its numbers."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "OnDevice":
        made = Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=STAND_IN.device,
            requires_grad=held.requires_grad,
        )
        made.held = held.detach()
        return made

    @classmethod
    def __torch_dispatch__(cls, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        inputs = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        return STAND_IN.run(op, inputs, args, kwargs)

    # What torch does for its own tensors, and not for those of a subclass

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec)

    def __repr__(self) -> str:
        return f"{self.held} on {NAME}"

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.held.clone().__reduce_ex__(protocol)


def _is_ours(device: Any) -> bool:
    return device is not None and torch.device(device).type == NAME


def _is_tensor(each: Any) -> bool:
    return isinstance(each, Tensor)


def _is_floating(each: Any) -> bool:
    return isinstance(each, Tensor) and each.is_floating_point()


def _held(each: Any) -> Any:
    return each.held if isinstance(each, OnDevice) else each


def _chooses_by_mask(name: str, args: Any) -> bool:
    if name not in ("index", "index_put_"):
        return False
    return any(_is_tensor(each) and each.dtype == torch.bool for each in args[1])


def _is_of_interest(file: str) -> bool:
    return any(f"/{package}/" in file for package in ("optlab", "lightning", "torchmetrics"))


class Backend(backend_registration._DummyBackendModule):
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


class Accelerator(CPUAccelerator):
    def setup_device(self, device: torch.device) -> None:
        """Lightning's refuses a device that is no CPU."""


def _register() -> StandIn:
    """For good, and before a first backward pass: then torch counts the devices that there are."""
    backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=Backend())
    everything = torch.library.Library("_", "IMPL", "AutocastPrivateUse1")
    everything.fallback(torch.library.fallthrough_kernel)
    kernels = torch.library.Library("aten", "IMPL", "AutocastPrivateUse1")
    for name, dtype in AUTOCAST.items():
        kernels.impl(name, partial(_cast, getattr(torch.ops.aten, name), dtype))
    device = StandIn()
    device.libraries = (everything, kernels)  # they end with their objects
    return device


def _cast(op: Any, dtype: torch.dtype, *args: Any) -> Any:
    key = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)
    with torch._C._ExcludeDispatchKeyGuard(key):
        return op(*(each.to(dtype) if _is_floating(each) else each for each in args))


STAND_IN = _register()


@pytest.fixture
def stand_in() -> StandIn:
    return STAND_IN


@pytest.fixture
def on_stand_in(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs within `with on_stand_in():` train there; with `graphs=True` they record and replay."""
    instantiate = build.instantiate

    def instantiate_there(node: Any, *arguments: Any, **options: Any) -> Any:
        made = instantiate(node, *arguments, **options)
        is_trainer = getattr(made, "func", None) is lightning.Trainer
        return partial(make_trainer, made) if is_trainer else made

    def make_trainer(make: Any, **options: Any) -> Any:
        strategy = SingleDeviceStrategy(device=stand_in.device, accelerator=Accelerator())
        there = {"accelerator": "auto", "devices": "auto", "strategy": strategy}
        trainer = make(**options, **there)
        if isinstance(trainer.precision_plugin, MixedPrecision):
            trainer.precision_plugin.device = NAME
        return trainer

    @contextmanager
    def on_it(graphs: bool = False) -> Iterator[None]:
        with monkeypatch.context() as patch, stand_in:
            patch.setattr(build, "instantiate", instantiate_there)
            patch.setattr(build, "uses_cuda_graphs", lambda config: graphs)
            patch.setattr(cuda_graphs, "record", stand_in.record)
            # As on CUDA, torch's optimizers update all weights in one call
            patch.setattr(
                sys.modules["torch.optim.optimizer"], "_foreach_supported_types", [OnDevice]
            )
            yield

    return on_it


@pytest.fixture
def train_there(
    train: Callable[..., Any], on_stand_in: Callable[..., Any], tmp_path: Path
) -> Callable[..., Any]:
    """Trains on the stand-in, into folders of its own."""

    def outputs(graphs: bool = False) -> Path:
        return tmp_path / ("replayed" if graphs else "there")

    def trained(*overrides: str, graphs: bool = False) -> Any:
        with on_stand_in(graphs):
            return train(*overrides, f"outputs={outputs(graphs)}")

    trained.outputs = outputs  # type: ignore[attr-defined]
    return trained


class Interrupt(Callback):
    """Ctrl-C after the given number of batches, counted over the whole run."""

    def __init__(self, after_batches):
        self.batches_left = after_batches

    def on_train_batch_end(self, *args):
        self.batches_left -= 1
        if self.batches_left == 0:
            raise KeyboardInterrupt


@pytest.fixture
def interrupted(make_config, look_on):
    """Starts a run and interrupts it; an epoch of the digits has 21 batches."""

    def start(after_batches, *overrides):
        on_interrupt = signal.getsignal(signal.SIGINT)
        look_on(Interrupt(after_batches))
        config = make_config(*overrides)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            run(config)
        look_on()
        signal.signal(signal.SIGINT, on_interrupt)  # Lightning switches it off
        folder = run_dir(config)
        assert not (folder / "record.json").exists()
        return folder

    return start


ROOT = Path(__file__).parents[2]


@pytest.fixture
def type_command(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., set[Path]]]:
    """`type_command(*arguments)` is `python train.py ARGUMENTS` in this process.

    A study ends without its report. Returns the folders of the runs that `plan=true` lists.
    """
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr("optlab.training.process.quick_exit", lambda: None)
    monkeypatch.setattr("optlab.studies.multirun_end._report", lambda study: None)
    planned: set[Path] = set()
    monkeypatch.setattr(
        Plan, "print", lambda plan, **_: planned.update(run.folder.resolve() for run in plan.runs)
    )
    handlers = logging.getLogger().handlers[:]

    def command(*arguments: str) -> set[Path]:
        monkeypatch.setattr(sys, "argv", [str(ROOT / "train.py"), *arguments])
        HydraConfig.instance().cfg = None
        planned.clear()
        try:
            runpy.run_path(sys.argv[0], run_name="__main__")
        finally:
            GlobalHydra.instance().clear()
            HydraConfig.instance().cfg = None
            for handler in {*logging.getLogger().handlers} - {*handlers}:  # Hydra brings its own
                logging.getLogger().removeHandler(handler)
                handler.close()
            logging.getLogger().setLevel(logging.WARNING)
        return set(planned)

    yield command


@pytest.fixture
def without_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of `type_command` finish at once: each writes a record and trains nothing."""

    def run_without_training(config: Any) -> None:
        for each in replicas(config):
            failed = cli.failed_record(each, "", now())
            made = make_record(accuracy=0.5 + 0.1 * each.seed)
            results = {"validation": made.validation, "test": made.test}
            write_record(run_dir(each), replace(failed, status="finished", **results))

    monkeypatch.setattr(cli, "_import_run", lambda: run_without_training)
