"""What makes two runs the same run: the part of the config that can change a result, and its hash.

A run's folder is named by that hash, so the same config always finds the same folder. Paths,
loggers, figures, progress bars and launchers are left out: they never change a number.
No torch here: a study asks for the folders of its runs before anything heavy is imported.
"""

import copy
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from optlab import PROTOCOL_VERSION

# Top-level keys that change a result, and below them the knobs that do not.
RESULT_KEYS = (
    "data",
    "model",
    "optimizer",
    "scheduler",
    "callbacks",
    "trainer",
    "seed",
    "lr_scale",
    "weight_decay_on",
    "label_smoothing",
)
OWN_DATA = "optlab.data.ImageDataModule"
NEUTRAL_KNOBS: dict[str, frozenset[str]] = {
    # How the same images reach the device: other paths, other chunk lengths, the same batches.
    "data": frozenset({"_target_", "root", "eval_batch_size"}),
    # Callbacks that only look on. One that a user adds is taken to change the result.
    "callbacks": frozenset({"figures", "tensorboard_figures", "histograms"}),
    "trainer": frozenset({"devices", "accelerator", "strategy", "steps_per_call"}),
}


def identity(config: DictConfig) -> dict[str, Any]:
    """The resolved part of a run's config that can change its result, as plain nested dicts."""
    kept: dict[str, Any] = {}
    for key in RESULT_KEYS:
        value = config[key]
        if OmegaConf.is_config(value):
            value = OmegaConf.to_container(value, resolve=True)
        if isinstance(value, dict):
            neutral = NEUTRAL_KNOBS.get(key, frozenset()) | {"_partial_", "_convert_"}
            value = {knob: setting for knob, setting in value.items() if knob not in neutral}
        kept[key] = value
    if config.data._target_ != OWN_DATA:  # another class may yield other images from the same knobs
        kept["data"]["_target_"] = config.data._target_
    if config.data.name == "image_folder":  # here the path says which images
        kept["data"]["root"] = str(Path(config.data.root).expanduser().absolute())
    return kept


def run_hash(config: DictConfig) -> str:
    """16 hexadecimal digits that name a run: equal for equal identities and protocol versions."""
    canonical = json.dumps([PROTOCOL_VERSION, identity(config)], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def run_folder_name(config: DictConfig) -> str:
    """`<run name>-<hash8>`, the run name reduced to characters that every file system takes.

    Raises:
        ValueError: if `study` is not the name of one folder.
    """
    if not re.fullmatch(r"\w[\w.+=-]*", str(config.study)):
        raise ValueError(
            f"study is {config.study!r}; it names one folder: letters, digits and any of .+=-_"
        )
    readable = re.sub(r"[^\w.=+-]+", "_", str(config.run_name)).strip("._") or "run"
    return f"{readable}-{run_hash(config)[:8]}"


def run_dir(config: DictConfig) -> Path:
    """Where a run lies: `<outputs>/<study>/<run name>-<hash8>`."""
    return Path(config.outputs) / config.study / run_folder_name(config)


def replicas(config: DictConfig) -> list[DictConfig]:
    """The runs that a config stands for: one a seed from seed to seed + num_replicas - 1.

    Each is the config of that seed alone, so a run has one folder however it was trained.

    Raises:
        ValueError: if one of the two is no whole number.
    """
    for knob in ("seed", "num_replicas"):
        if not isinstance(config[knob], int) or isinstance(config[knob], bool):
            raise ValueError(f"{knob} is {config[knob]}; it must be a whole number")
    seeds = range(config.seed, config.seed + config.num_replicas)
    return [_alone(config, seed) for seed in seeds]


def _alone(config: DictConfig, seed: int) -> DictConfig:
    alone = copy.deepcopy(config)
    with open_dict(alone):
        alone.seed, alone.num_replicas = seed, 1
    return alone


def task_overrides() -> list[str]:
    """The overrides of the run that is going on; empty outside of Hydra."""
    if not HydraConfig.initialized():
        return []
    overrides = OmegaConf.to_container(HydraConfig.get().overrides.task)
    assert isinstance(overrides, list)
    return [str(override) for override in overrides]
