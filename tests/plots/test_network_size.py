import numpy as np
import pytest

from optlab.plots.network_size import NetworkSizeDisplay


def test_network_size_has_a_line_for_each_depth_ordered_by_size():
    display = NetworkSizeDisplay(
        labels=["8", "4", "4-8"],
        depths=[1, 1, 2],
        num_parameters=[2000, 1000, 1500],
        accuracies=[[0.97, 0.99], [0.95], [0.98]],
    ).plot()
    one, two = display.artists["lines"]
    assert one.get_xdata().tolist() == [1000, 2000]
    np.testing.assert_allclose(one.get_ydata(), [95.0, 98.0])
    assert [line.get_label() for line in (one, two)] == ["1 convolution", "2 convolutions"]
    assert len(display.artists["labels"]) == 3


def test_network_size_of_a_study_without_a_cnn_is_refused():
    class NoCnn:
        name, title, configurations = "mnist-mlp", "MNIST", ()

    with pytest.raises(ValueError, match=r"mnist-mlp .*CNN\.\n\nhint: .*mnist_cnn_size"):
        NetworkSizeDisplay.from_workload(NoCnn())
