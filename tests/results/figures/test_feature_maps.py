import numpy as np

from optlab.results.figures.feature_maps import FeatureMaps


def test_feature_maps_show_the_first_of_each_layer():
    layers = [np.random.default_rng(0).random((4, 28, 28)), np.ones((20, 14, 14))]
    picture = FeatureMaps(np.zeros((28, 28), np.uint8), layers).plot()
    assert len(picture.artists["maps"]) == 4 + 16
    captions = [text.get_text() for text in picture.artists["captions"]]
    assert captions[0] == "layer 1: 4 maps of 28 x 28 pixels"
    assert captions[1] == "layer 2: the first 16 of 20 maps of 14 x 14 pixels"


def test_feature_maps_of_a_layer_share_one_scale():
    layer = np.stack([np.full((2, 2), 1.0), np.full((2, 2), 3.0)])
    shown = FeatureMaps(np.zeros((2, 2)), [layer]).plot().artists["maps"]
    assert [image.get_clim() for image in shown] == [(0.0, 3.0)] * 2


def test_feature_maps_below_zero_are_not_hidden():
    layer = np.array([[[-0.5, 2.0]]])
    (shown,) = FeatureMaps(np.zeros((2, 2)), [layer]).plot().artists["maps"]
    assert shown.get_clim() == (-0.5, 2.0)


def test_silent_maps_are_counted():
    layer = np.zeros((3, 4, 4))
    layer[0, 0, 0] = 1.0
    captions = FeatureMaps(np.zeros((4, 4)), [layer]).plot().artists["captions"]
    assert captions[0].get_text().endswith("2 silent here")
