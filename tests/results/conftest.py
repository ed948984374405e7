"""Made studies: folders with records and curves as a run writes them, without any training."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# Steps until the loss has fallen by half, floor of the loss, accuracy in the end: made up, in the
# order that real optimizers have on MNIST with an MLP.
SHAPES = {
    "sgd": (300.0, 0.045, 0.9755),
    "adam": (110.0, 0.012, 0.9788),
    "adamw": (105.0, 0.011, 0.9791),
    "rmsprop": (120.0, 0.018, 0.9776),
    "adagrad": (700.0, 0.200, 0.9405),
}
RATES = {"sgd": 0.01, "adam": 0.001, "adamw": 0.001, "rmsprop": 0.001, "adagrad": 0.01}


@dataclass
class StudyWriter:
    """Writes runs into one study folder; every number follows from the arguments."""

    folder: Path
    num_epochs: int = 4
    steps_per_epoch: int = 60
    target: float | None = 0.97
    classes: int = 10
    written: list[Path] = field(default_factory=list)

    def run(
        self,
        optimizer: str = "adam",
        seed: int = 0,
        *,
        status: str = "finished",
        reason: str | None = None,
        accuracy: float | None = None,
        test_accuracy: float | None = None,
        broken_after: int | None = None,
        config: dict[str, Any] | None = None,
        record: dict[str, Any] | None = None,
        curves: bool = True,
        data: str = "mnist",
        model: str = "mlp",
        fold: int = 0,
        checksum: str = "5f1d0c9a77e2",
        tau_factor: float = 1.0,
    ) -> Path:
        """Write one run.

        Args:
            accuracy: final validation accuracy; by default the shape's, moved by the seed.
            broken_after: steps after which a diverged run's loss is no longer finite.
            config: dotted keys to set in the config.
            record: top-level keys to set in the record.
        """
        tau, floor, final = SHAPES.get(optimizer, (150.0, 0.02, 0.977))
        rng = np.random.default_rng([seed, *optimizer.encode(), fold])
        final = final + float(rng.normal(0, 0.0006)) if accuracy is None else accuracy
        identity: dict[str, Any] = {
            "data": {"name": data, "batch_size": 64, "fold": fold, "num_folds": 1},
            "model": {"name": model, "hidden": [256, 128]},
            "optimizer": {"name": optimizer, "lr": RATES.get(optimizer, 0.001)},
            "scheduler": {"name": "constant"},
            "trainer": {"max_epochs": self.num_epochs, "precision": "32-true"},
            "seed": seed,
            "lr_multiplier": 1.0,
        }
        for key, value in (config or {}).items():
            _set(identity, key.split("."), value)
        digest = hashlib.sha256(json.dumps([identity, checksum], sort_keys=True).encode())
        run_hash = digest.hexdigest()[:16]
        run_name = f"{identity['optimizer']['name']}-seed{seed}"
        folder = self.folder / f"{run_name}-{run_hash[:8]}"
        folder.mkdir(parents=True)
        num_steps = self.num_epochs * self.steps_per_epoch
        step = np.arange(1, num_steps + 1)
        loss = floor + (2.3 - floor) * (1 + step / (tau * tau_factor)) ** -1.6
        loss = loss * np.exp(rng.normal(-0.06, 0.35, num_steps) * (1 - np.exp(-step / 30)))
        if status == "diverged":
            num_steps = broken_after or num_steps // 3
            step, loss = step[:num_steps], loss[:num_steps]
            tail = np.arange(min(12, num_steps))
            loss[-len(tail) :] = loss[-len(tail)] * 4.0**tail
            loss[-1] = np.inf if num_steps > 1 else loss[-1]
        rate = identity["optimizer"].get("lr", 0.001) * identity["lr_multiplier"]
        done = num_steps // self.steps_per_epoch
        epoch = np.arange(1, done + 1)
        progress = 1 - np.exp(-epoch * self.steps_per_epoch / (tau * tau_factor) / 1.3)
        start = min(0.86, final - 0.002)
        val = start + (final - start) * progress + rng.normal(0, 0.0005, done)
        if done and status == "finished":
            val = np.minimum(val, final - 1e-5)
            val[int(done * 0.8)] = final
        speed = 41_000.0 + 900.0 * (seed % 5) - 60.0 * len(optimizer) ** 2
        seconds = epoch * self.steps_per_epoch * 64 / speed
        if curves:
            self._curves(folder, step, loss, rate, epoch, val, floor, seconds)
        best = int(val.argmax()) if done else 0
        finished = status == "finished"
        test = (final - 0.001 if test_accuracy is None else test_accuracy) if finished else None
        content: dict[str, Any] = {
            "format": 1,
            "protocol_version": 1,
            "status": status,
            "reason": reason,
            "study": self.folder.name,
            "run_name": run_name,
            "hash": run_hash,
            "command": f"python train.py optimizer={optimizer} seed={seed}",
            "overrides": [f"optimizer={optimizer}", f"seed={seed}"],
            "seed": seed,
            "config": identity,
            "dataset": {
                "name": data,
                "title": {"mnist": "MNIST", "cifar10": "CIFAR-10"}.get(data, data),
                "checksum": checksum,
                "num_train": 54000,
                "num_val": 6000,
                "num_test": 10000,
                "class_names": _class_names(data, self.classes),
                "in_channels": 1,
                "image_size": 28,
                "mean": [0.1307],
                "std": [0.3081],
            },
            "model": {
                "name": model,
                "target": "optlab.models.MLP",
                "kwargs": {},
                "num_parameters": 235146,
                "num_trainable_parameters": 235146,
                "num_buffer_elements": 0,
            },
            "optimizer": {"name": optimizer, "target": "torch.optim.Adam", "lr": rate},
            "validation": {
                "best": _point(val, best, self.steps_per_epoch, final if finished else None),
                "last": _point(val, done - 1, self.steps_per_epoch),
            }
            if done
            else None,
            "train": {
                "best": {"loss": floor, "accuracy": min(final + 0.014, 1.0)},
                "last": {"loss": floor, "accuracy": min(final + 0.0155, 1.0)},
            }
            if finished
            else None,
            "test": {
                "best": {"loss": 3 * floor, "accuracy": test},
                "last": {"loss": 3 * floor, "accuracy": test - 0.0006},
            }
            if test is not None
            else None,
            "confusion_matrix": _confusion(test, self.classes, rng) if test is not None else None,
            "num_epochs": done,
            "num_steps": num_steps,
            "train_time_s": num_steps * 64 / speed,
            "wall_time_s": num_steps * 64 / speed + 4.0,
            "images_per_s": speed,
            "peak_memory_gib": 0.4,
            "target": {"metric": "val/accuracy", "value": self.target, "origin": "made up"}
            if self.target
            else None,
            "device": {"name": "a made-up CPU", "type": "cpu", "num_threads": 1},
            "versions": {"python": "3.11.9", "torch": "2.15.0", "optlab": "0.1.0"},
            "git_commit": None,
            "started_at": "2026-11-01T10:00:00",
            "finished_at": f"2026-11-01T10:0{seed % 10}:30",
            "replica": None,
        }
        content.update(record or {})
        (folder / "record.json").write_text(json.dumps(content))
        self.written.append(folder)
        return folder

    def _curves(
        self,
        folder: Path,
        step: np.ndarray,
        loss: np.ndarray,
        rate: float,
        epoch: np.ndarray,
        val: np.ndarray,
        floor: float,
        seconds: np.ndarray,
    ) -> None:
        lines = [f"{s},{value:.6g},{rate:g}" for s, value in zip(step, loss, strict=True)]
        (folder / "steps.csv").write_text("step,train/loss,lr\n" + "\n".join(lines) + "\n")
        head = "epoch,step,lr,train/loss,train/accuracy,val/loss,val/accuracy,train_time_s\n"
        rows = []
        for index, number in enumerate(epoch):
            last = number * self.steps_per_epoch
            mean = float(loss[last - self.steps_per_epoch : last].mean())
            rows.append(
                f"{number},{last},{rate:g},{mean:.6g},{min(val[index] + 0.01, 1):.6g},"
                f"{0.06 + floor + 2 * (1 - val[index]):.6g},{val[index]:.6g},{seconds[index]:.4f}"
            )
        (folder / "epochs.csv").write_text(head + "\n".join(rows) + ("\n" if rows else ""))

    def meta(self, **values: Any) -> None:
        """Write study.json."""
        content = {"study": self.folder.name, "commands": [], "title": None, "published": None}
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "study.json").write_text(json.dumps({**content, **values}))


def _set(nested: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        nested = nested.setdefault(key, {})
    nested[keys[-1]] = value


def _point(
    val: np.ndarray, index: int, steps_per_epoch: int, accuracy: float | None = None
) -> dict[str, Any]:
    value = float(val[index]) if accuracy is None else accuracy
    return {
        "epoch": index + 1,
        "step": (index + 1) * steps_per_epoch,
        "loss": 0.08,
        "accuracy": value,
    }


def _class_names(data: str, classes: int) -> list[str]:
    if data == "cifar10":
        return [
            "airplane",
            "automobile",
            "bird",
            "cat",
            "deer",
            "dog",
            "frog",
            "horse",
            "ship",
            "truck",
        ]
    return [str(number) for number in range(classes)]


def _confusion(accuracy: float, classes: int, rng: np.random.Generator) -> list[list[int]]:
    """1,000 images a class; mistakes mostly on a few pairs, as with real digits."""
    weights = rng.gamma(0.6, 1.0, (classes, classes)) * np.random.default_rng(5).gamma(
        0.5, 1.0, (classes, classes)
    )
    np.fill_diagonal(weights, 0)
    wrong = round(1000 * classes * (1 - accuracy))
    matrix = np.floor(weights / weights.sum() * wrong).astype(int).clip(0, 90)
    np.fill_diagonal(matrix, 1000 - matrix.sum(axis=1))
    return matrix.tolist()  # type: ignore[no-any-return]


@pytest.fixture
def new_study(tmp_path: Path) -> Callable[..., StudyWriter]:
    """Start an empty study folder: `new_study(num_epochs=3)`."""

    def start(name: str = "mnist-mlp", **options: Any) -> StudyWriter:
        return StudyWriter(tmp_path / "outputs" / name, **options)

    return start


@pytest.fixture
def five_optimizers(new_study: Callable[..., StudyWriter]) -> StudyWriter:
    """Five optimizers, one seed each."""
    writer = new_study()
    for optimizer in SHAPES:
        writer.run(optimizer)
    return writer
