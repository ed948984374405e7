"""The identity of a run: the part of its config that can change a result, and the hash of it.

A run's folder is named by that hash, so the same config always finds the same folder. Everything in
the composed config counts, except what is listed here with the reason why it changes no number.
Must not import torch: a study computes the folders of its runs before it imports anything heavy.
"""

import copy
import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, ListConfig, open_dict

from optlab import PROTOCOL_VERSION

OPTLAB_DATAMODULE = "optlab.data.ImageDataModule"

# The top level of conf/train.yaml. All of GROUPS and OPTIONS counts. Keys that an experiment adds
# count where the values that refer to them do.
GROUPS = ("data", "model", "module", "optimizer", "scheduler", "callbacks", "trainer")
OPTIONS = (
    *("seed", "lr_multiplier", "num_threads", "channels_last", "compile", "cuda_graphs"),
    "ckpt_path",
)

# Options that cannot change a result, and why. At the top level:
NOT_IN_HASH = {
    "hydra": "how the run is launched and where its log is",
    "study": "a folder",
    "run_name": "a folder",
    "title": "a heading",
    "published": "figures to compare with",
    "outputs": "a folder",
    "run_dir": "a folder, named by the hash itself",
    "targets": "read after training, and kept in the record",
    "logger": "writes what was measured",
    "rerun": "whether to train, not what",
    "plan": "whether to train, not what",
    "effect": "whether to train, not what",
    "on_error": "about the other runs of a study",
    "lean_loop": "both loops give the same results, as a test checks",
    "num_replicas": "each replica is the run of its seed",
}
# Arguments of lightning.Trainer:
NEUTRAL_IN_TRAINER = {
    "accelerator": "where the same steps are computed; precision and threads count",
    "log_every_n_steps": "how often a logger is written to",
    "enable_progress_bar": "only prints",
    "enable_model_summary": "only prints",
    "profiler": "only measures",
    "enable_autolog_hparams": "writes to loggers",
    "model_registry": "where a checkpoint is uploaded to",
}
# With OptLab's data module, which shares the same batches among the devices:
NEUTRAL_WITH_OPTLAB_DATA = {
    "devices": "each takes its share of every batch",
    "num_nodes": "as devices",
    "strategy": "as devices",
}
# Arguments of OptLab's data module; of a user's own everything counts:
NEUTRAL_IN_DATA = {
    "_target_": "there is only this one",
    "root": "official sets have a checksum; that of an image folder counts",
    "eval_batch_size": "metrics are sums over all images",
}
# Callbacks of OptLab or Lightning that only read. Any other is taken to change the result.
READ_ONLY_CALLBACKS = {
    "RunFigures": "draws when the run is over",
    "Histograms": "reads weights and gradients",
    "RunProgress": "prints",
    "LearningRateMonitor": "logs",
    "DeviceStatsMonitor": "logs",
    "TQDMProgressBar": "prints",
    "RichProgressBar": "prints",
    "ModelSummary": "prints",
    "RichModelSummary": "prints",
}
TRUSTED_PACKAGES = ("optlab", "lightning", "pytorch_lightning")
# Arguments of any node:
NEUTRAL_ANYWHERE = {
    "_partial_": "when a class is called",
    "_convert_": "plain lists or OmegaConf's",
}
# Interpolations that are not resolved. A run's folder depends on the hash, so the hash cannot
# depend on it; and `${seed}` in a class of your own must have the same value for every seed.
KEPT_AS_WRITTEN = re.compile(r"^\$\{seed\}$|\$\{(run_dir\}|run_folder:|hydra:)")

_hashing: ContextVar[bool] = ContextVar("hashing", default=False)


def identity(config: DictConfig) -> dict[str, Any]:
    """Return all of a run's config that can change its result, resolved, as plain nested dicts."""
    with _no_circle():
        kept: dict[str, Any] = {group: _group(config, group) for group in GROUPS}
        kept |= {option: _plain(config, option) for option in OPTIONS if option in config}
    data, trainer = kept["data"], kept["trainer"]
    _drop(trainer, NEUTRAL_IN_TRAINER)
    if data.get("_target_") == OPTLAB_DATAMODULE:
        _drop(data, NEUTRAL_IN_DATA)
        _drop(trainer, NEUTRAL_WITH_OPTLAB_DATA)
        if data.get("seed") == "${seed}":  # as conf/ has it
            del data["seed"]
        if data.get("name") == "image_folder":  # here the path says which images
            data["root"] = str(resolve_path(config.data.root).absolute())
    kept["callbacks"] = _callbacks(kept["callbacks"])
    if kept["scheduler"].get("_target_") is None:  # scheduler=null is scheduler=constant
        kept["scheduler"] = {"name": "constant", "_target_": None, **kept["scheduler"]}
    return kept


