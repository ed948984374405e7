"""The parts of a run."""

import pytest

from optlab.training.build import build_data, build_net, image_shape


def test_last_batch_of_one_image_is_refused_where_it_has_no_variance(make_config):
    one_is_left = ("model.batch_norm=true", "data.batch_size=68")  # of 1,293 images
    config = make_config(*one_is_left)
    with pytest.raises(
        ValueError, match=r"data\.batch_size .*\b68\b.*\b1293\b(?s:.*)hint: .*=69\b"
    ):
        build_net(config, build_data(config))
    config = make_config("model=cnn", *one_is_left)  # each image has many pixels
    build_net(config, build_data(config))


def test_single_class_is_refused_before_training():
    class OneClass:
        in_channels, image_size, num_classes = 1, 28, 1

    with pytest.raises(ValueError, match=r"\b1 class"):
        image_shape(OneClass())
