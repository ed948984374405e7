"""The usual pipeline: Lightning as its tutorials write it. Also a program of its own.

A torchvision data set with its transforms, random_split, DataLoader, a LightningModule that logs
loss and a torchmetrics accuracy, Adam, Trainer. It is as light as switches can make it: no logger,
no progress bar, no test at the end; the checkpoint of each epoch stays, as OptLab's does.

python -m benchmarks.usual_pipeline --epochs 5 --num-workers 2
"""

import argparse
import os
import time
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, random_split
from torchmetrics.classification import MulticlassAccuracy
from torchvision import transforms
from torchvision.datasets import MNIST

from benchmarks.first_step import FirstStep
from benchmarks.synthetic import synthetic_source
from optlab.data import ImageDataset
from optlab.models import MLP

NUM_CLASSES = 10
MNIST_STATISTICS = ((0.1307,), (0.3081,))


class UsualClassifier(L.LightningModule):
    """The module of the tutorials around a given network."""

    def __init__(self, net: nn.Module, **adam: Any) -> None:
        super().__init__()
        self.net = net
        self.adam = {"lr": 1e-3, **adam}
        self.train_accuracy = MulticlassAccuracy(NUM_CLASSES, average="micro")
        self.val_accuracy = MulticlassAccuracy(NUM_CLASSES, average="micro")

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, labels = batch
        logits = self.net(images)
        loss = F.cross_entropy(logits, labels)
        self.train_accuracy(logits, labels)
        self.log("train_loss", loss)
        self.log("train_accuracy", self.train_accuracy, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        images, labels = batch
        logits = self.net(images)
        self.val_accuracy(logits, labels)
        self.log("val_loss", F.cross_entropy(logits, labels))
        self.log("val_accuracy", self.val_accuracy)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), **self.adam)


class PicturesInMemory(Dataset[tuple[Any, int]]):
    """Pictures as torchvision's MNIST and CIFAR10 classes hand them out: PIL, then transforms."""

    def __init__(self, images: Tensor, labels: Tensor, transform: Any) -> None:
        """
        Args:
            images: uint8 (N, C, H, W).
            labels: int64 (N,).
        """
        self.pictures = images.permute(0, 2, 3, 1).squeeze(-1).contiguous().numpy()
        self.labels = labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(Image.fromarray(self.pictures[index])), self.labels[index]


class EpochClock(L.Callback):
    """Seconds of the training epochs, data loading included."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._start_s = time.perf_counter()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize()
        self.seconds.append(time.perf_counter() - self._start_s)


def usual_transform(mean: tuple[float, ...], std: tuple[float, ...]) -> transforms.Compose:
    return transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean, std)])


def pictures_of(source: ImageDataset) -> PicturesInMemory:
    """The train part of a source, as torchvision's classes would serve it."""
    transform = usual_transform(source.mean, source.std)
    return PicturesInMemory(source.train_images, source.train_labels, transform)


def split_loaders(
    dataset: Dataset[Any], batch_size: int, num_workers: int
) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Nine tenths to train on, shuffled, and one tenth to validate on."""
    train, val = random_split(dataset, [0.9, 0.1])
    workers = {"num_workers": num_workers, "persistent_workers": num_workers > 0}
    return (
        DataLoader(train, batch_size=batch_size, shuffle=True, **workers),  # type: ignore[arg-type]
        DataLoader(val, batch_size=batch_size, **workers),  # type: ignore[arg-type]
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--num-workers", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    parser.add_argument("--accelerator", default="cpu", help="cpu or gpu")
    parser.add_argument("--synthetic", action="store_true", help="random pixels, not MNIST")
    parser.add_argument("--num-images", type=int, help="of the random pixels")
    parser.add_argument("--output", type=Path, default=Path("."), help="for logs and checkpoints")
    parser.add_argument("--first-step", type=Path, help="file for the time of the first step")
    options = parser.parse_args(arguments)

    torch.set_num_threads(options.threads)
    L.seed_everything(0, verbose=False)
    dataset: Dataset[Any]
    if options.synthetic:
        dataset = pictures_of(synthetic_source("mnist", options.num_images))
    else:
        root = os.environ.get("OPTLAB_DATA", "data")
        dataset = MNIST(root, train=True, transform=usual_transform(*MNIST_STATISTICS))
    train_loader, val_loader = split_loaders(dataset, options.batch_size, options.num_workers)
    trainer = L.Trainer(
        max_epochs=options.epochs,
        max_steps=1 if options.first_step else -1,
        accelerator=options.accelerator,
        devices=1,
        default_root_dir=options.output,
        callbacks=[FirstStep(str(options.first_step))] if options.first_step else [],
        logger=False,
        enable_progress_bar=False,
    )
    trainer.fit(UsualClassifier(MLP(1, 28, NUM_CLASSES)), train_loader, val_loader)


if __name__ == "__main__":
    main()
