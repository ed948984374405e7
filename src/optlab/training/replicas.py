"""Replicas: R seeds of one configuration trained at once, as one network with stacked weights.

A small network leaves most of a GPU idle, so R of them in one program cost little more than one.
Every parameter of the stack has a leading dimension R; an optimizer that treats each weight by
itself needs no change, since the gradient of the summed losses is each replica's own.
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from optlab.optim import param_groups
from optlab.training.checkpoints import save_atomically
from optlab.training.classifier import ImageClassifier


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
        # The code that runs, without weights of its own; in a tuple, so that it is not registered
        self._skeleton = (copy.deepcopy(nets[0]).to("meta"),)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (R, B, classes) of images (B, C, H, W), or (R, B, C, H, W): a batch for each."""
        # Lightning restores the mode after validation module by module, past our train()
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

    def param_groups(self, weight_decay_on: str) -> list[dict[str, Any]]:
        """The groups of the single network, with the stacked parameters in them."""
        stacked = dict(self.stacked.named_parameters())
        groups = param_groups(self._skeleton[0], weight_decay_on)
        for group in groups:
            group["params"] = [(name, stacked[name]) for name, _ in group["params"]]
        return groups

    def state_of(self, replica: int) -> dict[str, Tensor]:
        """The state of one replica, as a checkpoint of the seed alone holds it."""
        state = self.stacked.state_dict()
        return {f"net.{name}": tensor[replica].detach().clone() for name, tensor in state.items()}

    def single(self, replica: int) -> nn.Module:
        """One replica as a network of its own, with copies of its weights."""
        net = copy.deepcopy(self._skeleton[0]).to_empty(device=next(self.parameters()).device)
        net.load_state_dict(
            {name: tensor[replica] for name, tensor in self.stacked.state_dict().items()}
        )
        return net

    def load_states(self, states: Sequence[dict[str, Tensor]]) -> None:
        """Takes the states of all replicas, each as `state_of` gives it."""
        names = self.stacked.state_dict()
        self.stacked.load_state_dict(
            {name: torch.stack([state[f"net.{name}"] for state in states]) for name in names}
        )

    def draws_random_numbers(self) -> bool:
        """Whether replicas equal the seed alone in distribution only: dropout shares one stream."""
        dropout = nn.modules.dropout._DropoutNd  # of single units and of whole channels
        return any(module.p > 0 for module in self.stacked.modules() if isinstance(module, dropout))


class ReplicaCheckpoints(Callback):
    """best.ckpt and last.ckpt of every replica, in its own folder."""

    def __init__(self, folders: Sequence[Path], net: StackedNet, monitor: str, mode: str) -> None:
        self.folders = folders
        self.net = net
        self.metric = monitor.removeprefix("val/")
        self.sign = 1.0 if mode == "max" else -1.0
        self.best = [-float("inf")] * len(folders)

    def state_dict(self) -> dict[str, Any]:
        return {"best": list(self.best)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = list(state_dict["best"])

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, ImageClassifier)
        for replica, value in enumerate(pl_module.validation[self.metric]):
            if self.sign * value > self.best[replica]:
                self.best[replica] = self.sign * value
                self._save(replica, "best")

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for replica in range(len(self.folders)):
            self._save(replica, "last")

    def _save(self, replica: int, weights: str) -> None:
        path = self.folders[replica] / "checkpoints" / f"{weights}.ckpt"
        save_atomically({"state_dict": self.net.state_of(replica)}, path)
