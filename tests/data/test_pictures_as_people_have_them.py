"""Image folders with the pictures of phones, drawing programs and other systems; all made here."""

import logging
import os
import re
import struct
import unicodedata
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from optlab.data import DataUnavailableError, image_folder
from optlab.data.image_folder import load_image_folder
from optlab.data.pictures import FORMATS, SUFFIXES

SIDE = 8
ORIENTATION = 0x0112  # EXIF tag


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OPTLAB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path):
    """Gray noise of two classes, ant and bee, two pictures in each folder."""
    rng = np.random.default_rng(0)
    for place in ("train/ant", "train/bee", "test/ant", "test/bee"):
        (tmp_path / "insects" / place).mkdir(parents=True)
        for index in range(2):
            pixels = rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "insects" / place / f"{index}.png")
    return tmp_path / "insects"


def load(root, image_size=None):
    return load_image_folder(root, title=None, image_size=image_size)


def added(root, name, image, image_size=None, **options):
    """What training makes of a picture that is added as the last one of train/ant."""
    image.save(root / "train" / "ant" / name, **options)
    source = load(root, image_size)
    (index,) = np.flatnonzero(source.train_labels == 0)[-1:]
    return source.train_images[index].numpy()


def noise(shape=(SIDE, SIDE), seed=1):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


# ---------------------------------------------------------------- orientation

