"""Load a trained network from a run's folder.

A run's folder contains `record.json`, written last, `checkpoints/{best,last}.ckpt`, and optionally
`snapshots/step-*.pt`. Only networks of `optlab.models` are built from a record, and weights are
loaded with `weights_only=True`, so that an untrusted folder cannot run code.
"""

import pickle
import re
import struct
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from optlab.runs.folder import RunFolder
from optlab.runs.record import ModelFacts, read_record

# What torch raises for a file that was cut, holds code, or is of another kind
DAMAGED = (
    *(RuntimeError, EOFError, pickle.UnpicklingError, struct.error),
    *(AttributeError, LookupError, TypeError, ValueError),
)
RETRAIN = "train the run again with rerun=true"  # what a message suggests
STATE_PREFIX = "net."  # the training module keeps the network under this name


def load_network(run_dir: str | Path, weights: str | int = "best") -> nn.Module:
    """Return the trained network of a run, in eval mode, on the CPU.

    Args:
        run_dir: the folder of a finished run, `outputs/<study>/<run name>-<hash>`.
        weights: `best` (highest validation accuracy), `last` (end of training), or the number of
            optimizer steps of a snapshot saved by `callbacks=snapshots`.

    Raises:
        ValueError: if the folder has no finished run, the network is not from `optlab.models`, or
            the checkpoint is missing, damaged or belongs to another network.
    """
    if isinstance(weights, str) and weights not in ("best", "last"):
        raise ValueError(
            f"weights is {weights!r}; it must be best, last or a number of steps.\n\n"
            f"hint: best has the highest validation accuracy, last is the end of training"
        )
    files = RunFolder(Path(run_dir))
    record = read_record(files.path)
    if isinstance(weights, int):
        checkpoint_path, key = files.snapshot(weights), None
    else:
        checkpoint_path, key = files.checkpoint(weights), "state_dict"
    if not checkpoint_path.is_file():
        missing = checkpoint_path.relative_to(files.path)
        raise ValueError(
            f"{run_dir} has no {missing}; its status is {record.status!r}.\n\n"
            "hint: choose a finished run, or train it again with rerun=true"
            + ("" if key else " callbacks=snapshots")
        )
    net = build_network(record.model, files.record)
    state = _network_state(checkpoint_path, key)
    try:
        net.load_state_dict(state)
    except RuntimeError as error:  # which lists the parameters
        raise ValueError(
            f"{checkpoint_path} does not fit the network of {files.record}: {error}\n\n"
            "hint: the two files come from different runs; train it again with rerun=true"
        ) from error
    return net.eval()


def build_network(model: ModelFacts, named_in: Path) -> nn.Module:
    """Build the network that a record describes, with fresh weights.

    Args:
        model: the network, as a record has it.
        named_in: the record's file, for messages.

    Raises:
        ValueError: if the target is no network of `optlab.models` or refuses its arguments.
    """
    from optlab import models  # here: the package imports this module

    target, kwargs = model.target or "", dict(model.kwargs)
    package, _, name = target.rpartition(".")
    known = [key for key in models.__all__ if isinstance(getattr(models, key), type)]
    if not f"{package}.".startswith("optlab.models.") or name not in known:
        raise ValueError(
            f"the network of {named_in} is {target!r}, which is not in optlab.models.\n\n"
            f"hint: only {', '.join(known)} can be built from a record"
        )
    if name == "FineTuned":
        # its weights come from this run's checkpoint, not again from where training began
        kwargs["source"] = model.source or kwargs.get("source")
        if kwargs["source"] is None:
            kwargs["source"] = models.transfer.find_source(kwargs["weights"])
    try:
        return getattr(models, name)(**kwargs)
    except TypeError as error:
        raise ValueError(
            f"{named_in} has arguments that {target} does not accept: {error}.\n\n"
            "hint: the record is from another version of OptLab; train the run again"
        ) from error


def load_checkpoint(path: Path, *, mmap: bool = False, hint: str = RETRAIN) -> dict[str, Any]:
    """Load a checkpoint onto the CPU, without running code that it may contain.

    With `mmap`, a tensor is read from the file when it is used; it must not change until then.
    `hint` is the next step that the error suggests.

    Raises:
        ValueError: if it is damaged or contains objects other than tensors and plain values.
    """
    try:
        loaded: dict[str, Any] = torch.load(path, weights_only=True, mmap=mmap, map_location="cpu")
        return loaded
    except DAMAGED as error:
        # torch advises to load without weights_only, which would run any code in the file
        named = re.search(r"GLOBAL (\S+)", str(error))
        problem = "is damaged"
        if named:
            problem = f"contains an object of {named[1]}; only tensors and plain values are allowed"
        raise ValueError(f"{path} {problem}.\n\nhint: {hint}") from error


def _network_state(path: Path, key: str | None) -> dict[str, Tensor]:
    """The network's part of a state_dict, which is the file itself or in it under `key`."""
    state = load_checkpoint(path)
    try:
        state = state if key is None else state[key]
        return {
            name.removeprefix(STATE_PREFIX): tensor
            for name, tensor in state.items()
            if name.startswith(STATE_PREFIX)
        }
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is not a checkpoint of a run: {error!r}.\n\nhint: {RETRAIN}"
        ) from error
