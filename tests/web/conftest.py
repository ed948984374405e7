"""Made studies: run folders as training leaves them, from small networks trained for a second."""

import asyncio
import copy
import csv
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from made_records import make_record
from torch import nn

from optlab.models import CNN, MLP
from optlab.runs.folder import EPOCH_COLUMNS, STEP_COLUMNS, RunFolder
from optlab.runs.record import (
    DatasetFacts,
    Evaluation,
    Metrics,
    ModelFacts,
    OptimizerFacts,
    write_record,
)
from optlab.web.app import create_app

MEAN, STD = 0.3052, 0.3619  # of the embedded digits at 28x28; any values would do here
STEPS_PER_EPOCH = 23  # 1,437 images in batches of 64
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, lr=1e-3),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=1e-3),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=1e-2),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-3),
}


@pytest.fixture(autouse=True)
def one_torch_thread() -> None:
    torch.set_num_threads(1)


DIGITS = {
    "name": "digits",
    "title": "UCI digits (embedded)",
    "checksum": "0",
    "num_train": 1149,
    "num_val": 288,
    "num_test": 360,
    "class_names": [str(digit) for digit in range(10)],
    "in_channels": 1,
    "image_size": 28,
    "preparation": "digits",
    "mean": [MEAN],
    "std": [STD],
}


def write_run(
    outputs: Path,
    net: nn.Module,
    *,
    study: str = "digits-mlp",
    optimizer: str = "adam",
    seed: int = 0,
    lr: float = 1e-3,
    status: str = "finished",
    dataset: dict[str, Any] | None = None,
    kwargs: dict[str, Any] | None = None,
    accuracy: float = 0.9,
    curve: Sequence[tuple[float, float, float]] = (),
    confusion: list[list[int]] | None = None,
    snapshots: dict[int, dict[str, torch.Tensor]] | None = None,
) -> Path:
    """Write a run as training does: checkpoints and curves first, the record last."""
    name = f"{optimizer}-seed{seed}"
    files = RunFolder(outputs / study / f"{name}-{abs(hash((lr, status))) % 16**8:08x}")
    files.checkpoints.mkdir(parents=True)
    state = {f"net.{name}": tensor for name, tensor in net.state_dict().items()}
    for weights in ("best", "last"):
        torch.save({"state_dict": state}, files.checkpoint(weights))
    files.snapshots.mkdir()
    for step, moment in (snapshots or {}).items():
        moment = {f"net.{name}": tensor.half() for name, tensor in moment.items()}
        torch.save(moment, files.snapshot(step))
    with files.steps.open("w", newline="") as file:
        losses = np.repeat([loss for loss, _, _ in curve], STEPS_PER_EPOCH)
        rows = [(step, loss, lr) for step, loss in enumerate(losses, start=1)]
        csv.writer(file).writerows([STEP_COLUMNS, *rows])
    with files.epochs.open("w", newline="") as file:
        epochs = [
            (
                epoch,
                epoch * STEPS_PER_EPOCH,
                lr,
                train_loss,
                val_accuracy,
                val_loss,
                val_accuracy,
                1,
            )
            for epoch, (train_loss, val_loss, val_accuracy) in enumerate(curve, start=1)
        ]
        csv.writer(file).writerows([EPOCH_COLUMNS, *epochs])
    facts = DatasetFacts(**dataset or DIGITS)
    shape = {
        "in_channels": facts.in_channels,
        "image_size": facts.image_size,
        "num_classes": len(facts.class_names),
    }
    network = type(net).__name__
    scores = Metrics(loss=0.3, accuracy=accuracy)
    record = make_record(
        status,
        accuracy,
        reason=None if status == "finished" else "the loss is not finite",
        study=study,
        run_name=name,
        command=f"python train.py optimizer={optimizer} outputs={outputs}",
        seed=seed,
        config={"optimizer": {"name": optimizer, "lr": lr}, "seed": seed},
        dataset=facts,
        model=ModelFacts(
            name=network.lower(),
            target=f"optlab.models.{network}",
            kwargs=shape | (kwargs or {}),
            num_parameters=sum(p.numel() for p in net.parameters()),
        ),
        optimizer=OptimizerFacts(optimizer, "torch.optim.Adam", lr),
        train=Evaluation(scores, scores),
        confusion_matrix=confusion,
        num_epochs=len(curve),
        train_time_s=1.5,
    )
    write_record(files.path, record)
    return files.path


