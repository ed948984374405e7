"""Replicas: R seeds of one configuration trained at once, as one network with stacked weights.

A small network leaves most of a GPU idle, so training R of them at once costs little more than one.
Every parameter of the stack has a leading dimension R. An elementwise optimizer needs no change, as
the gradient of the summed losses with respect to a replica is the gradient of its own loss.

All code for replicas is in this module, except for the loader's batches of several seeds. Each
replica has the folder, the files and the record of the single run with its seed.
"""

import copy
import math
import time
import zlib
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from optlab.models.load import load_checkpoint
from optlab.optim import param_groups
from optlab.runs.folder import RunFolder
from optlab.runs.record import Replica, RunRecord, find_record
from optlab.training import build, describe
from optlab.training.best_epoch import ranking_key
from optlab.training.checkpoints import ResumeCheckpoint, resume_point, save_atomically
from optlab.training.classifier import ImageClassifier
from optlab.training.clock import TrainingClock
from optlab.training.code_fingerprint import own_code
from optlab.training.csv_metrics import CSVMetrics, Diverged
from optlab.training.environment import now
from optlab.training.evaluate import (
    TRAIN_EVAL_IMAGES,
    TestResults,
    write_mistakes,
    write_test_probabilities,
)
from optlab.training.metrics import ClassificationMetrics
from optlab.training.optimizer_cost import OptimizerCost
from optlab.training.optimizer_trial import check_resumes
from optlab.training.process import prepare_process
from optlab.training.run import (
    add_metrics,
    clear,
    finish,
    fit,
    needs_training,
    train,
    write_run_report,
)
from optlab.training.run_id import replicas, run_dir
from optlab.training.validate import on_cuda


def run_replicas(config: DictConfig) -> list[RunRecord]:
    """Train the replicas of a config that have no result yet; return the records of all."""
    with ExitStack() as locks:
        for replica in replicas(config):
            if needs_training(replica, run_dir(replica)):
                locks.enter_context(RunFolder(run_dir(replica)).lock())
        # Check again: now that they are locked, no other process can finish one
        configs = [each for each in replicas(config) if needs_training(each, run_dir(each))]
        for replica in configs:
            clear(replica, run_dir(replica))
        if len(configs) > 1:
            trained = train_replicas(configs)
        else:
            trained = [train(each, run_dir(each)) for each in configs]
        found = {record.seed: record for record in trained}
        for replica in replicas(config):
            done = find_record(run_dir(replica))
            if replica.seed not in found and done is not None:
                found[replica.seed] = done
        return [found[seed] for seed in sorted(found)]


