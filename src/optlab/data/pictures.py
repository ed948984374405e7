"""Read picture files as pixels, for training, page, API and predict.py alike."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import numpy as np
from PIL import ExifTags, Image, ImageOps

from optlab.data.image_dataset import DataUnavailableError

# Pillow's name of each format that is read, and the suffixes of its files
FORMATS = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm"),
}
SUFFIXES = tuple(chain(*FORMATS.values()))


@contextmanager
def open_image(path: str | os.PathLike[str]) -> Iterator[Image.Image]:
    """Open a picture file, to be decoded inside the block, and name it in every error.

    Raises:
        DataUnavailableError: the file cannot be opened or decoded, or has more pixels than Pillow
            reads.
    """
    try:
        # Not by path: Pillow 12.3 then reads rotated uncompressed TIFFs incorrectly
        with open(path, "rb") as file, Image.open(file, formats=list(FORMATS)) as image:
            yield image
    except DataUnavailableError:
        raise
    except Exception as error:  # damaged files raise a dozen types, AssertionError among them
        raise DataUnavailableError(
            f"{printable_path(path)} cannot be read as a picture: {str(error).rstrip('.')}.\n\n"
            "hint: replace or remove this file"
        ) from error


def apply_orientation(image: Image.Image) -> Image.Image:
    """Return a picture as viewers show it, in mode L if it is gray, else RGB.

    The EXIF orientation is applied, and transparent pixels get a white background. Of an animation,
    the first frame is used.

    Raises:
        ValueError: for 32-bit pixels, whose range is unknown.
    """
    if image.mode in ("I", "F"):
        raise ValueError(f"its pixels have 32 bits (mode {image.mode})")
    if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):  # gray, 65535 is white
        image = Image.fromarray((np.asarray(image, np.float32) / 257).round().astype(np.uint8))
    is_gray = image.mode in ("1", "L", "LA")
    if image.has_transparency_data:
        ink = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", ink.size, "white"), ink)
    return image.convert("L" if is_gray else "RGB")


def to_pixels(
    picture: Image.Image, *, in_channels: int, image_size: int | None = None
) -> np.ndarray:
    """Return a picture as a data set stores it: uint8 (in_channels, height, width).

    Args:
        picture: of mode L or RGB.
        in_channels: 1 for gray, 3 for color.
        image_size: side of the square that the whole picture is resized to (bilinear, antialiased);
            None keeps its size.
    """
    picture = picture.convert("L" if in_channels == 1 else "RGB")
    if image_size is not None:
        picture = picture.resize((image_size, image_size), Image.Resampling.BILINEAR)
    return np.atleast_3d(np.array(picture)).transpose(2, 0, 1)  # a copy, that can be written to


def printable_path(path: str | os.PathLike[str]) -> str:
    r"""Return a path that can be printed: bytes that are not UTF-8 become \xe9 and the like."""
    return os.fsencode(path).decode(errors="backslashreplace")
