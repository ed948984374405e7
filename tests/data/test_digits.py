import numpy as np
import torch
from sklearn.datasets import load_digits as sklearn_digits

from optlab.data.registry import load_dataset


def test_digits_have_the_shape_of_mnist_and_a_stratified_test_part():
    source = load_dataset("digits")
    assert source.train_images.shape == (1437, 1, 28, 28)
    assert source.test_images.shape == (360, 1, 28, 28)
    assert source.train_images.dtype == torch.uint8
    assert source.train_labels.dtype == torch.int64
    # scikit-learn counts 174 to 183 images a class; a fifth of each is 35 to 37
    assert set(source.test_labels.bincount().tolist()) <= {35, 36, 37}


def test_digits_are_the_embedded_images_each_used_once():
    source = load_dataset("digits")
    embedded = sklearn_digits()
    assert sorted([*source.train_labels.tolist(), *source.test_labels.tolist()]) == sorted(
        embedded.target.tolist()
    )
    # bilinear scaling by 3.5 keeps the mean, up to the border and rounding
    ours = torch.cat([source.train_images, source.test_images]).float().mean().item()
    assert abs(ours - embedded.images.mean() * 255 / 16) < 1.0
    images = torch.cat([source.train_images, source.test_images]).flatten(1).numpy()
    assert len(np.unique(images, axis=0)) == len(np.unique(embedded.data, axis=0)) == 1797


def test_digits_never_change():
    # SHA-256 of our own tensors: a change of split, scaling or library that moves them shows here
    assert load_dataset("digits").checksum.startswith("cffe619df2d2ced0")
