"""Checkpoints are there whole or not at all."""

import resource

import pytest
import torch

from optlab.training.checkpoints import save_atomically


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