def train_replicas(configs: Sequence[DictConfig]) -> list[RunRecord]:
    """Train two or more seeds of one configuration together; `run.train` trains one."""
    config, started_at, start_s = configs[0], now(), time.perf_counter()
    folders = [run_dir(each) for each in configs]
    code = own_code(config)
    prepare_process(config.num_threads, on_cuda=on_cuda(config))
    datamodule = build.build_data(config)
    datamodule.seeds = [each.seed for each in configs]
    nets = [build.build_net(each, datamodule) for each in configs]
    net = StackedNet([each for each in nets if each is not None])
    module = build.build_module(config, net, datamodule, target=f"{__name__}.ReplicaClassifier")
    assert isinstance(module, ReplicaClassifier)
    origin = {"own_code": code, "dataset_checksum": datamodule.checksum}
    # The checkpoint is for these seeds only, as the next command may have other seeds to train
    seeds = zlib.crc32(repr(datamodule.seeds).encode())
    resume = ResumeCheckpoint(folders[0], origin, f"{len(configs)}-replicas-{seeds:08x}")
    checkpoint = resume_point(resume.path, config, datamodule.checksum)
    check_resumes(config.optimizer, checkpoint)
    clock, cost = TrainingClock(), OptimizerCost()
    shared = StopWhenAllDiverged(len(configs))
    csvs = [
        ReplicaCSVMetrics(index, shared, folder, datamodule.num_classes, clock)
        for index, folder in enumerate(folders)
    ]
    best = config.callbacks.best
    keeps = ReplicaCheckpoints(folders, net, best.monitor, best.mode)
    one = copy.deepcopy(config)
    one.callbacks.best = None
    callbacks = [clock, cost, *csvs, *build.build_callbacks(one, module), keeps, shared, resume]
    loggers = [build.build_loggers(each) for each in configs]
    trainer = build.build_trainer(config, callbacks, [each for some in loggers for each in some])
    for csv, own in zip(csvs, loggers, strict=True):
        csv.own_loggers = own

    fit(trainer, module, datamodule, checkpoint)
    keeps.save_last()
    new = []
    for index, (each, folder) in enumerate(zip(configs, folders, strict=True)):
        reason = shared.reasons.get(index)
        single = net.single(index)
        new.append(
            RunRecord(
                **describe.describe_run(each, trainer, single, datamodule),
                own_code=code,
                status="finished" if reason is None else "diverged",
                reason=reason,
                **describe.validation_results(folder, each),
                **describe.training_cost(
                    trainer,
                    clock.train_time_s / len(configs),
                    csvs[index].num_images,
                    cost,
                    num_replicas=len(configs),
                ),
                replica=_replica_facts(net),
                started_at=started_at,
            )
        )
    for index, (record, folder) in enumerate(zip(new, folders, strict=True)):
        if record.status == "finished" and trainer.is_global_zero:
            _test(record, index, trainer, module, datamodule, folder, loggers[index])
        if trainer.is_global_zero:
            describe.log_hyperparameters(list(loggers[index]), configs[index], record)
    for record, folder in zip(
        new, folders, strict=True
    ):  # at the end, so that a killed process resumes all
        finish(record, folder, start_s, trainer)
    return new


def _test(
    record: RunRecord,
    index: int,
    trainer: L.Trainer,
    module: "ReplicaClassifier",
    datamodule: Any,
    folder: Path,
    loggers: Sequence[Any],
) -> None:
    """Test one replica at its last and at its best weights, as a network of its own."""
    device = trainer.strategy.root_device
    net = module.net.single(index).to(device).eval()
    results = TestResults(datamodule.num_classes)
    results.metrics.to(device)
    train_batches = list(datamodule.train_eval_dataloader(max_images=TRAIN_EVAL_IMAGES))
    predictions = {}
    for weights in ("last", "best"):
        path = RunFolder(folder).checkpoint(weights)
        state = load_checkpoint(path)["state_dict"]
        net.load_state_dict({name.removeprefix("net."): value for name, value in state.items()})
        results.metrics.reset()
        results._predictions.clear()
        metrics = ClassificationMetrics(datamodule.num_classes).to(device)
        with torch.inference_mode(), trainer.precision_plugin.forward_context():
            for images, labels in datamodule.test_dataloader():
                results.add(net(images), labels)
            for images, labels in train_batches:
                metrics.update(net(images), labels)
        results.results = results.metrics.compute()
        predictions[weights] = results.predictions
        add_metrics(record, "test", weights, results.results)
        add_metrics(record, "train", weights, metrics.compute())
    record.confusion_matrix = results.results["confusion"].tolist()
    write_test_probabilities(RunFolder(folder).test_probabilities, predictions)
    write_mistakes(RunFolder(folder).test_mistakes, predictions[record.judged_weights], datamodule)
    write_run_report(record, trainer, net, datamodule, results, folder, loggers)


def _replica_facts(net: "StackedNet") -> Replica:
    exact = not net.draws_random_numbers()
    equality = "the single seed, within float tolerance" if exact else "in distribution"
    return Replica(of=net.num_replicas, equality=equality)


