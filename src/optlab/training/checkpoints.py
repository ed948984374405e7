"""Checkpoints: best weights by validation, and what a run needs to resume."""

import pickle
import struct
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import DictConfig

from optlab.files import whole_file
from optlab.training.code_fingerprint import changed_since


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes next to the target and renames: a killed run leaves the old file, never half of one.

    Lightning's own writer goes through a temporary folder that may be on another disk, where the
    last move is a copy that can be interrupted.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        save_atomically(checkpoint, Path(path))


def save_atomically(checkpoint: dict[str, Any], path: Path) -> None:
    """Save with torch.save in one atomic step.

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


class ResumeCheckpoint(ModelCheckpoint):
    """Keeps all that a run needs to resume after the last finished epoch, as NAME.ckpt.

    A run's folder may have been moved since, so the paths that checkpoint callbacks remember are
    brought to the folder that the run has now; Lightning would forget which score is the best.
    """

    def __init__(self, folder: Path, origin: dict[str, Any], name: str = "last") -> None:
        """
        Args:
            folder: of the run.
            origin: what the run was begun with (fingerprints of code and data), kept along.
        """
        super().__init__(
            dirpath=folder / "checkpoints",
            filename=name,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
        self.origin = origin

    @property
    def path(self) -> Path:
        return Path(str(self.dirpath)) / f"{self.filename}.ckpt"

    @property
    def state_key(self) -> str:
        return self._generate_state_key(filename=self.filename)

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        checkpoint |= self.origin | {"stopped": trainer.should_stop}

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        # A run that was killed after early stopping or max_steps had ended it trains no further
        trainer.should_stop = bool(checkpoint.get("stopped"))
        # With max_steps Lightning would end the last epoch once more, now without a batch
        trainer.fit_loop._iteration_based_training = lambda: False  # type: ignore[method-assign]
        for state in checkpoint["optimizer_states"]:
            for group in state["param_groups"]:
                if "capturable" in group:  # set by CUDA graphs, which set it again
                    group["capturable"] = False
        folders = {
            callback.state_key: callback.dirpath
            for callback in trainer.checkpoint_callbacks
            if isinstance(callback, ModelCheckpoint)
        }
        for key, state in list(checkpoint["callbacks"].items()):
            if folders.get(key) and state.get("dirpath"):
                moved = _moved(state, str(folders[key]))
                checkpoint["callbacks"][key] = moved
                best = moved["best_model_path"]
                if best and not Path(best).is_file():  # of another run: this one has its own best
                    del checkpoint["callbacks"][key]


def _moved(state: dict[str, Any], folder: str) -> dict[str, Any]:
    """The state of a ModelCheckpoint with its files in another folder."""

    def here(path: str) -> str:
        return str(Path(folder) / Path(path).name) if path else path

    best = {here(path): score for path, score in state["best_k_models"].items()}
    paths = {name: here(state[name]) for name in state if name.endswith("_path")}
    return {**state, **paths, "best_k_models": best, "dirpath": folder}


def resume_point(path: Path, config: DictConfig, checksum: str | None) -> Path | None:
    """The checkpoint that a run resumes from; None where there is none.

    Raises:
        ValueError: if the checkpoint is damaged, or data or code have changed since it was written.
    """
    if not path.is_file():
        return None
    again = "rerun=true starts this run again from the beginning"
    try:
        state = torch.load(path, weights_only=True, mmap=True, map_location="cpu")
    except (RuntimeError, EOFError, pickle.UnpicklingError, struct.error) as error:
        raise ValueError(f"{path} is damaged: {error}.\n\nhint: {again}") from error
    if "loops" not in state:  # a replica's own: only its weights
        return None
    best = path.with_name("best.ckpt")
    if path.name == "last.ckpt" and config.callbacks.get("best") and not best.is_file():
        raise ValueError(
            f"{best} is missing: the weights of the best epoch so far are lost.\n\nhint: {again}"
        )
    if state.get("dataset_checksum", checksum) != checksum:
        raise ValueError(
            f"the images of data={config.data.get('name')} changed since {path} was written: those "
            "that were trained on might be validated on now.\n\n"
            f"hint: {again}; with the former images it resumes"
        )
    changed = changed_since(config, state)
    if changed:
        raise ValueError(
            f"{' and '.join(changed)} changed since {path} was written: the run would be half of "
            f"the one code, half of the other.\n\nhint: {again}; with the change undone it resumes"
        )
    return path