def write_failed_run(
    outputs: Path,
    *,
    study: str = "digits-mlp",
    optimizer: str = "adam",
    seed: int = 0,
    dataset: str = "digits",
    reason: str = "ValueError: momentum is 2.0",
) -> Path:
    """Write a run that failed before it had seen its data: no checkpoint, no curve, only names."""
    folder = outputs / study / f"{optimizer}-failed-seed{seed}"
    record = make_record(
        "failed",
        reason=reason,
        study=study,
        run_name=optimizer,
        hash=f"{seed:016x}",
        seed=seed,
        config={"optimizer": {"name": optimizer}, "seed": seed},
        dataset=DatasetFacts(dataset),
        model=ModelFacts("mlp", "optlab.models.MLP"),
        optimizer=OptimizerFacts(optimizer, "torch.optim.Adam", 1e-3),
    )
    write_record(folder, record)
    return folder


@pytest.fixture(scope="session")
def embedded_digits() -> tuple[torch.Tensor, torch.Tensor]:
    """The embedded digits, (1797, 1, 28, 28) in [0, 1], and their labels."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    small = torch.from_numpy(digits.images).float().unsqueeze(1) / 16
    images = nn.functional.interpolate(small, size=(28, 28), mode="bilinear")
    return images, torch.from_numpy(digits.target)


@pytest.fixture(scope="session")
def trained_outputs(
    embedded_digits: tuple[torch.Tensor, torch.Tensor], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A study of five optimizers on the first 1,437 embedded digits, and a diverged sixth run."""
    outputs = tmp_path_factory.mktemp("outputs")
    torch.set_num_threads(1)
    images, labels = embedded_digits
    images = (images - MEAN) / STD
    for optimizer, make in OPTIMIZERS.items():
        torch.manual_seed(0)
        net = MLP(in_channels=1, image_size=28, num_classes=10, hidden_sizes=[128])
        step = make(net.parameters())
        curve = []
        snapshots = {0: copy.deepcopy(net.state_dict())}
        for epoch in range(1, 21):
            total = 0.0
            for chosen in torch.randperm(1437).split(64):
                loss = nn.functional.cross_entropy(net(images[chosen]), labels[chosen])
                step.zero_grad()
                loss.backward()
                step.step()
                total += loss.item() * len(chosen)
            with torch.no_grad():
                logits = net.eval()(images[1437:])
                net.train()
            val_loss = nn.functional.cross_entropy(logits, labels[1437:]).item()
            said = logits.argmax(dim=1)
            accuracy = (said == labels[1437:]).float().mean().item()
            curve.append((total / 1437, val_loss, accuracy))
            if epoch in (1, 20):
                snapshots[epoch * STEPS_PER_EPOCH] = copy.deepcopy(net.state_dict())
        confusion = np.zeros((10, 10), int)
        np.add.at(confusion, (labels[1437:].numpy(), said.numpy()), 1)
        write_run(
            outputs,
            net,
            optimizer=optimizer,
            lr=step.param_groups[0]["lr"],
            kwargs={"hidden_sizes": [128]},
            accuracy=accuracy,
            curve=curve,
            confusion=confusion.tolist(),
            snapshots=snapshots,
        )
    write_run(
        outputs, net, optimizer="sgd", lr=50.0, status="diverged", kwargs={"hidden_sizes": [128]}
    )
    (outputs / "digits-mlp" / "study.json").write_text(json.dumps({"title": "Digits, MLP"}))
    report = outputs / "digits-mlp" / "report"
    report.mkdir()
    (report / "index.html").write_text("<!doctype html><title>Report</title><h1>The report</h1>")
    (report / "summary.csv").write_text("optimizer,test")
    return outputs


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Writes a run of an untrained network into tmp_path."""

    def make(**choices: Any) -> Path:
        dataset = choices.get("dataset")
        if dataset and dataset["in_channels"] == 3:
            net: nn.Module = CNN(3, dataset["image_size"], 10)
            return write_run(tmp_path, net, **choices)
        options = {"hidden_sizes": [8]}
        net = MLP(in_channels=1, image_size=28, num_classes=10, **options)
        return write_run(tmp_path, net, **{"kwargs": options, **choices})

    return make


@pytest.fixture
def make_failed_run(tmp_path: Path) -> Callable[..., Path]:
    """Writes a run that failed into tmp_path."""
    return partial(write_failed_run, tmp_path)


class Client:
    """Asks an application without a socket: one call, one answer."""

    def __init__(self, outputs: Path, base_url: str = "http://127.0.0.1", **options: Any) -> None:
        self.app = create_app(outputs, **options)
        self.base_url = base_url

    def __call__(self, method: str, url: str, **arguments: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url=self.base_url) as client:
                return await client.request(method, url, **arguments)

        return asyncio.run(ask())

    def get(self, url: str, **arguments: Any) -> httpx.Response:
        return self("GET", url, **arguments)

    def post(self, url: str, **arguments: Any) -> httpx.Response:
        return self("POST", url, **arguments)


@pytest.fixture(scope="session")
def client(trained_outputs: Path) -> Client:
    return Client(trained_outputs)


@pytest.fixture(scope="session")
def client_for() -> type[Client]:
    return Client