class ReplicaClassifier(ImageClassifier):
    """ImageClassifier of a StackedNet. Batches are (R, B, C, H, W) and (R, B) in training."""

    net: "StackedNet"

    def __init__(self, net: "StackedNet", *arguments: Any, **options: Any) -> None:
        super().__init__(net, *arguments, **options)
        classes = self.val_metrics.num_classes
        self.replica_metrics = nn.ModuleList(
            ClassificationMetrics(classes) for _ in range(net.num_replicas)
        )

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        images, labels = batch
        logits = self(images)  # (R, B, num_classes)
        losses = F.cross_entropy(
            logits.flatten(0, 1),
            labels.flatten(),
            label_smoothing=self.label_smoothing,
            reduction="none",
        )
        losses = losses.reshape(labels.shape).mean(dim=1)  # (R,)
        # No parameter is shared, so the sum gives each replica the gradient of its own loss
        return {"loss": losses.sum(), "losses": losses.detach(), "logits": logits.detach()}

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        images, labels = batch
        for metrics, logits in zip(self._metrics(), self(images), strict=True):
            metrics.update(logits, labels)

    def on_validation_epoch_end(self) -> None:
        results = [metrics.compute() for metrics in self._metrics()]
        self.validation = [
            {name: result[name].item() for name in ("loss", "accuracy")} for result in results
        ]
        for metrics in self._metrics():
            metrics.reset()
        for name in ("loss", "accuracy"):
            mean = sum(each[name] for each in self.validation) / len(self.validation)
            self.log(f"val/{name}", mean, logger=False)

    def _metrics(self) -> list[ClassificationMetrics]:
        return [each for each in self.replica_metrics if isinstance(each, ClassificationMetrics)]

    def param_groups(self) -> list[dict[str, Any]]:
        return self.net.param_groups(decay_norm_and_bias=self.decay_norm_and_bias)


