"""Measurements that share one process: contenders take turns on the same images and weights.

python -m benchmarks.in_process TASK.json RESULT.json

The task is a JSON object: `measure` names a function below, the rest are its arguments. The result
maps contenders to the list of their measurements. A process of its own, because the one that starts
programs must stay small (see process.py).
"""

import atexit
import gc
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import lightning as L
import torch
from omegaconf import DictConfig
from torch.utils.data import DataLoader
from torchvision.datasets import MNIST

from benchmarks import bare_loop
from benchmarks.measure import alternate
from benchmarks.optlab_run import compose_run, train_seconds_per_epoch
from benchmarks.usual_pipeline import (
    MNIST_STATISTICS,
    EpochClock,
    UsualClassifier,
    pictures_of,
    split_loaders,
    usual_transform,
)
from optlab.data import ImageDataset
from optlab.optim import param_groups
from optlab.training import build
from optlab.training.instantiate import instantiate_partial
from optlab.training.process import prepare_process
from optlab.training.validate import on_cuda

Samples = dict[str, list[float]]
LOADER_EPOCHS = 5  # of OptLab's loader in one measurement: a single one is over too soon


def main(task_file: Path, result_file: Path) -> None:
    task = json.loads(task_file.read_text())
    measure: dict[str, Callable[..., Samples]] = {
        "epoch": seconds_per_epoch,
        "loader": images_per_second,
        "replicas": seconds_of_replicas,
    }
    warnings.filterwarnings("ignore", module="lightning.*")  # advice that the tutorials ignore too
    gc.freeze()  # what imports made, as a run of OptLab's own does
    atexit.register(gc.unfreeze)  # else extensions complain of leaks at the end
    result_file.write_text(json.dumps(measure[task.pop("measure")](**task)))


def seconds_per_epoch(
    overrides: list[str],
    variants: dict[str, list[str]],
    workers: list[int],
    epochs: int,
    threads: int,
    repeats: int,
) -> Samples:
    """Measure the training seconds of an epoch: bare loop, OptLab, usual pipeline.

    Args:
        overrides: of OptLab's config: images, network, device. The bare loop takes network,
            optimizer and images from there as well.
        variants: contender -> further overrides; each is OptLab in another setting.
        workers: of the usual pipeline, a contender for each number; empty for none.
        epochs: in one measurement.
    """
    with tempfile.TemporaryDirectory() as temporary:
        outputs = Path(temporary)
        common = [*overrides, f"num_threads={threads}", f"trainer.max_epochs={epochs}"]
        config = compose_run(common, outputs)
        prepare_process(config.num_threads, on_cuda=on_cuda(config))
        datamodule = build.build_data(config)
        contenders = {"bare loop": _bare_loop(config, datamodule, epochs)}
        for index, (name, further) in enumerate(variants.items()):
            contenders[name] = _optlab([*common, *further], outputs / str(index))
        for num_workers in workers:
            contenders[usual_name(num_workers)] = _usual(config, datamodule, num_workers, outputs)
        return alternate(contenders, repeats)


def images_per_second(overrides: list[str], workers: list[int], repeats: int) -> Samples:
    """Measure the data pipeline only: shuffled batches of 64 normalized images, no network.

    Workers of DataLoader are started once, in the warm-up, and stay.
    """
    with tempfile.TemporaryDirectory() as temporary:
        config = compose_run(overrides, Path(temporary))
        prepare_process(config.num_threads, on_cuda=on_cuda(config))
        datamodule = build.build_data(config)
        own_loader = datamodule.train_dataloader()

        def own(repeat: int) -> float:
            return _rate(labels for _ in range(LOADER_EPOCHS) for _, labels in own_loader)

        contenders: dict[str, Callable[[int], float]] = {"OptLab": own}
        for num_workers in workers:
            loader, _ = split_loaders(
                _pictures(config, datamodule), config.data.batch_size, num_workers
            )
            contenders[f"DataLoader, {num_workers} workers"] = _loader_rate(loader)
        return alternate(contenders, repeats)


def seconds_of_replicas(
    overrides: list[str], counts: list[int], epochs: int, threads: int, repeats: int
) -> Samples:
    """Measure the training seconds of an epoch of all R replicas together, for each number R."""
    with tempfile.TemporaryDirectory() as temporary:
        common = [*overrides, f"num_threads={threads}", f"trainer.max_epochs={epochs}"]
        contenders = {
            str(count): _optlab([*common, f"num_replicas={count}"], Path(temporary) / str(count))
            for count in counts
        }
        return alternate(contenders, repeats)


def usual_name(num_workers: int) -> str:
    return f"usual pipeline, {num_workers} workers"


def _bare_loop(config: DictConfig, datamodule: Any, epochs: int) -> Callable[[int], float]:
    device = _device(config)
    source: ImageDataset = datamodule._loaded_source()
    kept = datamodule.train_indices
    images = bare_loop.normalized(source.train_images[kept], source.mean, source.std, device)
    labels = source.train_labels[kept].to(device)

    def measure(repeat: int) -> float:
        # The initial weights, memory format and fused optimizer of OptLab's run: only loops differ
        net = build.build_net(config, datamodule)
        assert net is not None
        net = net.to(device)
        decay_all = config.module.decay_norm_and_bias
        make_optimizer = instantiate_partial(config.optimizer)
        optimizer = make_optimizer(param_groups(net, decay_norm_and_bias=decay_all))
        return bare_loop.seconds_per_epoch(
            net,
            optimizer,
            images,
            labels,
            batch_size=config.data.batch_size,
            epochs=epochs,
            seed=config.seed,
        )

    return measure


def _optlab(overrides: list[str], outputs: Path) -> Callable[[int], float]:
    def measure(repeat: int) -> float:
        # A folder of its own: a finished run would not be trained again
        return train_seconds_per_epoch(compose_run(overrides, outputs / str(repeat)))

    return measure


def _usual(
    config: DictConfig, datamodule: Any, num_workers: int, outputs: Path
) -> Callable[[int], float]:
    dataset = _pictures(config, datamodule)

    def measure(repeat: int) -> float:
        clock = EpochClock()
        trainer = L.Trainer(
            max_epochs=1,
            accelerator=config.trainer.accelerator,
            devices=1,
            logger=False,
            enable_progress_bar=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            limit_val_batches=0,
            callbacks=[clock],
            default_root_dir=outputs,
        )
        train_loader, _ = split_loaders(dataset, config.data.batch_size, num_workers)
        net = build.build_net(config, datamodule)
        assert net is not None
        trainer.fit(UsualClassifier(net, weight_decay=config.optimizer.weight_decay), train_loader)
        return clock.seconds[0]

    return measure


def _pictures(config: DictConfig, datamodule: Any) -> Any:
    """Return torchvision's MNIST where a run trains on it, else the same pictures in memory."""
    if config.data.name == "mnist" and config.data._target_ == "optlab.data.ImageDataModule":
        return MNIST(config.data.root, train=True, transform=usual_transform(*MNIST_STATISTICS))
    return pictures_of(datamodule._loaded_source())


def _loader_rate(loader: DataLoader[Any]) -> Callable[[int], float]:
    return lambda repeat: _rate(labels for _, labels in loader)


def _rate(all_labels: Iterable[torch.Tensor]) -> float:
    """Return images per second, counted by their labels."""
    start_s = time.perf_counter()
    num_images = sum(len(labels) for labels in all_labels)
    return num_images / (time.perf_counter() - start_s)


def _device(config: DictConfig) -> torch.device:
    return torch.device("cuda" if config.trainer.accelerator == "gpu" else "cpu")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
