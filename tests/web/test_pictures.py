"""Bytes of a request: what is read, and what is refused with which sentence."""

import io
import struct
import zlib

import numpy as np
import pytest
from made_pictures import png
from PIL import Image

from optlab.web.pictures import (
    PictureTooLarge,
    UnreadablePicture,
    picture_from_image,
    picture_from_json,
)


def png_header(width: int, height: int, color_type: int = 0) -> bytes:
    """A PNG that claims a size and holds no such pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, color_type, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"\0" * 100_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def test_json_becomes_rows_of_pixels() -> None:
    picture = picture_from_json(b'{"pixels": [[0, 127.5], [255, 3]]}')
    np.testing.assert_array_equal(picture, [[0, 127.5], [255, 3]])


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "Invalid JSON"),
        (b"{", "Invalid JSON"),
        (b"\xff\xfe", "Invalid JSON"),
        (b"[]", "Input should be an object"),
        (b"{}", r"pixels: Field required\."),
        (b'{"pixels": []}', "pixels: List should have at least 1 item"),
        (b'{"pixels": [[]]}', r"pixels\.0: List should have at least 1 item"),
        (b'{"pixels": [[1, 2], [3]]}', r"pixels: .*\blength\b"),
        (b'{"pixels": [[NaN]]}', r"pixels\.0\.0: .*\bfinite\b"),
        (b'{"pixels": [[Infinity]]}', r"pixels\.0\.0: .*\bfinite\b"),
        (b'{"pixels": [[-Infinity]]}', r"pixels\.0\.0: .*\bfinite\b"),
        (b'{"pixels": [[1e999]]}', r"pixels\.0\.0: .*\bfinite\b"),
        (b'{"pixels": [[256]]}', "less than or equal to 255"),
        (b'{"pixels": [[-1]]}', "greater than or equal to 0"),
        (b'{"pixels": [["1"]]}', "should be a valid number"),
        (b'{"pixels": [[true]]}', "should be a valid number"),
        (b'{"pixels": [[null]]}', "should be a valid number"),
        (b'{"pixels": [[[1]]]}', "should be a valid number"),
        (b'{"pixels": [[1]], "path": "/etc/passwd"}', "path: Extra inputs are not permitted"),
        (b'{"pixels": ' + b"[" * 5000 + b"]" * 5000 + b"}", "Invalid JSON"),
        (b'{"pixels": [[' + b"9" * 4000 + b"]]}", "pixels"),
        (b'{"pixels": [[' + b"0," * 1024 + b"0]]}", "at most 1024 items"),
    ],
)
def test_wrong_json_is_refused_with_a_sentence(body: bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        picture_from_json(body)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "LA", "RGBA", "I;16"])
def test_every_png_mode_is_read(mode: str) -> None:
    image = Image.new("L", (20, 10), 255)
    image.paste(0, (5, 2, 8, 6))
    wide = np.asarray(image, np.uint16) * 257
    converted = Image.fromarray(wide) if mode == "I;16" else image.convert(mode)
    file = io.BytesIO()
    converted.save(file, "PNG")
    picture = picture_from_image(file.getvalue())
    assert picture.shape[:2] == (10, 20)
    assert picture.dtype == np.uint8
    assert picture[3, 6].max() == 0
    assert picture[0, 0].min() == 255


def test_transparency_is_white_paper() -> None:
    color = np.zeros((8, 8, 4), np.uint8)
    color[4, 4, 3] = 255
    picture = picture_from_image(png(color))
    assert picture[0, 0].tolist() == [255, 255, 255]
    assert picture[4, 4].tolist() == [0, 0, 0]


def test_jpeg_is_read() -> None:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (255, 0, 0)).save(file, "JPEG")
    assert picture_from_image(file.getvalue()).shape == (16, 16, 3)


def test_photograph_stands_as_the_camera_was_held() -> None:
    image = Image.new("L", (16, 8), 255)
    image.paste(0, (0, 0, 4, 8))  # dark at the left
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees, clockwise
    file = io.BytesIO()
    image.save(file, "JPEG", exif=exif)
    picture = picture_from_image(file.getvalue())
    assert picture.shape == (16, 8)
    assert picture[:3].max() < 60 < 200 < picture[6:].min()  # dark at the top


def test_declared_size_is_refused_before_decoding() -> None:
    for width, height in ((3000, 3000), (5000, 2), (30_000, 30_000), (2**31 - 1, 2**31 - 1)):
        is_known = width < 10**5  # Pillow itself refuses the other one
        with pytest.raises(PictureTooLarge if is_known else (PictureTooLarge, UnreadablePicture)):
            picture_from_image(png_header(width, height))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"GIF89a",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"<svg/>",
        png_header(20, 20)[:50],
        png_header(0, 0),
        png(np.random.default_rng(0).integers(0, 256, (99, 99), np.uint8))[:2000],
        b"\x89PNG\r\n\x1a\n" + b"\0" * 64,
        png_header(20, 20, color_type=3),  # Pillow answers this one with an AssertionError
    ],
    ids=[
        "nothing",
        "cut GIF",
        "EPS",
        "SVG",
        "cut header",
        "no size",
        "cut pixels",
        "zeros",
        "no palette",
    ],
)
def test_what_is_no_image_is_refused_with_a_sentence(body: bytes) -> None:
    with pytest.raises(UnreadablePicture):
        picture_from_image(body)


def test_formats_that_training_does_not_read_are_not_tried() -> None:
    file = io.BytesIO()
    Image.new("L", (16, 16)).save(file, "SGI")
    with pytest.raises(UnreadablePicture):
        picture_from_image(file.getvalue())


@pytest.mark.parametrize("name", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_damaged_bytes_never_lead_to_anything_but_a_sentence(name: str) -> None:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (40, 30, 3), np.uint8)).quantize(16)
    file = io.BytesIO()
    (image if name in ("PNG", "GIF", "BMP", "TIFF") else image.convert("RGB")).save(file, name)
    sound = np.frombuffer(file.getvalue(), np.uint8)
    num_refused = 0
    for _ in range(500):
        damaged = sound.copy()
        at = rng.integers(0, min(len(sound), 400), rng.integers(1, 6))
        damaged[at] = rng.integers(0, 256, len(at))
        try:
            picture_from_image(damaged.tobytes())
        except (PictureTooLarge, UnreadablePicture):
            num_refused += 1
    assert num_refused > 10
