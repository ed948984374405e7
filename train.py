"""Train one network, or a study of many: `python train.py -m optimizer=sgd,adam`.

Hydra composes the config from conf/, `cli.train` checks whether the run is already finished, and
otherwise `optlab.training.run.run` trains it. Nothing here imports torch, so --help is fast.
"""

import hydra
from omegaconf import DictConfig

from optlab.training import cli, process


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(config: DictConfig) -> float:
    return cli.train(config)


if __name__ == "__main__":
    cli.run_cli(main)
    process.quick_exit()
