"""Preprocessing against what MNIST itself does, and against real images of both data sets."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import nn

from optlab.data import load_dataset
from optlab.data.preprocessing import (
    as_fashion_mnist,
    as_mnist,
    as_uci_digit,
    center_crop,
    extract_ink,
    prepare,
)
from optlab.models import MLP

RAW = Path(os.environ.get("OPTLAB_DATA", "data")) / "MNIST" / "raw"


def canvas_with(image: np.ndarray, top: int, left: int, side: int = 280) -> np.ndarray:
    canvas = np.zeros((side, side), np.uint8)
    canvas[top : top + image.shape[0], left : left + image.shape[1]] = image
    return canvas


def bar(height: int = 120, width: int = 20, level: int = 255) -> np.ndarray:
    return canvas_with(np.full((height, width), level, np.uint8), 30, 200)


def test_drawing_fills_a_box_of_20_and_has_its_mass_in_the_middle() -> None:
    image = np.zeros((90, 60), np.uint8)
    image[:, :12] = image[-12:, :] = 255  # an L, whose center of mass is off its middle
    pixels = as_mnist(canvas_with(image, 10, 190), 28)
    assert pixels is not None
    assert (pixels.shape, pixels.dtype) == ((28, 28), np.uint8)
    rows = np.flatnonzero(pixels.any(axis=1))
    columns = np.flatnonzero(pixels.any(axis=0))
    assert len(rows) == 20
    assert len(columns) == 13  # 60 / 90 of 20, rounded
    weights = pixels / pixels.sum()
    # MNIST shifts by whole pixels, so half a pixel may remain
    assert abs(weights.sum(axis=1) @ np.arange(28) - 14) <= 0.5
    assert abs(weights.sum(axis=0) @ np.arange(28) - 14) <= 0.5


def test_drawing_does_not_depend_on_polarity_position_or_pencil() -> None:
    reference = as_mnist(bar(), 28)
    moved = canvas_with(np.full((120, 20), 255, np.uint8), 150, 10)
    for other in (255 - bar(), moved, bar(level=90), 40 + bar(level=120)):
        np.testing.assert_array_equal(as_mnist(other, 28), reference)


def test_ink_is_the_distance_from_the_paper_in_gray_and_color() -> None:
    gray = np.full((5, 5), 200, np.uint8)
    gray[2, 2] = 98
    expected = np.zeros((5, 5))
    expected[2, 2] = 102 / 255
    np.testing.assert_allclose(extract_ink(gray), expected, atol=1e-6)
    np.testing.assert_allclose(extract_ink(np.repeat(gray[..., None], 3, 2)), expected, atol=1e-4)


@pytest.mark.parametrize("dataset", ["mnist", "digits", "fashion_mnist"])
@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((280, 280), np.uint8),
        np.full((280, 280), 255, np.uint8),
        np.full((280, 280), 128, np.uint8),
        np.full((1, 1), 7, np.uint8),
        np.random.default_rng(0).integers(240, 256, (280, 280)).astype(np.uint8),  # paper grain
        canvas_with(np.full((2, 2), 255, np.uint8), 100, 100),  # a speck
    ],
    ids=["black", "white", "gray", "one pixel", "grain", "speck"],
)
def test_blank_picture_is_said_to_be_blank(picture: np.ndarray, dataset: str) -> None:
    prepared = prepare(picture, preparation=dataset, in_channels=1, image_size=28)
    assert prepared.blank
    assert not prepared.pixels.any()


def test_thin_strokes_grow_to_those_of_the_embedded_digits() -> None:
    def ink(pen: int) -> float:
        canvas = Image.new("L", (280, 280), 255)
        ImageDraw.Draw(canvas).ellipse((60, 60, 220, 220), outline=0, width=pen)
        pixels = as_uci_digit(np.asarray(canvas), 28)
        assert pixels is not None
        return float(pixels.mean()) / 255

    assert ink(8) > 0.2  # 32 pixels wide, this ring is 1.6 wide: about 0.15 of the frame
    assert ink(24) == pytest.approx(0.40, abs=0.04)  # left alone: pi * 27.2 * 4.8 / 32**2


@pytest.mark.parametrize("dataset", ["mnist", "digits"])
def test_thin_pen_on_a_large_sheet_is_no_blank(dataset: str) -> None:
    canvas = Image.new("L", (2000, 2000), 255)
    ImageDraw.Draw(canvas).line([(500, 400), (1500, 400), (900, 1600)], fill=0, width=4)
    prepared = prepare(np.asarray(canvas), preparation=dataset, in_channels=1, image_size=28)
    assert not prepared.blank
    assert prepared.pixels.max() > 127


def test_drawing_survives_extreme_shapes() -> None:
    line = np.full((1, 1000), 255, np.float32)
    line[0, 100:900] = 0
    for picture in (line, line.T):
        for dataset in ("mnist", "digits"):
            prepared = prepare(picture, preparation=dataset, in_channels=1, image_size=28)
            assert prepared.pixels.shape == (1, 28, 28)


def test_drawing_scales_with_the_side_of_the_network() -> None:
    pixels = as_mnist(bar(), 56)
    assert pixels is not None
    rows = np.flatnonzero(pixels.any(axis=1))
    assert len(rows) == 40


def test_photograph_is_its_middle_square() -> None:
    picture = np.zeros((100, 300, 3), np.uint8)
    picture[:, 100:200] = (255, 128, 0)
    picture[50, 150] = (0, 0, 0)
    pixels = center_crop(picture, 32)
    assert pixels is not None
    assert pixels.shape == (32, 32, 3)
    assert pixels[2, 2].tolist() == [255, 128, 0]
    assert center_crop(picture[:, :60], 32) is None


def test_garment_on_white_is_negated_and_fitted_into_the_frame() -> None:
    photograph = np.full((400, 300, 3), 253, np.uint8)  # the published ones are on #fdfdfd
    photograph[50:330, 100:170] = (30, 30, 30)  # 280 x 70
    photograph[50:190, 100:170] = (180, 180, 180)
    pixels = as_fashion_mnist(photograph, 28)
    assert pixels is not None
    assert np.flatnonzero(pixels.any(axis=1)).tolist() == list(range(28))
    assert np.flatnonzero(pixels.any(axis=0)).tolist() == list(range(10, 17))  # 7 wide, centered
    assert abs(int(pixels[5, 13]) - (255 - 180)) <= 1
    assert abs(int(pixels[22, 13]) - (255 - 30)) <= 1


def test_garment_on_black_is_not_negated() -> None:
    picture = canvas_with(np.full((100, 50), 180, np.uint8), 20, 30)
    pixels = as_fashion_mnist(picture, 28)
    assert pixels is not None
    assert abs(int(pixels[14, 14]) - 180) <= 1


def test_images_that_a_data_set_has_itself_stay_as_they_are() -> None:
    for digit in load_dataset("digits").train_images[:200, 0].numpy():
        np.testing.assert_array_equal(as_uci_digit(digit, 28), digit)
    shirt = np.pad(np.full((28, 20), 7, np.uint8), ((0, 0), (5, 3)))  # as faint as some are
    shirt[3:9, 8:11] = 200
    np.testing.assert_array_equal(as_fashion_mnist(shirt, 28), shirt)


def test_for_an_image_folder_only_white_paper_is_blank() -> None:
    options: dict[str, Any] = {"preparation": "resize", "in_channels": 3, "image_size": 28}
    for level, blank in ((255, True), (254, False), (0, False)):
        assert prepare(np.full((280, 280), level, np.uint8), **options).blank == blank


def test_gray_picture_serves_a_color_network() -> None:
    prepared = prepare(bar(), preparation="center_crop", in_channels=3, image_size=32)
    assert prepared.pixels.shape == (3, 32, 32)
    np.testing.assert_array_equal(prepared.pixels[0], prepared.pixels[2])


def accuracy(net: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    with torch.inference_mode():
        return (net(images).argmax(dim=1) == labels).float().mean().item()


def train_briefly(images: torch.Tensor, labels: torch.Tensor, num_epochs: int, batch: int) -> MLP:
    torch.manual_seed(0)
    net = MLP(1, 28, 10, hidden_sizes=[256, 128])
    adam = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(num_epochs):
        for chosen in torch.randperm(len(images)).split(batch):
            loss = nn.functional.cross_entropy(net(images[chosen]), labels[chosen])
            adam.zero_grad()
            loss.backward()
            adam.step()
    return net.eval()


def paste(images: list[np.ndarray]) -> list[np.ndarray]:
    """Each at a scale in [0.5, 2], anywhere on a 280x280 canvas, half of them dark on light."""
    rng = np.random.default_rng(0)
    canvases = []
    for image in images:
        side = round(28 * rng.uniform(0.5, 2))
        scaled = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))
        top, left = rng.integers(0, 281 - side, 2)
        canvas = canvas_with(scaled, top, left)
        canvases.append(255 - canvas if rng.random() < 0.5 else canvas)
    return canvases


def prepared_by(canvases: list[np.ndarray], dataset: str) -> torch.Tensor:
    prepared = [prepare(c, preparation=dataset, in_channels=1, image_size=28) for c in canvases]
    assert not any(each.blank for each in prepared)
    return torch.from_numpy(np.stack([each.pixels for each in prepared])) / 255


def test_pasted_embedded_digits_keep_their_accuracy() -> None:
    digits = load_dataset("digits")
    net = train_briefly(digits.train_images / 255, digits.train_labels, num_epochs=12, batch=64)
    plain = accuracy(net, digits.test_images / 255, digits.test_labels)
    # the images fill their frame, so the frame's edge must not be taken for paper: a margin
    canvases = paste([np.pad(level, 3) for level in digits.test_images[:, 0].numpy()])
    pasted = accuracy(net, prepared_by(canvases, "digits"), digits.test_labels)
    print(f"\n360 embedded digits: plain {plain:.4f}, pasted {pasted:.4f}")
    assert plain > 0.9
    assert pasted > plain - 0.1  # bitmaps of blurred 8x8 images lose their gray levels


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.skipif(not RAW.is_dir(), reason="no MNIST under $OPTLAB_DATA")
def test_pasted_mnist_test_images_lose_less_than_one_and_a_half_points() -> None:
    def images_of(name: str) -> np.ndarray:
        return np.frombuffer((RAW / name).read_bytes(), np.uint8, offset=16).reshape(-1, 28, 28)

    def labels_of(name: str) -> torch.Tensor:
        labels = np.frombuffer((RAW / name).read_bytes(), np.uint8, offset=8)
        return torch.from_numpy(labels.astype(np.int64))

    def normalize(pixels: torch.Tensor) -> torch.Tensor:
        return (pixels - 0.1307) / 0.3081  # mean and deviation of MNIST's training pixels

    def from_levels(levels: np.ndarray) -> torch.Tensor:
        return normalize(torch.from_numpy(levels[:, None].astype(np.float32) / 255))

    train = from_levels(images_of("train-images-idx3-ubyte"))
    net = train_briefly(train, labels_of("train-labels-idx1-ubyte"), num_epochs=3, batch=128)
    test, labels = images_of("t10k-images-idx3-ubyte"), labels_of("t10k-labels-idx1-ubyte")
    plain = accuracy(net, from_levels(test), labels)
    pasted = accuracy(net, normalize(prepared_by(paste(list(test)), "mnist")), labels)
    print(f"\n10,000 MNIST test images: plain {plain:.4f}, pasted {pasted:.4f}")
    assert len(test) == 10_000
    assert plain > 0.96
    assert pasted > plain - 0.015
