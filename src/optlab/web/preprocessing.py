"""From a picture of any size to what a network reads: pixels in [0, 1] of the network's own size.

Drawings go the way of the images that the network was trained on. MNIST's way: find the ink, fit
it into a 20x20 box keeping its proportions, put its centre of mass in the middle of 28x28, light
ink on black. The embedded digits were made otherwise, and networks trained on them know no other
(three MLPs trained on them got 18 % of 5,000 MNIST test images right MNIST's way, 65 % of 2,000
UCI's way). Photographs for colour networks are cropped to a square and scaled. This is the only
place that does so: the page, the API and the terminal all send the picture as it was drawn.

Sources: LeCun, Cortes and Burges, "The MNIST database of handwritten digits" (1998), section
"File formats"; Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI (1998),
doi:10.24432/C50P49: 32x32 bitmaps, the set pixels of each 4x4 block counted.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

MNIST_SIDE = 28
MNIST_BOX = 20
# Index of the column and row on which MNIST puts the centre of mass: the mean over the 10,000
# test images is 14.0 with all images in [13.5, 14.5], so whole-pixel shifts to index 14.
MNIST_CENTRE = 14.0
UCI_BITMAP = 32
UCI_SIDE = 8
UCI_INK_LEVEL = 0.3  # a bitmap pixel is set above this
UCI_MIN_STROKE = 4.0  # bitmap pixels; the data set's strokes are 4.8 wide on average
PEN_WIDTHS = {"digits": 36}  # of a 280 pixel canvas: strokes as wide as the data set's own
PEN_WIDTH = 22  # where the data set is not listed
MIN_CONTRAST = 0.1  # of the full range; weaker than this is paper, not ink
EDGE_LEVEL = (
    0.15  # of the strongest ink; the crop follows this level, so faint noise cannot move it
)
MIN_INK_PIXELS = 6.0  # fewer fully inked pixels than this are a speck, not a drawing


@dataclass(frozen=True)
class Prepared:
    """One picture as a network reads it.

    Attributes:
        pixels: (channels, side, side) float32 in [0, 1], not yet normalised.
        blank: nothing is there to read: no ink, or a photograph of one even colour.
    """

    pixels: np.ndarray
    blank: bool


def prepare(picture: np.ndarray, *, dataset: str, in_channels: int, image_size: int) -> Prepared:
    """Prepare a picture for networks that were trained on one data set.

    Args:
        picture: (height, width) grey or (height, width, 3) colour, 0 to 255.
        dataset: name of the data set; `digits` has a way of its own.
        in_channels: 1 (a drawing) or 3 (a photograph).
        image_size: side of the network's input, in pixels.

    Raises:
        ValueError: for any other number of channels.
    """
    if in_channels == 1 and dataset == "digits":
        return prepare_uci_digit(picture, side=image_size)
    if in_channels == 1:
        return prepare_drawing(picture, side=image_size)
    if in_channels == 3:
        return prepare_photograph(picture, side=image_size)
    raise ValueError(f"A network with {in_channels} input channels reads neither grey nor colour.")


def prepare_drawing(picture: np.ndarray, *, side: int = MNIST_SIDE) -> Prepared:
    """MNIST's way: ink fitted to 20/28 of the side, centre of mass in the middle."""
    crop = _crop_to_ink(ink_of(picture))
    if crop is None:
        return Prepared(np.zeros((1, side, side), np.float32), blank=True)
    fitted = _fit(crop, round(side * MNIST_BOX / MNIST_SIDE))
    fitted = fitted / fitted.max()  # a thin pen on a large sheet fades as it shrinks
    return Prepared(_centre_mass(fitted, side)[None], blank=False)


