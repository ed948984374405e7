"""What a process is set to: imports that the garbage collector passes by, memory that stays."""

import ctypes
import gc
import sys

import pytest
import torch

from optlab.training.cli import _import_run
from optlab.training.process import frozen_imports, prepare_process


@pytest.fixture(autouse=True)
def thawed():
    yield
    gc.unfreeze()


def test_what_was_made_is_frozen_and_the_collector_goes_on_at_its_pace():
    pace = gc.get_threshold()
    with frozen_imports():
        made = [[] for _ in range(1000)]
        assert gc.get_threshold() > pace
    assert gc.get_freeze_count() > len(made)
    assert gc.get_threshold() == pace


def test_failing_import_leaves_the_collector_as_it_was():
    pace = gc.get_threshold()
    with pytest.raises(ImportError), frozen_imports():
        import optlab.nowhere  # noqa: F401
    assert gc.get_threshold() == pace


def test_only_the_first_run_of_a_process_freezes():
    assert "optlab.training.run" in sys.modules or _import_run()
    gc.unfreeze()
    _import_run()
    assert gc.get_freeze_count() == 0


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="of glibc"
)
def test_memory_that_a_step_frees_is_there_for_the_next():
    import resource

    def step():
        activations = [torch.zeros(20 * 2**18) for _ in range(4)]  # 20 MiB each
        del activations

    prepare_process(torch.get_num_threads(), on_cuda=False)
    for _ in range(3):  # until the heap has room for a step, whatever the tests before left of it
        step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        step()
    cleared = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert cleared < 80 * 2**20 / resource.getpagesize()  # less than one step's pages
