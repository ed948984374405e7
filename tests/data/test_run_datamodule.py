import numpy as np
import pytest
import yaml
from made_records import make_record
from PIL import Image

from optlab.data import DataUnavailableError, ImageDataModule, registry, run_datamodule
from optlab.data.run_datamodule import load_run_datamodule
from optlab.runs.record import DatasetFacts

DEFAULT_ROOT = "${oc.env:OPTLAB_DATA,data}"  # as conf/data/shared/common.yaml has it


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """The reader stands in another folder than the run did, as a notebook does."""
    monkeypatch.delenv("OPTLAB_DATA", raising=False)
    monkeypatch.setenv("OPTLAB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")


@pytest.fixture
def root_read(monkeypatch):
    """Reads no images; tells the root that they would be read from."""

    class Told(ImageDataModule):
        checksum = "0123"

        def setup(self, stage=None):
            pass

    monkeypatch.setattr(run_datamodule, "ImageDataModule", Told)
    record = record_of({"name": "mnist"}, "0123")
    return lambda run_dir: load_run_datamodule(run_dir, record)._root


def record_of(data, checksum):
    dataset = DatasetFacts(name=data["name"], checksum=checksum)
    return make_record(config={"data": data}, dataset=dataset)


def make_run(repository, root=None, started=None):
    """A run's folder, with what Hydra writes into it unless `root` is None."""
    run_dir = repository / "outputs" / "mnist-mlp" / "adam-seed0-01234567"
    (run_dir / ".hydra").mkdir(parents=True)
    if root is not None:
        cwd = {"hydra": {"runtime": {"cwd": str(started or repository)}}}
        (run_dir / ".hydra" / "config.yaml").write_text(yaml.dump({"data": {"root": root}}))
        (run_dir / ".hydra" / "hydra.yaml").write_text(yaml.dump(cwd))
    return run_dir


def make_set(root, files=("train-images-idx3", "train-labels-idx1", "t10k-images-idx3")):
    (root / "MNIST" / "raw").mkdir(parents=True)
    for file in (*files, "t10k-labels-idx1"):
        (root / "MNIST" / "raw" / f"{file}-ubyte.gz").touch()
    return str(root)


def make_pictures(root, seed=0):
    rng = np.random.default_rng(seed)
    for place in ("train/ant", "train/bee", "test/ant", "test/bee"):
        (root / place).mkdir(parents=True, exist_ok=True)
        for index in range(4):
            pixels = rng.integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(root / place / f"{index}.png")


@pytest.mark.parametrize("root", ["mine", DEFAULT_ROOT])
def test_relative_root_starts_where_the_run_was_started(root, root_read, tmp_path):
    run_dir = make_run(tmp_path / "far" / "away", root, started=tmp_path / "here")
    there = make_set(tmp_path / "here" / ("mine" if root == "mine" else "data"))
    assert root_read(run_dir) == there


@pytest.mark.parametrize("root", [None, DEFAULT_ROOT, "data"])
def test_data_beside_the_outputs_serve_a_repository_that_has_moved(root, root_read, tmp_path):
    run_dir = make_run(tmp_path / "new", root, started=tmp_path / "old")
    beside = make_set(tmp_path / "new" / "data")
    assert root_read(run_dir) == beside


def test_root_that_was_typed_goes_before_the_environment(root_read, tmp_path, monkeypatch):
    typed, other = make_set(tmp_path / "typed"), make_set(tmp_path / "other")
    monkeypatch.setenv("OPTLAB_DATA", other)
    assert root_read(make_run(tmp_path / "one", typed)) == typed
    assert root_read(make_run(tmp_path / "two", str(tmp_path / "gone"))) == other


def test_environment_goes_before_data(root_read, tmp_path, monkeypatch):
    make_set(tmp_path / "data")
    other = make_set(tmp_path / "other")
    monkeypatch.setenv("OPTLAB_DATA", other)
    assert root_read(make_run(tmp_path, DEFAULT_ROOT)) == other


def test_half_a_set_is_passed_by(root_read, tmp_path, monkeypatch):
    make_set(tmp_path / "half", files=["train-images-idx3"])
    whole = make_set(tmp_path / "whole")
    monkeypatch.setenv("OPTLAB_DATA", whole)
    assert root_read(make_run(tmp_path, str(tmp_path / "half"))) == whole


def test_set_that_is_nowhere_is_named_with_the_places_and_not_fetched(tmp_path):
    run_dir = make_run(tmp_path, DEFAULT_ROOT)
    record = record_of({"name": "mnist"}, "0123")
    with pytest.raises(
        DataUnavailableError,
        match=rf"{run_dir} .*data=mnist\b.* {tmp_path}/data, (?s:.*)hint: .*\bOPTLAB_DATA\b",
    ):
        load_run_datamodule(run_dir, record)
    assert not (tmp_path / "data").exists() and not (tmp_path / "notebooks" / "data").exists()


def test_digits_need_no_root_and_are_split_as_recorded(tmp_path):
    options = {"name": "digits", "val_fraction": 0.2, "split_seed": 3}
    trained = ImageDataModule(**options)
    trained.setup()
    record = record_of(options, trained.checksum)
    found = load_run_datamodule(make_run(tmp_path), record)
    assert found.val_indices.tolist() == trained.val_indices.tolist()
    assert found.num_test == 360  # of the 1,797 images, one in five


def test_pictures_are_those_of_the_recorded_folder_or_none(tmp_path):
    make_pictures(tmp_path / "insects")
    options = {"name": "image_folder", "root": str(tmp_path / "insects"), "val_fraction": 0.25}
    trained = ImageDataModule(**options)
    trained.setup()
    record = record_of(options, trained.checksum)
    assert load_run_datamodule(make_run(tmp_path), record).num_test == 8

    make_pictures(tmp_path / "insects", seed=1)
    registry._load_once.cache_clear()  # the reader is another process than the trainer
    with pytest.raises(DataUnavailableError, match=rf"/insects .*{trained.checksum[:12]}"):
        load_run_datamodule(tmp_path, record)

    (tmp_path / "insects").rename(tmp_path / "moved")
    with pytest.raises(DataUnavailableError, match=r"=image_folder\b.*/insects\b.*\n\nhint: "):
        load_run_datamodule(tmp_path, record)
