"""Prepare a picture of any size for a network: the uint8 pixels of a data set's images.

Each data set has its own method, which a run's record names (`dataset.preparation`). Only this
module applies it: the web page, the API and the terminal all send the original picture.

- resize: the whole picture, as an image folder's own pictures are read for training, bit for bit.
- center_crop: the middle square, resized; for photographs and CIFAR-10.
- mnist: find the ink, fit it into a 20x20 box keeping its proportions, put its center of mass in
  the middle of 28x28, light ink on black.
- digits: the method of the UCI data set, which networks trained on it need (three MLPs trained on
  it classified 18 % of 5,000 MNIST test images correctly with `mnist`, and 65 % of 2,000 with
  `digits`).
- fashion_mnist: trim the background, fit the garment into the frame, light on black. The published
  images are photographs on white, negated; a picture with a dark background counts as negated.

Sources: LeCun, Cortes and Burges, "The MNIST database of handwritten digits" (1998), section
"File formats"; Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI (1998),
doi:10.24432/C50P49: 32x32 bitmaps, the set pixels of each 4x4 block counted; Xiao, Rasul and
Vollgraf 2017, arXiv:1708.07747, section 2.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from optlab.data.image_dataset import Preparation
from optlab.data.pictures import to_pixels

MNIST_SIDE = 28
MNIST_BOX = 20
# Index of the column and row on which MNIST puts the center of mass: the mean over the 10,000
# test images is 14.0 with all images in [13.5, 14.5], so whole-pixel shifts to index 14.
MNIST_CENTER = 14.0
UCI_BITMAP = 32
UCI_SIDE = 8
UCI_INK_LEVEL = 0.3  # a bitmap pixel is set above this
UCI_MIN_STROKE = 4.0  # bitmap pixels; the data set's strokes are 4.8 wide on average
# Where drawings are known: pen on a canvas of 280 pixels, for strokes as wide as the data set's own
PEN_WIDTHS = {"mnist": 22, "digits": 36}
MIN_CONTRAST = 0.1  # of the full range; weaker than this is paper, not ink
# Of the strongest ink; the crop follows this level, so faint noise cannot move it
EDGE_LEVEL = 0.15
MIN_INK_PIXELS = 6.0  # fewer fully inked pixels than this are a speck, not a drawing
FASHION_EDGE = 0.05  # of the full range; what is closer to the ground is trimmed, as published


@dataclass(frozen=True)
class Prepared:
    """One picture as a network reads it.

    Attributes:
        pixels: uint8 (channels, side, side), not yet normalized.
        blank: whether the picture is empty; then all pixels are 0.
    """

    pixels: np.ndarray
    blank: bool


def prepare(
    picture: np.ndarray, *, preparation: Preparation, in_channels: int, image_size: int
) -> Prepared:
    """Prepare a picture for networks that were trained on one data set.

    Args:
        picture: (height, width) gray or (height, width, 3) color, 0 to 255.
        preparation: the method of the data set.
        in_channels: 1 or 3 of the network; gray is repeated, color becomes its luminance.
        image_size: side of the network's input, in pixels.
    """
    levels = WAYS[preparation](picture, image_size)
    if levels is None:
        return Prepared(np.zeros((in_channels, image_size, image_size), np.uint8), blank=True)
    # As for training; what has its size already keeps its pixels
    pixels = to_pixels(Image.fromarray(levels), in_channels=in_channels, image_size=image_size)
    return Prepared(pixels, blank=False)


def whole(picture: np.ndarray, side: int) -> np.ndarray | None:
    """Return the picture as it is; None for a sheet of white paper."""
    levels = _levels(picture)
    return None if levels.min() == 255 else levels


def center_crop(picture: np.ndarray, side: int) -> np.ndarray | None:
    """Return the middle square, resized; None where it is of one even color."""
    height, width = picture.shape[:2]
    edge = min(height, width)
    top, left = (height - edge) // 2, (width - edge) // 2
    square = _levels(picture)[top : top + edge, left : left + edge]
    if np.ptp(square, axis=(0, 1)).max() < MIN_CONTRAST * 255:
        return None
    return np.asarray(Image.fromarray(square).resize((side, side), Image.Resampling.LANCZOS))


def as_mnist(picture: np.ndarray, side: int) -> np.ndarray | None:
    """Return the ink fitted to 20/28 of the side, center of mass in the middle, or None."""
    crop = _crop_to_ink(extract_ink(picture))
    if crop is None:
        return None
    fitted = _fit(crop, round(side * MNIST_BOX / MNIST_SIDE))
    fitted = fitted / fitted.max()  # a thin pen on a large sheet fades as it shrinks
    return _levels(255 * _center_mass(fitted, side))


def as_uci_digit(picture: np.ndarray, side: int) -> np.ndarray | None:
    """Return the ink as a 32x32 bitmap, counted in 4x4 blocks, scaled up; None without ink.

    The data set's own images, light on black from the first row to the last, stay as they are.
    """
    gray = _gray(picture)
    is_light_on_black = _paper(gray) < MIN_CONTRAST * 255 < min(gray[0].max(), gray[-1].max())
    if gray.shape == (side, side) and is_light_on_black:
        return _levels(gray)
    crop = _crop_to_ink(extract_ink(picture))
    if crop is None:
        return None
    fitted = _fit(crop, UCI_BITMAP)
    fitted = fitted > UCI_INK_LEVEL * fitted.max()  # a thin pen fades as it shrinks
    bitmap = _in_the_middle(fitted, UCI_BITMAP)
    if _stroke_width(bitmap) < UCI_MIN_STROKE:
        bitmap = _thicken(bitmap)
    blocks = UCI_BITMAP // UCI_SIDE
    counted = bitmap.reshape(UCI_SIDE, blocks, UCI_SIDE, blocks).mean(axis=(1, 3), dtype=np.float32)
    scaled = Image.fromarray(counted).resize((side, side), Image.Resampling.BILINEAR)
    return _levels(255 * np.asarray(scaled))


def as_fashion_mnist(picture: np.ndarray, side: int) -> np.ndarray | None:
    """Return the garment light on black, its longest side as long as the frame; None without one.

    The ground is the median of the corners. A picture of the frame's own size on dark ground is
    one of the data set's and stays as it is.
    """
    gray = _gray(picture) / 255
    ground = float(np.median(gray[[0, 0, -1, -1], [0, -1, 0, -1]]))
    if ground > 0.5:
        gray, ground = 1 - gray, 1 - ground
    elif gray.shape == (side, side) and np.ptp(gray) > FASHION_EDGE:
        return _levels(255 * gray)
    garment = np.abs(gray - ground) > FASHION_EDGE
    if garment.sum() < MIN_INK_PIXELS:
        return None
    return _levels(255 * _in_the_middle(_fit(_crop(gray, garment), side), side))


WAYS: dict[Preparation, Callable[[np.ndarray, int], np.ndarray | None]] = {
    "resize": whole,
    "center_crop": center_crop,
    "mnist": as_mnist,
    "digits": as_uci_digit,
    "fashion_mnist": as_fashion_mnist,
}


def _levels(picture: np.ndarray) -> np.ndarray:
    """Return uint8 levels of a picture in 0..255."""
    return np.clip(picture, 0, 255).round().astype(np.uint8)


def _gray(picture: np.ndarray) -> np.ndarray:
    """Return (height, width) float32, of a color picture its luminance."""
    gray = np.asarray(picture, np.float32)
    if gray.ndim == 3:  # luminance weights of ITU-R BT.601, as PIL's "L"
        gray = gray @ np.array([0.299, 0.587, 0.114], np.float32)
    return gray


def extract_ink(picture: np.ndarray) -> np.ndarray:
    """Return how far each pixel is from the paper: (height, width) float32 in [0, 1], paper 0.

    The paper is the median of the border, so dark ink on light and light ink on dark give the
    same result, and so does a tinted sheet.
    """
    gray = _gray(picture)
    return np.abs(gray - _paper(gray)) / 255


def _paper(gray: np.ndarray) -> float:
    """Return the median of the border."""
    border = np.concatenate([gray[0], gray[-1], gray[1:-1, 0], gray[1:-1, -1]])
    return float(np.median(border))


def _crop_to_ink(ink: np.ndarray) -> np.ndarray | None:
    """Return the ink's bounding box with its strongest pixel 1, None where nothing was drawn."""
    strongest = float(ink.max())
    if strongest < MIN_CONTRAST:
        return None
    ink = ink / strongest  # a pencil line counts like a pen's
    marked = ink > EDGE_LEVEL
    if float(ink[marked].sum()) < MIN_INK_PIXELS:
        return None
    return _crop(ink, marked)


