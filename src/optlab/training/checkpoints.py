"""Checkpoints: best.ckpt by validation, last.ckpt to go on from; both load with weights_only."""

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint

from optlab.files import whole_file


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target and renames: a killed run leaves the old file, never half a one.

    Lightning's own writer goes through a temporary folder that may lie on another disk, where
    the last move is a copy that can be cut off.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        save_atomically(checkpoint, Path(path))


def save_atomically(checkpoint: dict[str, Any], path: Path) -> None:
    """torch.save in one atomic step.

    Raises:
        OSError: if it cannot be written. torch's message would be of positions in an archive.
    """
    with whole_file(path) as partial:
        try:
            with partial.open("wb") as file:
                torch.save(checkpoint, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


class MovableCheckpoint(ModelCheckpoint):
    """Goes on in a folder that has been moved; Lightning's would forget which score is the best."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        def here(path: str) -> str:
            return str(Path(str(self.dirpath)) / Path(path).name) if path else path

        best = {here(path): score for path, score in state_dict["best_k_models"].items()}
        paths = {name: here(state_dict[name]) for name in state_dict if name.endswith("_path")}
        super().load_state_dict(
            {**state_dict, **paths, "best_k_models": best, "dirpath": self.dirpath}
        )


def best_checkpoint(folder: Path, monitor: str, mode: str) -> ModelCheckpoint:
    """Keeps the weights of the epoch that validation liked best, the first of equals."""
    return MovableCheckpoint(
        dirpath=folder / "checkpoints",
        filename="best",
        monitor=monitor,
        mode=mode,
        save_weights_only=True,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )


def last_checkpoint(folder: Path, name: str) -> ModelCheckpoint:
    """Keeps all that a run needs to go on after the last finished epoch."""
    return MovableCheckpoint(
        dirpath=folder / "checkpoints",
        filename=name,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
