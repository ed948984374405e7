"""Learning-rate range test: training loss at an increasing learning rate. Writes no record."""

import tempfile
from dataclasses import dataclass

import lightning as L
import numpy as np
from lightning.pytorch.tuner import Tuner
from omegaconf import DictConfig, OmegaConf

from optlab.training import build
from optlab.training.callbacks import OptimizerModes, SeedEpochs
from optlab.training.process import prepare_process
from optlab.training.validate import on_cuda, validate_config

SMOOTHING = 0.98  # share of the earlier losses in Lightning's moving average


@dataclass(frozen=True, eq=False)
class LRRange:
    """The result of a range test.

    Attributes:
        optimizer: its name.
        learning_rate: (num_steps,), learning rate of each optimizer step, evenly spaced on a log
            scale.
        loss: (num_steps,), training loss in nats, smoothed over steps. Both arrays end before the
            first loss that is not finite.
    """

    optimizer: str
    learning_rate: np.ndarray
    loss: np.ndarray


def lr_range(config: DictConfig, min_lr: float, max_lr: float, num_steps: int) -> LRRange:
    """Train from the initial weights of a run while the learning rate rises (Smith 2017).

    Initial weights and batches depend on the seed, the model and the data, so they are the same for
    all optimizers. Source: arXiv:1506.01186, section 3.3; the loss is smoothed as Lightning's
    learning-rate finder does.

    Args:
        config: config of a run.
        min_lr: learning rate of the first step, above 0.
        max_lr: learning rate of the last step.
        num_steps: number of optimizer steps.

    Raises:
        ValueError: if options contradict each other, or the optimizer has no learning rate.
    """
    validate_config(config)
    name = str((config.optimizer or {}).get("name") or (config.optimizer or {}).get("_target_"))
    if (config.optimizer or {}).get("lr") is None:
        raise ValueError(
            f"optimizer={name} has no lr, which the range test varies.\n\n"
            "hint: remove it from the command"
        )
    prepare_process(config.num_threads, on_cuda=on_cuda(config))
    with tempfile.TemporaryDirectory() as folder:
        config = OmegaConf.merge(config, {"scheduler": None, "run_dir": folder})  # type: ignore[assignment]
        datamodule = build.build_data(config)
        module = build.build_module(config, build.build_net(config, datamodule), datamodule)
        callbacks: list[L.Callback] = [SeedEpochs(config.seed), OptimizerModes()]
        trainer = build.build_trainer(config, callbacks, [])
        found = Tuner(trainer).lr_find(
            module,
            datamodule=datamodule,
            min_lr=min_lr,
            max_lr=max_lr,
            num_training=num_steps,
            early_stop_threshold=None,
            update_attr=False,
        )
    assert found is not None
    learning_rate, loss = np.array(found.results["lr"]), np.array(found.results["loss"])
    # Lightning divides its moving average of step k, from 1, by 1 - beta^(k + 1), which halves the
    # first loss; an average that starts at 0 wants 1 - beta^k (Adam's bias correction)
    steps = np.arange(1, len(loss) + 1)
    loss *= (1 - SMOOTHING ** (steps + 1)) / (1 - SMOOTHING**steps)
    finite = np.isfinite(loss)
    num_shown = len(loss) if finite.all() else int(np.argmin(finite))
    return LRRange(name, learning_rate[:num_shown], loss[:num_shown])
