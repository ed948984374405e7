"""Checkpoints: best weights by validation, and what a run needs to resume."""

import io
import math
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import DictConfig
from torch import Tensor
from torch.optim import Optimizer
from torch.utils._pytree import tree_map

from optlab.files import atomic_write
from optlab.models.load import load_checkpoint
from optlab.runs.folder import RunFolder
from optlab.training.best_epoch import ranking_key
from optlab.training.code_fingerprint import changed_modules


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write to a temporary file and rename it, so that a killed run never leaves a partial file.

    Lightning's own writer uses a temporary folder that may be on another disk; the final move is
    then a copy, which can be interrupted. The first full checkpoint is read back, so that no run
    trains for hours without being able to resume.
    """

    def __init__(self) -> None:
        super().__init__()
        self._has_read_back = False

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        read_back = not self._has_read_back and "optimizer_states" in checkpoint
        save_atomically(checkpoint, Path(path), read_back=read_back)
        self._has_read_back |= read_back

    def load_checkpoint(self, path: str | Path, *_: Any, **__: Any) -> dict[str, Any]:
        return load_checkpoint(Path(path), hint="set ckpt_path to another checkpoint, or to null")


def save_atomically(checkpoint: dict[str, Any], path: Path, *, read_back: bool = False) -> None:
    """Save with torch.save in one atomic step.

    Args:
        checkpoint: what to save.
        path: the file.
        read_back: whether to make sure that the file can be loaded, which takes about as long.

    Raises:
        OSError: if the file cannot be written. torch's own message only names archive positions.
        ValueError: if `checkpoint` has an object that `torch.load(weights_only=True)` refuses.
    """
    with atomic_write(path) as partial:
        try:
            with partial.open("wb") as file:
                torch.save(checkpoint, file)
            if read_back:
                load_checkpoint(partial, mmap=True)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise
        except (pickle.PicklingError, AttributeError, TypeError, ValueError):
            refused = unsupported_part(checkpoint, "checkpoint")
            if refused is None:
                raise
            raise ValueError(
                f"{refused}, which a checkpoint cannot contain: the run could not resume.\n\n"
                "hint: use only tensors, numbers, strings, lists and dicts in the state of "
                "optimizers, callbacks and modules; convert NumPy scalars with float(x), and "
                "exclude other hyperparameters with save_hyperparameters(ignore=[...])"
            ) from None


def unsupported_part(value: Any, name: str) -> str | None:
    """Return the name and the type of the first part that a checkpoint cannot hold, or None."""
    try:
        torch.save(value, file := io.BytesIO())
        file.seek(0)
        torch.load(file, weights_only=True)
        return None
    except (pickle.PicklingError, pickle.UnpicklingError, AttributeError, TypeError):
        parts: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, dict) else ()
        if isinstance(value, list | tuple):
            parts = enumerate(value)
        found = (unsupported_part(part, f"{name}[{key!r}]") for key, part in parts)
        inner = next((each for each in found if each is not None), None)
        return inner or f"{name} is a {type(value).__module__}.{type(value).__qualname__}"


class BestCheckpoint(ModelCheckpoint):
    """Keep the checkpoint of the best epoch by validation, the best epoch in the run's record.

    Lightning's class keeps the first of equal epochs; here `best_epoch.ranking_key` breaks ties.
    """

    best_loss = math.inf  # validation loss of the epoch that is kept
    validated_at = -1  # optimizer steps at the latest validation

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.sanity_checking:
            self.validated_at = trainer.global_step
        super().on_validation_end(trainer, pl_module)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if (
            self.validated_at == trainer.global_step
        ):  # otherwise the metrics belong to other weights
            super().on_train_epoch_end(trainer, pl_module)

    def check_monitor_top_k(self, trainer: L.Trainer, current: Tensor | None = None) -> bool:
        if current is None:
            return False
        loss = float(trainer.callback_metrics["val/loss"])
        is_best = self.best_model_score is None or (
            ranking_key(float(current), self.mode, loss)
            >= ranking_key(float(self.best_model_score), self.mode, self.best_loss)
        )
        is_best = trainer.strategy.reduce_boolean_decision(is_best)  # all devices decide alike
        if is_best:
            self.best_loss = loss
        return is_best

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "best_loss": self.best_loss}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.best_loss = state_dict["best_loss"]


class ResumeCheckpoint(ModelCheckpoint):
    """Keeps all that a run needs to resume after the last finished epoch, as NAME.ckpt.

    A run's folder may have been moved since, so the paths that checkpoint callbacks have saved are
    changed to the current folder; otherwise Lightning would forget which score is the best.
    """

    def __init__(self, folder: Path, origin: dict[str, Any], name: str = "last") -> None:
        """
        Args:
            folder: folder of the run.
            origin: fingerprints of the code and data at the start of the run, saved with it.
        """
        super().__init__(
            dirpath=RunFolder(folder).checkpoints,
            filename=name,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
        self.origin = origin
        self.optimizer_states: list[dict[str, Any]] = []  # to resume from

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
            for group in state.get("param_groups", ()):  # an optimizer may use another format
                if "capturable" in group:  # set by CUDA graphs, which set it again
                    group["capturable"] = False
        self.optimizer_states = checkpoint["optimizer_states"]
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

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        for optimizer, saved in zip(trainer.optimizers, self.optimizer_states, strict=False):
            undo_casts(optimizer, saved)
        self.optimizer_states = []


def undo_casts(optimizer: Optimizer, saved: dict[str, Any]) -> None:
    """Restore the dtypes and strings of an optimizer state that `load_state_dict` has changed.

    torch casts all tensors of a state to the dtype of the weights, even flags and counters, and
    turns a string into the repr of a generator.
    """
    optimizer = getattr(optimizer, "base_optimizer", optimizer)  # whose state a wrapper saves
    if type(optimizer).load_state_dict is not Optimizer.load_state_dict:
        return  # the class loads in its own way

    def uncast(saved: Any, loaded: Any) -> Any:
        if isinstance(saved, Tensor) and saved.dtype != loaded.dtype:
            return saved.to(loaded.device)
        return saved if isinstance(saved, str) else loaded

    indices = [index for group in saved["param_groups"] for index in group["params"]]
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for index, weight in zip(indices, weights, strict=True):
        if index in saved["state"]:
            optimizer.state[weight] = tree_map(
                uncast, saved["state"][index], optimizer.state[weight]
            )


def _moved(state: dict[str, Any], folder: str) -> dict[str, Any]:
    """Return the state of a ModelCheckpoint with its paths changed to another folder."""

    def here(path: str) -> str:
        return str(Path(folder) / Path(path).name) if path else path

    best = {here(path): score for path, score in state["best_k_models"].items()}
    paths = {name: here(state[name]) for name in state if name.endswith("_path")}
    return {**state, **paths, "best_k_models": best, "dirpath": folder}


def resume_point(path: Path, config: DictConfig, checksum: str | None) -> Path | None:
    """Return the checkpoint that a run resumes from, or None if there is none.

    Raises:
        ValueError: if the checkpoint is damaged, or data or code have changed since it was written.
    """
    if not path.is_file():
        return None
    again = "rerun=true starts this run again from the beginning"
    state = load_checkpoint(path, mmap=True, hint=again)
    if "loops" not in state:  # the checkpoint of one replica has only its weights
        return None
    best = path.with_name("best.ckpt")
    if path.name == "last.ckpt" and config.callbacks.get("best") and not best.is_file():
        raise ValueError(
            f"{best} is missing: the weights of the best epoch so far are lost.\n\nhint: {again}"
        )
    if state.get("dataset_checksum", checksum) != checksum:
        raise ValueError(
            f"the images of data={config.data.get('name')} changed since {path} was written: "
            "training images might now be in the validation set.\n\n"
            f"hint: {again}; restore the earlier images to resume"
        )
    changed = changed_modules(config, state.get("own_code") or {})
    if changed:
        raise ValueError(
            f"{' and '.join(changed)} changed since {path} was written: the run would mix two "
            f"versions of the code.\n\nhint: {again}; undo the change to resume"
        )
    return path