UPRIGHT = {  # EXIF 2.32, tag 0x0112: what the stored rows and columns are, from 1 to 8
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.T,
    6: lambda p: p.T[:, ::-1],
    7: lambda p: p[::-1, ::-1].T,
    8: lambda p: p.T[::-1],
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_picture_is_turned_as_the_camera_was_held(root, suffix, orientation):
    stored = noise()
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    pixels = added(root, f"x{suffix}", Image.fromarray(stored), exif=exif)
    np.testing.assert_array_equal(pixels, [UPRIGHT[orientation](stored)])


@pytest.mark.parametrize("name", ["x.jpg", "x.tif"])
def test_phone_picture_is_turned_before_it_is_resized(root, name):
    tall = np.zeros((4 * SIDE, 2 * SIDE), np.uint8)
    tall[: 2 * SIDE] = 255  # light above, dark below
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    stored = np.ascontiguousarray(np.rot90(tall))  # as its sensor lies
    pixels = added(root, name, Image.fromarray(stored), image_size=SIDE, exif=exif)
    assert pixels[:, : SIDE // 2 - 1].min() > 250 and pixels[:, SIDE // 2 + 1 :].max() < 5


# ---------------------------------------------------------------- transparency


def black_ink(mode):
    """A black square on transparent paper, which is black as well where it cannot be seen."""
    gray, alpha = np.zeros((SIDE, SIDE), np.uint8), np.zeros((SIDE, SIDE), np.uint8)
    alpha[2:5, 2:5] = 255
    bands = [gray, alpha] if mode == "LA" else [gray, gray, gray, alpha]
    return Image.fromarray(np.stack(bands, axis=-1))


ON_WHITE = np.full((SIDE, SIDE), 255, np.uint8)
ON_WHITE[2:5, 2:5] = 0


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_transparent_paper_is_white(root, mode, suffix):
    lossless = {"lossless": True} if suffix == ".webp" else {}
    pixels = added(root, f"x{suffix}", black_ink(mode), **lossless)
    stays_gray = mode == "LA" and suffix != ".webp"  # WebP knows color only
    assert len(pixels) == (1 if stays_gray else 3)
    for channel in pixels:
        np.testing.assert_array_equal(channel, ON_WHITE)


def test_half_transparent_ink_is_half_as_dark(root):
    pixels = np.full((SIDE, SIDE, 2), (0, 128), np.uint8)
    assert added(root, "x.png", Image.fromarray(pixels)).tolist() == [[[127] * SIDE] * SIDE]


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P"])
def test_color_that_a_file_declares_transparent_is_white(root, mode):
    image = Image.fromarray(np.where(ON_WHITE == 0, 200, 0).astype(np.uint8))
    image = image.point(lambda level: level and 255, "1") if mode == "1" else image.convert(mode)
    transparent = (0, 0, 0) if mode == "RGB" else 0
    pixels = added(root, "x.png", image, transparency=transparent)
    assert pixels[:, 0, 0].tolist() == [255] * len(pixels)
    assert (pixels[:, 3, 3] == image.convert("L").getpixel((3, 3))).all()


def test_palette_with_a_transparency_for_each_color_and_gif(root):
    image = Image.fromarray(np.where(ON_WHITE == 0, 1, 0).astype(np.uint8), "P")
    image.putpalette([0, 0, 0, 10, 20, 30])
    for name, options in (("x.png", {"transparency": b"\x00\xff"}), ("y.gif", {"transparency": 0})):
        pixels = added(root, name, image, **options)
        assert pixels[:, 0, 0].tolist() == [255, 255, 255]
        assert pixels[:, 3, 3].tolist() == [10, 20, 30]


def test_pictures_that_are_all_alike_are_told(root, caplog):
    for path in root.glob("train/*/*.png"):
        Image.fromarray(noise()).save(path)
    load(root)
    (record,) = caplog.records
    assert re.search(rf"\b4 images\b.*{root}/train\b", record.getMessage())


def test_pictures_that_differ_in_one_pixel_are_not_alike(root, caplog):
    for path in root.glob("train/*/*.png"):
        Image.fromarray(noise()).save(path)
    pixels = noise()
    pixels[0, 0] ^= 1
    Image.fromarray(pixels).save(root / "train" / "bee" / "1.png")
    load(root)
    assert not caplog.records


# ---------------------------------------------------------------- files that were not seen


def test_pictures_in_sub_folders_belong_to_their_class(root):
    for place in ("train/ant/2024/may", "train/bee/a", "test/bee/a"):
        (root / place).mkdir(parents=True)
        Image.fromarray(noise()).save(root / place / "deep.png")
    source = load(root)
    assert source.train_labels.tolist() == [0] * 3 + [1] * 3
    assert source.test_labels.tolist() == [0] * 2 + [1] * 3


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_is_read(root, suffix):
    slope = np.add.outer(np.arange(SIDE), np.arange(SIDE)).astype(np.uint8) * 10
    lossless = {"lossless": True} if suffix == ".webp" else {}
    pixels = added(root, f"x{suffix.upper()}", Image.fromarray(slope), **lossless)
    error = 5 if suffix in (".jpg", ".jpeg") else 0
    assert np.abs(pixels.astype(int) - slope).max() <= error


def test_content_and_not_the_suffix_says_which_format(root):
    Image.fromarray(noise()).save(root / "train" / "ant" / "x.png", "BMP")
    assert len(load(root).train_labels) == 5


def test_of_an_animation_the_first_frame_counts(root):
    frames = [Image.fromarray(noise(seed=seed)) for seed in (1, 2)]
    pixels = added(root, "x.gif", frames[0], save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(pixels[0], noise(seed=1))


def test_what_is_not_read_is_counted(root, caplog):
    for name in ("train/ant/a.heic", "train/bee/b.heic", "train/ant/notes", "test/ant/c.txt"):
        (root / name).write_text("")
    for name in ("train/loose.png", "train/ant/.hidden", ".git"):
        (root / name).write_text("")
    (root / "val").mkdir()
    load(root)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    items = record.getMessage().partition(": ")[2].split(", ")
    facts = [re.findall(r"\b(?:\d+|train|test|val)\b|\.\w+", item) for item in items]
    assert sorted(map(sorted, facts)) == [
        [".heic", "2", "train"],
        [".txt", "1", "test"],
        ["1", "train"],  # without suffix
        ["1", "train"],  # outside of the classes
        ["1", "val"],
    ]


def test_links_are_followed_and_may_make_a_circle(root, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    Image.fromarray(noise()).save(tmp_path / "elsewhere" / "x.png")
    (root / "train" / "ant" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(root / "train" / "ant")
    assert load(root).train_labels.tolist() == [0] * 3 + [1] * 2


def test_link_to_nothing_is_named(root):
    (root / "train" / "ant" / "gone.png").symlink_to(root / "nowhere.png")
    with pytest.raises(DataUnavailableError, match=r"(?s)train.ant.gone\.png.*hint: "):
        load(root)


# ---------------------------------------------------------------- names and sizes

LATIN1 = os.fsdecode(b"caf\xe9.png")


def test_file_name_that_is_not_utf8_is_read(root):
    assert added(root, LATIN1, Image.fromarray(noise())).tolist() == [noise().tolist()]
    assert len(load(root).train_labels) == 5  # from the cache


def test_damaged_file_whose_name_is_not_utf8_is_told_in_words_that_can_be_printed(root):
    (root / "train" / "ant" / LATIN1).write_bytes(b"junk")
    with pytest.raises(DataUnavailableError, match=r"caf\\xe9\.png .*\n\nhint: ") as error:
        load(root)
    str(error.value).encode()


def test_class_whose_name_is_not_utf8_is_refused(root):
    (root / "train" / os.fsdecode(b"caf\xe9")).mkdir()
    with pytest.raises(DataUnavailableError, match=r"train/caf\\xe9\b.*\bUTF-8\b.*\n\nhint: "):
        load(root)


@pytest.mark.parametrize("part", ["train", "test"])
def test_classes_that_only_look_alike_are_named_with_their_characters(root, part):
    composed, decomposed = (unicodedata.normalize(form, "fée") for form in ("NFC", "NFD"))
    (root / "train" / "ant").rename(root / "train" / composed)
    (root / part / "bee").rename(root / part / decomposed)
    (root / "test" / "ant").rename(root / "test" / "x")
    with pytest.raises(DataUnavailableError, match=r"f\\xe9e\b.*\n\nhint: ") as error:
        load(root)
    assert r"fe\u0301e" in str(error.value) and str(root / part) in str(error.value)


def test_picture_beyond_the_limit_is_named_with_it(root):
    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)  # claims 400 million pixels
    contents = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    (root / "train" / "bee" / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + contents)
    limit = 2 * Image.MAX_IMAGE_PIXELS
    with pytest.raises(DataUnavailableError, match=rf"huge\.png .*{limit} pixels"):
        load(root)


def test_pixels_of_32_bits_are_refused(root):
    Image.fromarray(np.zeros((SIDE, SIDE), np.float32)).save(root / "train" / "ant" / "x.tif")
    with pytest.raises(DataUnavailableError, match=r"x\.tif .*\b32\b.*\bF\b"):
        load(root)


# ---------------------------------------------------------------- the cache


def test_what_an_older_version_decoded_is_not_taken(root, tmp_path, monkeypatch):
    monkeypatch.setattr(image_folder, "_CACHE_VERSION", image_folder._CACHE_VERSION - 1)
    old = load(root)
    (path,) = (tmp_path / "cache").glob("*.pt")
    contents = {**torch.load(path), "train_images": old.train_images.flip(0)}
    contents["checksum"] = image_folder._checksum(contents)
    torch.save(contents, path)
    monkeypatch.undo()
    monkeypatch.setenv("OPTLAB_CACHE", str(tmp_path / "cache"))
    assert load(root).checksum == old.checksum


def test_formats_are_those_that_pillow_has():
    Image.init()
    assert set(FORMATS) <= set(Image.OPEN)
