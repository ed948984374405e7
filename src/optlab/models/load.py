"""A trained network from a run's folder, ready to predict.

A run's folder holds `record.json`, written last, and `checkpoints/{best,last}.ckpt`. Only networks
of `optlab.models` are built from a record, and checkpoints are read with `weights_only=True`, so
that a folder from elsewhere cannot run code.
"""

import json
import pickle
import struct
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

STATE_PREFIX = "net."  # the training module keeps the network under this name


def load_network(run_dir: str | Path, weights: str = "best") -> nn.Module:
    """The trained network of a run, in eval mode, on the CPU.

    Args:
        run_dir: the folder of a finished run, `outputs/<study>/<run name>-<hash>`.
        weights: `best` (highest validation accuracy) or `last` (end of training).

    Raises:
        ValueError: if the folder holds no finished run, the network is none of ours, or the
            checkpoint is missing, damaged or belongs to another network.
    """
    if weights not in ("best", "last"):
        raise ValueError(
            f"weights is {weights!r}, but a run keeps best and last.\n\n"
            f"hint: best has the highest validation accuracy, last is the end of training"
        )
    run_dir = Path(run_dir)
    record = read_record(run_dir)
    checkpoint_path = run_dir / "checkpoints" / f"{weights}.ckpt"
    if not checkpoint_path.is_file():
        raise ValueError(
            f"{run_dir} has no checkpoints/{weights}.ckpt; its status is {record.get('status')!r}."
            f"\n\nhint: choose a finished run, or train it again with rerun=true"
        )
    net = build_network(run_dir, record)
    state = _network_state(checkpoint_path)
    problems = _differences(net.state_dict(), state)
    if problems:
        raise ValueError(
            f"{checkpoint_path} does not fit the network of {run_dir / 'record.json'}: "
            f"{'; '.join(problems)}.\n\n"
            f"hint: the two files come from different runs; train it again with rerun=true"
        )
    net.load_state_dict(state)
    return net.eval()


def read_record(run_dir: Path) -> dict[str, Any]:
    """The record of a run.

    Raises:
        ValueError: if the folder is missing, unfinished, or its record is damaged.
    """
    if not run_dir.is_dir():
        raise ValueError(
            f"{run_dir} is no folder.\n\n"
            f"hint: give the folder of a run, outputs/<study>/<run name>-<hash>"
        )
    path = run_dir / "record.json"
    if not path.is_file():
        if (run_dir / "checkpoints").is_dir():
            raise ValueError(
                f"{run_dir} is unfinished: it has checkpoints but no record.json.\n\n"
                f"hint: run its command again, it goes on where it stopped"
            )
        raise ValueError(
            f"{run_dir} holds no run: it has no record.json.\n\n"
            f"hint: give the folder of one run, not of its study"
        )
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        model = record["model"]
        if not (isinstance(model["target"], str) and isinstance(model["kwargs"], dict)):
            raise TypeError("model.target is no text or model.kwargs no mapping")
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged: {type(error).__name__}: {error}.\n\n"
            f"hint: train the run again with rerun=true"
        ) from error
    return record


def build_network(run_dir: Path, record: dict[str, Any]) -> nn.Module:
    """The network that a record describes, with fresh weights.

    Raises:
        ValueError: if the target is no network of `optlab.models` or refuses its arguments.
    """
    from optlab import models  # here: the package imports this module

    model = record["model"]
    target, kwargs = model["target"], dict(model["kwargs"])
    package, _, name = target.rpartition(".")
    known = [key for key in models.__all__ if isinstance(getattr(models, key), type)]
    if not f"{package}.".startswith("optlab.models.") or name not in known:
        raise ValueError(
            f"{run_dir / 'record.json'} names the network {target!r}, which is none of "
            f"optlab.models.\n\nhint: only {', '.join(known)} are built from a record"
        )
    if name == "FineTuned":
        # its weights come from this run's checkpoint, not again from where training began
        kwargs["source"] = model.get("source") or kwargs.get("source")
        if kwargs["source"] is None:
            kwargs["source"] = models.transfer.find_source(kwargs["weights"])
    try:
        return getattr(models, name)(**kwargs)
    except TypeError as error:
        raise ValueError(
            f"{run_dir / 'record.json'} gives {target} arguments that it does not take: {error}."
            f"\n\nhint: the record comes from another version of OptLab; train the run again"
        ) from error


def _network_state(checkpoint_path: Path) -> dict[str, Tensor]:
    try:
        checkpoint = torch.load(checkpoint_path, map_location="cpu", weights_only=True)
        state = checkpoint["state_dict"]
        return {
            name.removeprefix(STATE_PREFIX): tensor
            for name, tensor in state.items()
            if name.startswith(STATE_PREFIX)
        }
    except (
        RuntimeError,
        EOFError,
        OSError,
        pickle.UnpicklingError,
        struct.error,
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
    ) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"{checkpoint_path} is damaged or no checkpoint of a run: {reason}\n\n"
            f"hint: train the run again with rerun=true"
        ) from error


def _differences(expected: dict[str, Tensor], found: dict[str, Tensor]) -> list[str]:
    """What keeps `found` from being loaded where `expected` is; empty if it fits."""
    problems = []
    if missing := sorted(expected.keys() - found.keys()):
        problems.append(f"{len(missing)} missing ({', '.join(missing[:3])})")
    if extra := sorted(found.keys() - expected.keys()):
        problems.append(f"{len(extra)} unknown ({', '.join(extra[:3])})")
    for name in sorted(expected.keys() & found.keys()):
        if expected[name].shape != found[name].shape:
            problems.append(
                f"{name} is {list(found[name].shape)} instead of {list(expected[name].shape)}"
            )
            break
    return problems
