"""What every test of a run needs: a config composed from conf/, small data, an empty folder."""

import gc
import json
import pickle
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import omegaconf.base
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.utils import create_config_search_path
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from optlab.studies.compose import StudyConfigLoader
from optlab.training import environment

pytest_plugins = ["made_studies"]

ROOT = Path(__file__).parent.parent
# OmegaConf parses an interpolation whenever it is read, which takes a fifth of a small run
omegaconf.base.parse = cache(omegaconf.base.parse)  # type: ignore[attr-defined]
# Hydra copies the store for each config that it composes, and then again what it takes from it
ConfigStore.__deepcopy__ = lambda store, memo: store  # type: ignore[attr-defined]
# Reads the metadata of every installed package
environment.packages_distributions = cache(environment.packages_distributions)
load_yaml = OmegaConf.load
# The embedded digits on a CPU (1,293 training images: 21 steps of 64), no more files than needed
SMALL = {
    "data": "digits",
    "trainer": "cpu",
    "logger": "none",
    "callbacks": "none",
}
# What two trainings of one run may differ in: clocks, and how much memory the process had. CUDA
# graphs time no step.
CLOCKS = ("started_at", "finished_at", "wall_time_s", "train_time_s", "images_per_s")
COSTS = ("peak_memory_gib", "batch_norm_time_s", "optimizer_share", "evaluations_per_step")
OF_THE_PROCESS = (*CLOCKS, *COSTS, "command", "overrides", "git_commit")


@cache
def pickled_yaml(path: Path, changed_ns: int, num_bytes: int) -> bytes:
    return pickle.dumps(load_yaml(path))


def load_yaml_once(file: Any) -> Any:
    """Parse each version of a file once, which is half of the time that composing takes."""
    path = Path(file.name if hasattr(file, "read") else file).absolute()
    stat = path.stat()
    return pickle.loads(pickled_yaml(path, stat.st_mtime_ns, stat.st_size))


OmegaConf.load = load_yaml_once  # type: ignore[method-assign]


def pytest_collection_finish() -> None:
    """Exempt what the imports made from garbage collections, of which figures ask for many."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    gc.unfreeze()


@dataclass
class Trained:
    """A run's folder, read back."""

    folder: Path

    @property
    def record(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "record.json").read_text()))

    @property
    def results(self) -> dict[str, Any]:
        """The record without what depends on the clock and the process."""
        return {key: value for key, value in self.record.items() if key not in OF_THE_PROCESS}

    @property
    def steps(self) -> pd.DataFrame:
        return pd.read_csv(self.folder / "steps.csv")

    @property
    def epochs(self) -> pd.DataFrame:
        """epochs.csv without its clock."""
        table = pd.read_csv(self.folder / "epochs.csv")
        return table.drop(columns="train_time_s")

    def weights(self, which: str = "last") -> dict[str, Any]:
        import torch

        path = self.folder / "checkpoints" / f"{which}.ckpt"
        state = torch.load(path, weights_only=True)["state_dict"]
        return {name: tensor for name, tensor in state.items() if name.startswith("net.")}

    def assert_equals(self, other: "Trained", but_for: Collection[str] = ()) -> None:
        """Number for number: every step, every epoch, the record, the weights."""
        steps = [(each.folder / "steps.csv").read_text() for each in (self, other)]
        assert steps[0] == steps[1]
        pd.testing.assert_frame_equal(self.epochs, other.epochs, check_exact=True)
        found, expected = (
            {key: value for key, value in each.results.items() if key not in but_for}
            for each in (self, other)
        )
        assert found == expected
        for which in ("best", "last"):
            assert_same_tensors(self.weights(which), other.weights(which))


def assert_same_tensors(found: dict[str, Any], expected: dict[str, Any]) -> None:
    import torch

    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=0, msg=name)


@cache
def config_loader() -> tuple[StudyConfigLoader, DictConfig]:
    """Return the loader of studies, which reads the files of a choice of groups only once."""
    Plugins.instance()  # registers the resolvers
    loader = StudyConfigLoader(create_config_search_path(str(ROOT / "conf")))
    return loader, loader.load_configuration("train", [], RunMode.RUN)


def composed(overrides: list[str]) -> DictConfig:
    """Compose a run's config, in a hundredth of a second where the groups are known."""
    if any(override.startswith("hydra.") for override in overrides):  # a search path
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            return compose("train", overrides=overrides)
    loader, base = config_loader()
    config = loader.load_sweep_config(base, overrides)
    with open_dict(config):
        del config["hydra"]
    return config


@pytest.fixture
def make_config(tmp_path: Path) -> Iterator[Callable[..., DictConfig]]:
    """Composes a run's config: `make_config("optimizer=sgd", "seed=1")`; later overrides win."""

    def make(*overrides: str) -> DictConfig:
        chosen = {key: f"{key}={value}" for key, value in SMALL.items()}
        for override in overrides:
            key = override.partition("=")[0]
            chosen.pop(key.lstrip("~+"), None)  # ~group takes the place of a choice
            chosen[key] = override
        config = composed(list(chosen.values()))
        if "outputs" not in chosen:
            config.outputs = str(tmp_path / "outputs")
        return config

    HydraConfig.instance().cfg = None  # else records would name an earlier test's overrides
    yield make
    GlobalHydra.instance().clear()


@pytest.fixture
def train(make_config: Callable[..., DictConfig]) -> Callable[..., Trained]:
    """Trains a run in this process and reads its folder."""

    def trained(*overrides: str) -> Trained:
        from optlab.training.run import run
        from optlab.training.run_id import run_dir

        config = make_config(*overrides)
        run(config)
        return Trained(run_dir(config))

    return trained


@pytest.fixture
def look_on(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Adds Lightning callbacks to the runs of a test, in place of those it added before."""
    from optlab.training import build

    original = build.build_callbacks

    def add(*callbacks: Any) -> None:
        def build_callbacks(*arguments: Any) -> list[Any]:
            return [*original(*arguments), *callbacks]

        monkeypatch.setattr(build, "build_callbacks", build_callbacks)

    return add
