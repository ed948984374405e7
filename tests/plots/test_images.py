"""Pictures made of images: their order, captions and scales."""

import re

import numpy as np
import pytest

from optlab.plots.images import (
    FeatureMapsDisplay,
    FirstLayerFiltersDisplay,
    SamplePredictionsDisplay,
)


def captions(display):
    return [text.get_text() for text in display.plot().artists["captions"]]


def test_sample_predictions_show_mistakes_first():
    display = SamplePredictionsDisplay(
        images=np.zeros((4, 8, 8), dtype=np.uint8),
        true=np.array([0, 1, 2, 1]),
        predicted=np.array([0, 2, 2, 0]),
        confidence=np.array([0.9, 0.6, 0.8, 0.7]),
        class_names=["0", "1", "2"],
    )
    assert captions(display) == ["0 not 1 · 70 %", "2 not 1 · 60 %", "0 · 90 %", "2 · 80 %"]


def test_sample_predictions_take_color_and_long_names():
    display = SamplePredictionsDisplay(
        images=np.zeros((2, 8, 8, 3), dtype=np.uint8),
        true=np.array([0, 1]),
        predicted=np.array([0, 0]),
        confidence=np.array([0.9, 0.6]),
        class_names=["airplane", "automobile"],
    )
    assert captions(display) == ["airplane 60 %\nis automobile", "airplane\n90 %"]


def test_filters_share_one_scale_around_zero():
    filters = np.stack([np.full((3, 3), 0.5), np.full((3, 3), -2.0)])
    images = FirstLayerFiltersDisplay(filters=filters).plot().artists["images"]
    assert {image.get_clim() for image in images} == {(-2.0, 2.0)}


@pytest.mark.parametrize("shape", [(4, 1, 3, 3), (4, 3, 3, 3), (100, 5, 5)])
def test_filters_take_gray_and_color(shape):
    filters = np.random.default_rng(0).normal(size=shape)
    images = FirstLayerFiltersDisplay(filters=filters).plot().artists["images"]
    assert len(images) == min(shape[0], 64)


def test_filters_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(4, 2, 3, 3\)"):
        FirstLayerFiltersDisplay(filters=np.zeros((4, 2, 3, 3))).plot()


def test_feature_maps_show_the_first_of_each_layer():
    layers = [np.random.default_rng(0).random((4, 28, 28)), np.ones((20, 14, 14))]
    display = FeatureMapsDisplay(image=np.zeros((28, 28), np.uint8), layers=layers)
    numbers = [re.findall(r"\d+", caption) for caption in captions(display)]
    assert numbers == [["1", "4", "28", "28"], ["2", "16", "20", "14", "14"]]
    assert len(display.artists["maps"]) == 4 + 16


@pytest.mark.parametrize(
    ("layer", "clim"),
    [
        (np.stack([np.full((2, 2), 1.0), np.full((2, 2), 3.0)]), (0.0, 3.0)),
        (np.array([[[-0.5, 2.0]]]), (-0.5, 2.0)),  # below zero is not hidden
    ],
)
def test_feature_maps_of_a_layer_share_one_scale(layer, clim):
    display = FeatureMapsDisplay(image=np.zeros((2, 2)), layers=[layer]).plot()
    assert {image.get_clim() for image in display.artists["maps"]} == {clim}


def test_silent_maps_are_counted():
    layer = np.zeros((3, 4, 4))
    layer[0, 0, 0] = 1.0
    (caption,) = captions(FeatureMapsDisplay(image=np.zeros((4, 4)), layers=[layer]))
    assert re.search(r"\b2 silent\b", caption)