def run_hash(config: DictConfig) -> str:
    """Return a hash of 16 hexadecimal digits, equal for equal identities and protocol versions."""
    canonical = json.dumps([PROTOCOL_VERSION, identity(config)], sort_keys=True, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def run_folder_name(config: DictConfig) -> str:
    """Return `<run name>-<hash8>`, with only those characters that every file system allows.

    While a hash is computed, return an interpolation instead: the hash cannot depend on itself.

    Raises:
        ValueError: if `study` is not the name of one folder.
    """
    if _hashing.get():
        return "${run_folder:}"
    if not re.fullmatch(r"\w[\w.+=-]*", str(config.study)):
        raise ValueError(
            f"study is {config.study!r}; it must be a folder name of letters, digits and .+=-_"
        )
    readable = re.sub(r"[^\w.=+-]+", "_", str(config.run_name)).strip("._") or "run"
    return f"{readable}-{run_hash(config)[:8]}"


def run_dir(config: DictConfig) -> Path:
    """Return the folder of a run: `<outputs>/<study>/<run name>-<hash8>`."""
    return resolve_path(config.outputs) / str(config.study) / run_folder_name(config)


def resolve_path(path: object) -> Path:
    """Return a path of the config with `~` expanded.

    A relative path is relative to the folder where the command was run, even with hydra.job.chdir.
    """
    expanded = Path(str(path)).expanduser()
    typed_in = HydraConfig.get().runtime.cwd if HydraConfig.initialized() else None
    return Path(typed_in, expanded) if typed_in and typed_in != os.getcwd() else expanded


def replicas(config: DictConfig) -> list[DictConfig]:
    """Return one config for each seed from seed to seed + num_replicas - 1.

    Each is the config of a single run with that seed, so a run has the same folder either way.
    """
    if config.num_replicas == 1:
        return [config]
    seeds = range(config.seed, config.seed + config.num_replicas)
    return [_single(config, seed) for seed in seeds]


def _single(config: DictConfig, seed: int) -> DictConfig:
    single = copy.deepcopy(config)
    with open_dict(single):
        single.seed, single.num_replicas = seed, 1
    return single


def _group(config: DictConfig, group: str) -> dict[str, Any]:
    """A group as a plain dict; empty for `group=null`, which Hydra leaves out of the config."""
    value = _plain(config, group) if group in config else None
    return value if isinstance(value, dict) else {}


def _callbacks(entries: dict[str, Any]) -> dict[str, Any]:
    """The entries that can change a result. Early stopping is there even when it is off."""
    kept: dict[str, Any] = {"early_stopping": None}  # which published tables match on
    for name, entry in entries.items():
        target = str(entry.get("_target_")) if isinstance(entry, dict) else ""
        kind = target.rpartition(".")[2]
        watches = kind in READ_ONLY_CALLBACKS and target.partition(".")[0] in TRUSTED_PACKAGES
        if entry is None or watches:
            continue
        if kind in ("BestCheckpoint", "ModelCheckpoint"):
            entry.pop("dirpath", None)  # a folder
        kept[name] = entry
    return kept


def _plain(node: DictConfig | ListConfig, key: Any) -> Any:
    """Return one resolved value of a config, except for interpolations in KEPT_AS_WRITTEN."""
    raw = node._get_node(key)
    text = raw._value() if raw is not None and raw._is_interpolation() else None  # type: ignore[union-attr]
    if isinstance(text, str) and KEPT_AS_WRITTEN.search(text):
        return text
    value = node[key]
    if isinstance(value, DictConfig):
        return {str(k): _plain(value, k) for k in value if k not in NEUTRAL_ANYWHERE}
    if isinstance(value, ListConfig):
        return [_plain(value, index) for index in range(len(value))]
    return value


def _drop(values: dict[str, Any], keys: dict[str, str]) -> None:
    for key in keys:
        values.pop(key, None)


@contextmanager
def _no_circle() -> Iterator[None]:
    token = _hashing.set(True)
    try:
        yield
    finally:
        _hashing.reset(token)