def _crop(picture: np.ndarray, marked: np.ndarray) -> np.ndarray:
    """Return the bounding box of the marked pixels."""
    rows = np.flatnonzero(marked.any(axis=1))
    columns = np.flatnonzero(marked.any(axis=0))
    return picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _fit(crop: np.ndarray, box: int) -> np.ndarray:
    """Scale to at most box x box, longest side exactly box, proportions kept, anti-aliased."""
    height, width = crop.shape
    scale = box / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if size == (width, height):
        return crop
    scaled = np.asarray(
        Image.fromarray(np.ascontiguousarray(crop)).resize(size, Image.Resampling.LANCZOS)
    )
    return np.clip(scaled, 0, 1)  # the kernel overshoots at edges


def _in_the_middle(fitted: np.ndarray, side: int) -> np.ndarray:
    """Return a square of zeros with the picture in its middle."""
    height, width = fitted.shape
    top, left = (side - height) // 2, (side - width) // 2
    square = np.zeros((side, side), fitted.dtype)
    square[top : top + height, left : left + width] = fitted
    return square


def _center_mass(fitted: np.ndarray, side: int) -> np.ndarray:
    """Paste with a whole-pixel shift that brings the center of mass to the middle, as MNIST."""
    height, width = fitted.shape
    mass = fitted.sum()
    center = MNIST_CENTER * side / MNIST_SIDE
    row = float(fitted.sum(axis=1) @ np.arange(height) / mass)
    column = float(fitted.sum(axis=0) @ np.arange(width) / mass)
    top = min(max(round(center - row), 0), side - height)
    left = min(max(round(center - column), 0), side - width)
    pixels = np.zeros((side, side), np.float32)
    pixels[top : top + height, left : left + width] = fitted
    return pixels


def _stroke_width(bitmap: np.ndarray) -> float:
    """Return the mean width of strokes in pixels: a long strip has twice its area over its edge."""
    framed = np.pad(bitmap, 1)
    edge = int((framed[1:] != framed[:-1]).sum() + (framed[:, 1:] != framed[:, :-1]).sum())
    return 2 * int(bitmap.sum()) / max(edge, 1)


def _thicken(bitmap: np.ndarray) -> np.ndarray:
    """Return strokes one pixel wider on either side."""
    framed = np.pad(bitmap, 1)
    tall = framed[:-2] | framed[1:-1] | framed[2:]
    return tall[:, :-2] | tall[:, 1:-1] | tall[:, 2:]