def prepare_uci_digit(picture: np.ndarray, *, side: int = MNIST_SIDE) -> Prepared:
    """UCI's way: the ink fills a 32x32 bitmap, counted in 4x4 blocks, scaled up from 8x8."""
    crop = _crop_to_ink(ink_of(picture))
    if crop is None:
        return Prepared(np.zeros((1, side, side), np.float32), blank=True)
    fitted = _fit(crop, UCI_BITMAP)
    fitted = fitted > UCI_INK_LEVEL * fitted.max()  # a thin pen fades as it shrinks
    height, width = fitted.shape
    top, left = (UCI_BITMAP - height) // 2, (UCI_BITMAP - width) // 2
    bitmap = np.zeros((UCI_BITMAP, UCI_BITMAP), bool)
    bitmap[top : top + height, left : left + width] = fitted
    if _stroke_width(bitmap) < UCI_MIN_STROKE:
        bitmap = _thicken(bitmap)
    blocks = UCI_BITMAP // UCI_SIDE
    counted = bitmap.reshape(UCI_SIDE, blocks, UCI_SIDE, blocks).mean(axis=(1, 3), dtype=np.float32)
    scaled = Image.fromarray(counted).resize((side, side), Image.Resampling.BILINEAR)
    return Prepared(np.array(scaled, np.float32)[None], blank=False)


def _stroke_width(bitmap: np.ndarray) -> float:
    """Mean width of the strokes in pixels: a long strip has twice its area over its edge."""
    framed = np.pad(bitmap, 1)
    edge = int((framed[1:] != framed[:-1]).sum() + (framed[:, 1:] != framed[:, :-1]).sum())
    return 2 * int(bitmap.sum()) / max(edge, 1)


def _thicken(bitmap: np.ndarray) -> np.ndarray:
    """Strokes one pixel wider on either side."""
    framed = np.pad(bitmap, 1)
    tall = framed[:-2] | framed[1:-1] | framed[2:]
    return tall[:, :-2] | tall[:, 1:-1] | tall[:, 2:]


def prepare_photograph(picture: np.ndarray, *, side: int) -> Prepared:
    """The middle square of the picture, shrunk (or enlarged) to the network's side."""
    colour = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
    height, width = colour.shape[:2]
    edge = min(height, width)
    top, left = (height - edge) // 2, (width - edge) // 2
    square = np.clip(colour[top : top + edge, left : left + edge], 0, 255)
    image = Image.fromarray(square.round().astype(np.uint8))
    scaled = image.resize((side, side), Image.Resampling.LANCZOS)
    pixels = np.asarray(scaled, np.float32).transpose(2, 0, 1) / 255  # (3, side, side)
    blank = bool(np.ptp(square.reshape(-1, 3), axis=0).max() < MIN_CONTRAST * 255)
    return Prepared(np.ascontiguousarray(pixels), blank=blank)


def ink_of(picture: np.ndarray) -> np.ndarray:
    """How far each pixel is from the paper: (height, width) float32 in [0, 1], paper 0.

    The paper is the median of the border, so dark ink on light and light ink on dark give the
    same result, and so does a tinted sheet.
    """
    grey = np.asarray(picture, np.float32)
    if grey.ndim == 3:  # luminance weights of ITU-R BT.601, as PIL's "L"
        grey = grey @ np.array([0.299, 0.587, 0.114], np.float32)
    border = np.concatenate([grey[0], grey[-1], grey[1:-1, 0], grey[1:-1, -1]])
    paper = np.median(border)
    return np.abs(grey - paper) / 255


def _crop_to_ink(ink: np.ndarray) -> np.ndarray | None:
    """The ink's bounding box with its strongest pixel 1, None where nothing was drawn."""
    strongest = float(ink.max())
    if strongest < MIN_CONTRAST:
        return None
    ink = ink / strongest  # a pencil line counts like a pen's
    marked = ink > EDGE_LEVEL
    if float(ink[marked].sum()) < MIN_INK_PIXELS:
        return None
    rows = np.flatnonzero(marked.any(axis=1))
    columns = np.flatnonzero(marked.any(axis=0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


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


def _centre_mass(fitted: np.ndarray, side: int) -> np.ndarray:
    """Paste with a whole-pixel shift that brings the centre of mass to the middle, as MNIST."""
    height, width = fitted.shape
    mass = fitted.sum()
    centre = MNIST_CENTRE * side / MNIST_SIDE
    row = float(fitted.sum(axis=1) @ np.arange(height) / mass)
    column = float(fitted.sum(axis=0) @ np.arange(width) / mass)
    top = min(max(round(centre - row), 0), side - height)
    left = min(max(round(centre - column), 0), side - width)
    pixels = np.zeros((side, side), np.float32)
    pixels[top : top + height, left : left + width] = fitted
    return pixels
