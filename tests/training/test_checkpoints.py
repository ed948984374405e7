"""Checkpoints are there whole or not at all, and can be loaded."""

import argparse

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback

from optlab.training.checkpoints import (
    AtomicCheckpointIO,
    load_checkpoint,
    save_atomically,
    unsupported_part,
)

resource = pytest.importorskip("resource", reason="Windows has no limits of resources")


@pytest.fixture
def full_disk():
    """No file may grow beyond 100 kB: the system refuses, as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_checkpoint_that_does_not_fit_leaves_the_old_one_and_names_the_cause(tmp_path, full_disk):
    path = tmp_path / "last.ckpt"
    save_atomically({"weights": torch.zeros(10)}, path)
    with pytest.raises(OSError, match=r"File too large: .*last\.ckpt"):
        save_atomically({"weights": torch.zeros(100_000)}, path)
    assert torch.load(path, weights_only=True)["weights"].shape == (10,)
    assert list(tmp_path.iterdir()) == [path]


def test_error_that_is_not_the_disks_is_not_made_one(tmp_path):
    class Stubborn:
        def __reduce__(self):
            raise RuntimeError("not to be saved")

    with pytest.raises(RuntimeError, match="not to be saved"):
        save_atomically({"weights": Stubborn()}, tmp_path / "last.ckpt")
    assert not list(tmp_path.iterdir())


REFUSED = [
    ({"a": [1, np.float64(2)]}, "x['a'][1]", "numpy.float64"),
    ({"a": {0: torch.optim.SGD}}, "x['a'][0]", "builtins.type"),
    ({"a": (lambda: None,)}, "x['a'][0]", "builtins.function"),
    ({"a": argparse.Namespace(b=1)}, "x['a']", "argparse.Namespace"),
    ({np.int64(3): 1}, "x", "builtins.dict"),  # a key
]


@pytest.mark.parametrize(("state", "part", "kind"), REFUSED, ids=lambda value: str(value)[:30])
def test_part_that_a_checkpoint_cannot_hold_is_named(state, part, kind):
    first, *_, last = unsupported_part(state, "x").split()
    assert (first, last) == (part, kind)


def test_plain_values_and_tensors_are_what_a_checkpoint_holds():
    values = [1, 2.5, 1j, True, None, "a", b"b", float("inf"), (1, [2]), {"c": {3}}]
    tensors = [torch.zeros(2), torch.tensor(True), torch.float32, torch.Size([1])]
    assert unsupported_part({"values": values, "tensors": tensors}, "x") is None


def test_first_whole_checkpoint_is_read_back_and_no_other(tmp_path):
    path, refused = tmp_path / "last.ckpt", {"callbacks": {"Mine": {"best": np.float64(1)}}}
    io = AtomicCheckpointIO()
    with pytest.raises(
        ValueError, match=r"\['callbacks'\]\['Mine'\]\['best'\] .*\bnumpy\.float64\b"
    ):
        io.save_checkpoint({"optimizer_states": [], **refused}, path)
    assert not list(tmp_path.iterdir())
    io.save_checkpoint({"optimizer_states": []}, path)
    io.save_checkpoint({"optimizer_states": [], **refused}, path)


def test_file_that_cannot_be_loaded_is_called_what_it_is(tmp_path):
    path = tmp_path / "last.ckpt"
    torch.save({"best": np.float64(1)}, path)
    with pytest.raises(ValueError, match=r"last\.ckpt .*\bnumpy\.") as refused:
        load_checkpoint(path)
    assert "weights_only" not in str(refused.value)
    for content in (path.read_bytes()[:100], b"text", b""):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"last\.ckpt .*\bdamaged\b"):
            load_checkpoint(path)


class Keeps(Callback):
    def state_dict(self):
        return {"found": np.float32(0.5)}


def test_run_ends_at_its_first_checkpoint_where_that_could_not_be_loaded(train):
    with pytest.raises(
        ValueError, match=r"\['callbacks'\]\['Keeps'\]\['found'\] .*\bnumpy\.float32\b"
    ):
        train(f"+callbacks.keeps._target_={__name__}.Keeps", "+trainer.limit_train_batches=1")


def test_start_from_a_file_of_other_objects_is_refused(train, tmp_path):
    torch.save(
        {"state_dict": {}, "hyper_parameters": argparse.Namespace()}, tmp_path / "theirs.ckpt"
    )
    with pytest.raises(ValueError, match=r"theirs\.ckpt .*\bargparse\.Namespace\b(?s:.*)ckpt_path"):
        train(f"ckpt_path={tmp_path}/theirs.ckpt")
