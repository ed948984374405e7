"""What a process is set to before it trains, and the parts of a run."""

import ctypes
import sys

import pytest
import torch

from optlab.training.build import build_data, build_net, prepare_process


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


def test_last_batch_of_one_image_is_refused_where_it_has_no_variance(make_config):
    one_is_left = ("model.batch_norm=true", "data.batch_size=68")  # of 1,293 images
    config = make_config(*one_is_left)
    with pytest.raises(ValueError, match="the last batch of 1293 images has a single one"):
        build_net(config, build_data(config, [0]))
    config = make_config("model=cnn", *one_is_left)  # each image has many pixels
    build_net(config, build_data(config, [0]))
