"""What a process is set to before it trains."""

import ctypes
import sys

import pytest
import torch

from optlab.training.build import prepare_process


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="of glibc"
)
def test_memory_that_a_step_frees_is_there_for_the_next(make_config):
    import resource

    def step():
        activations = [torch.zeros(20 * 2**18) for _ in range(4)]  # 20 MiB each
        del activations

    prepare_process(make_config())
    for _ in range(3):  # until the heap has room for a step, whatever the tests before left of it
        step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        step()
    cleared = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert cleared < 80 * 2**20 / resource.getpagesize()  # less than one step's pages
