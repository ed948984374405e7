import pytest
import torch

from benchmarks.synthetic import SyntheticImages, synthetic_source


@pytest.mark.parametrize(("name", "shape"), [("mnist", (1, 28)), ("cifar10", (3, 32))])
def test_pixels_have_the_shape_of_the_set(name: str, shape: tuple[int, int]) -> None:
    datamodule = SyntheticImages(name, num_images=90)
    datamodule.setup()
    assert (datamodule.in_channels, datamodule.image_size) == shape
    assert datamodule.num_train == 90
    images, _ = next(iter(datamodule.train_dataloader()))
    assert images.shape == (64, shape[0], shape[1], shape[1])


def test_pixels_are_the_same_every_time_and_say_what_they_are() -> None:
    first = synthetic_source("mnist", 90)
    synthetic_source.cache_clear()
    assert torch.equal(first.train_images, synthetic_source("mnist", 90).train_images)
    assert "mnist" in first.title
    assert "random" in first.title
