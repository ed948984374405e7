from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor

from benchmarks import bare_loop
from benchmarks.optlab_run import compose_run, train
from optlab.optim import param_groups
from optlab.training import build
from optlab.training.instantiate import instantiate_partial


def test_bare_loop_takes_the_same_steps_as_optlab(tmp_path: Path) -> None:
    config = compose_run(["data=digits", "trainer=cpu", "trainer.max_epochs=1", "seed=3"], tmp_path)
    train(config)
    (path,) = tmp_path.rglob("steps.csv")
    expected = pd.read_csv(path)["train/loss"].tolist()

    datamodule = build.build_data(config)
    source = datamodule._loaded_source()
    kept = datamodule.train_indices
    net = build.build_net(config, datamodule)
    optimizer = instantiate_partial(config.optimizer)(param_groups(net))
    losses: list[Tensor] = []
    bare_loop.train_epoch(
        net,
        optimizer,
        bare_loop.normalized(
            source.train_images[kept], source.mean, source.std, torch.device("cpu")
        ),
        source.train_labels[kept],
        bare_loop.shuffled(len(kept), seed=3, epoch=0),
        batch_size=64,
        see_loss=losses.append,
    )
    assert len(losses) == 21  # 1,293 training images
    # Not to the last digit: normalizing by hand rounds elsewhere
    assert torch.stack(losses).tolist() == pytest.approx(expected, rel=1e-3)