class StopWhenAllDiverged(Callback):
    """End the training when all replicas have diverged, and keep the reasons."""

    def __init__(self, num_replicas: int) -> None:
        self.num_replicas = num_replicas
        self.reasons: dict[int, str] = {}  # replica -> why it diverged

    def state_dict(self) -> dict[str, Any]:
        return {"reasons": dict(self.reasons)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.reasons = dict(state_dict["reasons"])

    def diverged(self, replica: int, reason: str) -> None:
        """Record that a replica has diverged.

        Raises:
            Diverged: if all replicas have diverged.
        """
        self.reasons.setdefault(replica, reason)
        if len(self.reasons) == self.num_replicas:
            raise Diverged(self.reasons[0])


class ReplicaCSVMetrics(CSVMetrics):
    """CSVMetrics of one replica."""

    logged = ("train/", "val/")

    def __init__(self, replica: int, shared: StopWhenAllDiverged, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.replica = replica
        self.shared = shared
        self.own_loggers: list[Any] = []
        self.time_share = 1 / shared.num_replicas

    @property
    def state_key(self) -> str:
        return self._generate_state_key(replica=self.replica)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._checks_every_step = False  # one replica's divergence does not end the others

    def _loss_of(self, outputs: Any) -> Tensor | None:
        losses: Tensor = outputs["losses"]
        return losses[self.replica]

    def _logits_of(self, outputs: Any) -> Tensor | None:
        logits: Tensor = outputs["logits"]
        return logits[self.replica]

    def _labels_of(self, batch: Any) -> Tensor:
        labels: Tensor = batch[1]
        return labels[self.replica]

    def _validation(self, trainer: L.Trainer) -> tuple[float, float]:
        module = trainer.lightning_module
        assert isinstance(module, ReplicaClassifier)
        found = module.validation[self.replica]
        return found["loss"], found["accuracy"]

    def _loggers(self, trainer: L.Trainer) -> list[Any]:
        return self.own_loggers

    def _end_if_diverged(self, reason: str | None) -> None:
        if reason is not None:
            self.shared.diverged(self.replica, reason)


class StackedNet(nn.Module):
    """R networks of one architecture. Parameters and buffers are (R, ...)."""

    def __init__(self, nets: Sequence[nn.Module]) -> None:
        super().__init__()
        parameters, buffers = stack_module_state(list(nets))
        self.num_replicas = len(nets)
        self.stacked = copy.deepcopy(nets[0])
        stacks = {name: nn.Parameter(stack.detach()) for name, stack in parameters.items()}
        for name, stack in {**stacks, **buffers}.items():
            owner, _, leaf = name.rpartition(".")
            setattr(self.stacked.get_submodule(owner), leaf, stack)
        # Module for functional_call, without weights; in a tuple, so that it is not registered
        self._skeleton = (copy.deepcopy(nets[0]).to("meta"),)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (R, B, num_classes) of images (B, C, H, W), or of one batch per replica."""
        # After validation, Lightning restores the mode of each module without calling train()
        if self._skeleton[0].training != self.training:
            self._skeleton[0].train(self.training)
        parameters: dict[str, Tensor] = dict(self.stacked.named_parameters())
        buffers = dict(self.stacked.named_buffers())

        def one(parameters: dict[str, Tensor], buffers: dict[str, Tensor], batch: Tensor) -> Tensor:
            logits: Tensor = functional_call(self._skeleton[0], (parameters, buffers), (batch,))
            return logits

        own_images = 0 if images.ndim == 5 else None
        in_dims = (0, 0, own_images)
        logits: Tensor = vmap(one, in_dims=in_dims, randomness="different")(
            parameters, buffers, images
        )
        return logits

    def param_groups(self, *, decay_norm_and_bias: bool) -> list[dict[str, Any]]:
        """Return the parameter groups of a single network, with the stacked parameters."""
        stacked = dict(self.stacked.named_parameters())
        groups = param_groups(self._skeleton[0], decay_norm_and_bias=decay_norm_and_bias)
        for group in groups:
            group["params"] = [(name, stacked[name]) for name, _ in group["params"]]
        return groups

    def replica_state(self, replica: int) -> dict[str, Tensor]:
        """Return the state of one replica, in the format of a single run's checkpoint."""
        state = self.stacked.state_dict()
        return {f"net.{name}": tensor[replica].detach().clone() for name, tensor in state.items()}

    def single(self, replica: int) -> nn.Module:
        """Return one replica as a separate network, with copies of its weights."""
        net = copy.deepcopy(self._skeleton[0]).to_empty(device=next(self.parameters()).device)
        net.load_state_dict(
            {name: tensor[replica] for name, tensor in self.stacked.state_dict().items()}
        )
        return net

    def draws_random_numbers(self) -> bool:
        """Return whether replicas share random numbers (dropout), unlike runs of single seeds."""
        dropout = nn.modules.dropout._DropoutNd  # of single units and of whole channels
        return any(module.p > 0 for module in self.stacked.modules() if isinstance(module, dropout))


class ReplicaCheckpoints(Callback):
    """Save best.ckpt and last.ckpt of every replica in its own folder."""

    def __init__(self, folders: Sequence[Path], net: StackedNet, monitor: str, mode: str) -> None:
        self.folders = folders
        self.net = net
        self.metric = monitor.removeprefix("val/")
        self.mode = mode
        # The ranking_key of each one's best epoch
        self.best = [(-math.inf, -math.inf)] * len(folders)
        self.validated_at = -1  # optimizer steps at the latest validation

    def state_dict(self) -> dict[str, Any]:
        return {"best": list(self.best)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = list(state_dict["best"])

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.validated_at = trainer.global_step

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, ReplicaClassifier)
        if self.validated_at != trainer.global_step:
            return
        for replica, validation in enumerate(pl_module.validation):
            new = ranking_key(validation[self.metric], self.mode, validation["loss"])
            if new >= self.best[replica]:
                self.best[replica] = new
                self._save(replica, "best")

    def save_last(self) -> None:
        """Save the weights that training ended with."""
        for replica in range(len(self.folders)):
            self._save(replica, "last")

    def _save(self, replica: int, weights: str) -> None:
        path = RunFolder(self.folders[replica]).checkpoint(weights)
        save_atomically({"state_dict": self.net.replica_state(replica)}, path)
