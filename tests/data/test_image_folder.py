import logging
import os
import re

import numpy as np
import pytest
import torch
from PIL import Image

from optlab.data import DataUnavailableError, image_folder
from optlab.data.image_folder import load_image_folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OPTLAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def make_tree(root, *, channels=3, size=8, num_train=4, num_test=2):
    """Pictures of noise: classes ant and bee; returns the train pixels in their sorted order."""
    rng = np.random.default_rng(0)
    shape = (size, size, 3) if channels == 3 else (size, size)
    train = []
    for part, number in (("train", num_train), ("test", num_test)):
        for name in ("ant", "bee"):
            for index in range(number):
                pixels = rng.integers(0, 256, shape, dtype=np.uint8)
                save(root / part / name / f"{index}.png", pixels)
                train += [pixels] * (part == "train")
    return np.stack(train)


def load(root, title=None, image_size=None):
    return load_image_folder(root, title=title, image_size=image_size)


def test_pictures_are_read_exactly_and_classes_follow_the_folders(tmp_path):
    pixels = make_tree(tmp_path / "insects")
    source = load(tmp_path / "insects")
    assert torch.equal(source.train_images, torch.from_numpy(pixels).permute(0, 3, 1, 2))
    assert source.train_images.is_contiguous()
    assert source.train_labels.tolist() == [0] * 4 + [1] * 4
    assert source.test_labels.tolist() == [0] * 2 + [1] * 2
    assert source.class_names == ("ant", "bee")
    assert source.title == "insects"
    assert source.mean == pytest.approx((pixels / 255).mean(axis=(0, 1, 2)).tolist())


def test_gray_pictures_stay_one_channel(tmp_path):
    pixels = make_tree(tmp_path, channels=1)
    source = load(tmp_path)
    assert torch.equal(source.train_images[:, 0], torch.from_numpy(pixels))
    assert len(source.mean) == 1


def test_one_color_picture_makes_all_three_channels(tmp_path):
    pixels = make_tree(tmp_path, channels=1)
    save(tmp_path / "test" / "bee" / "z.PNG", np.zeros((8, 8, 3), dtype=np.uint8))
    source = load(tmp_path)
    assert source.test_images.shape == (5, 3, 8, 8)
    for channel in range(3):
        assert torch.equal(source.train_images[:, channel], torch.from_numpy(pixels))


def test_jpegs_count_and_other_files_do_not(tmp_path):
    make_tree(tmp_path)
    gray = np.full((8, 8, 3), 100, dtype=np.uint8)
    save(tmp_path / "train" / "ant" / "x.jpeg", gray)
    save(tmp_path / "train" / "ant" / "y.JPG", gray)
    (tmp_path / "train" / "ant" / "notes.txt").write_text("no picture")
    (tmp_path / "train" / "ant" / "._x.jpeg").write_text("a file manager's own")
    assert load(tmp_path).train_labels.tolist() == [0] * 6 + [1] * 4


def test_image_size_resizes_every_picture(tmp_path):
    make_tree(tmp_path)
    save(tmp_path / "train" / "ant" / "wide.png", np.full((6, 12, 3), 77, dtype=np.uint8))
    source = load(tmp_path, image_size=4)
    assert source.train_images.shape == (9, 3, 4, 4)
    assert (source.train_images[4] == 77).all()


def test_title_is_taken(tmp_path):
    make_tree(tmp_path)
    assert load(tmp_path, title="CIFAR-10 (JPEG copy)").title == "CIFAR-10 (JPEG copy)"


def test_second_load_comes_from_the_cache_and_the_folder_is_not_written(
    tmp_path, cache, monkeypatch
):
    root = tmp_path / "insects"
    make_tree(root)
    before = sorted(root.rglob("*"))
    first = load(root)
    assert sorted(root.rglob("*")) == before
    assert len(list(cache.glob("*.pt"))) == 1
    monkeypatch.setattr(image_folder, "_decode_parts", None)  # decoding again would fail
    second = load(root, title="Other")
    assert second.checksum == first.checksum
    assert (second.mean, second.std) == (first.mean, first.std)
    assert second.title == "Other"


def test_changed_picture_is_read_afresh(tmp_path):
    make_tree(tmp_path)
    first = load(tmp_path)
    path = tmp_path / "train" / "ant" / "0.png"
    Image.open(path).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)
    os.utime(path, ns=(1, 1))
    assert load(tmp_path).checksum != first.checksum


@pytest.mark.parametrize("keep", [0, 1000, -1])
def test_damaged_cache_is_decoded_again(tmp_path, cache, caplog, keep):
    make_tree(tmp_path)
    first = load(tmp_path)
    (path,) = cache.glob("*.pt")
    path.write_bytes(path.read_bytes()[:keep])
    with caplog.at_level(logging.WARNING):
        assert load(tmp_path).checksum == first.checksum
    assert len(re.findall(rf"{path.name} .*\bdamaged\b", caplog.text)) == 1


def test_cache_with_changed_pixels_is_decoded_again(tmp_path, cache, caplog):
    make_tree(tmp_path)
    first = load(tmp_path)
    (path,) = cache.glob("*.pt")
    contents = torch.load(path)
    contents["train_images"][0, 0, 0, 0] ^= 1
    torch.save(contents, path)
    assert load(tmp_path).checksum == first.checksum
    assert re.search(rf"{path.name} .*\bdamaged\b", caplog.text)


def test_cache_that_cannot_be_written_is_said_and_does_without(tmp_path, monkeypatch, caplog):
    make_tree(tmp_path)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OPTLAB_CACHE", str(tmp_path / "file" / "cache"))
    assert load(tmp_path).train_images.shape == (8, 3, 8, 8)
    assert re.search(rf"{tmp_path}/file/cache .*\bOPTLAB_CACHE\b", caplog.text)


def test_missing_folder_says_what_is_expected(tmp_path):
    with pytest.raises(DataUnavailableError, match=r"nowhere/train\b(?s:.*)hint: .*data\.root\b"):
        load(tmp_path / "nowhere")


def test_missing_test_part_is_named(tmp_path):
    save(tmp_path / "train" / "ant" / "0.png", np.zeros((8, 8), dtype=np.uint8))
    with pytest.raises(DataUnavailableError, match=r"/test\b.*\n\nhint: .*data\.root\b"):
        load(tmp_path)


def test_part_without_classes_is_named(tmp_path):
    make_tree(tmp_path)
    for name in ("ant", "bee"):
        for path in (tmp_path / "test" / name).iterdir():
            path.unlink()
        (tmp_path / "test" / name).rmdir()
    with pytest.raises(DataUnavailableError, match=r"/test .*\n\nhint: .*/test/<class>/"):
        load(tmp_path)


def test_class_without_pictures_is_named(tmp_path):
    make_tree(tmp_path)
    (tmp_path / "train" / "cat").mkdir()
    with pytest.raises(DataUnavailableError, match=r"train/cat .*\.png, \.jpg\b"):
        load(tmp_path)


def test_test_class_that_train_lacks_is_named(tmp_path):
    make_tree(tmp_path)
    save(tmp_path / "test" / "wasp" / "0.png", np.zeros((8, 8, 3), dtype=np.uint8))
    with pytest.raises(DataUnavailableError, match=r"test/wasp .*\bant, bee\b"):
        load(tmp_path)


def test_class_without_test_pictures_is_allowed(tmp_path):
    make_tree(tmp_path)
    save(tmp_path / "train" / "wasp" / "0.png", np.zeros((8, 8, 3), dtype=np.uint8))
    assert load(tmp_path).class_names == ("ant", "bee", "wasp")


@pytest.mark.parametrize("contents", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n truncated"])
def test_unreadable_picture_is_named(tmp_path, contents):
    make_tree(tmp_path)
    (tmp_path / "train" / "bee" / "2.png").write_bytes(contents)
    with pytest.raises(DataUnavailableError, match=r"bee/2\.png .*\n\nhint: "):
        load(tmp_path)


def test_cut_jpeg_is_named(tmp_path):
    make_tree(tmp_path, size=64)
    path = tmp_path / "train" / "bee" / "x.jpg"
    save(path, np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(DataUnavailableError, match=r"x\.jpg .*\btruncated\b"):
        load(tmp_path)


def test_sizes_that_differ_name_both_pictures_and_the_option(tmp_path):
    make_tree(tmp_path)
    save(tmp_path / "train" / "bee" / "x.png", np.zeros((8, 9, 3), dtype=np.uint8))
    with pytest.raises(
        DataUnavailableError, match=r"x\.png .*\b9 x 8\b.*0\.png .*\b8 x 8\b"
    ) as error:
        load(tmp_path)
    assert "data.image_size=8" in str(error.value)


def test_pictures_that_are_not_square_name_the_option(tmp_path):
    save(tmp_path / "train" / "ant" / "0.png", np.zeros((8, 12), dtype=np.uint8))
    save(tmp_path / "test" / "ant" / "0.png", np.zeros((8, 12), dtype=np.uint8))
    with pytest.raises(
        DataUnavailableError, match=r"\b12 x 8\b(?s:.*)hint: .*data\.image_size=12\b"
    ):
        load(tmp_path)


def test_sixteen_bit_picture_is_refused_rather_than_clipped(tmp_path):
    make_tree(tmp_path, channels=1)
    save(tmp_path / "train" / "bee" / "x.png", np.full((8, 8), 40_000, dtype=np.uint16))
    with pytest.raises(DataUnavailableError, match=r"x\.png .*\b8\b.*\bI;16\b"):
        load(tmp_path)


def test_palette_and_alpha_pictures_become_their_colors(tmp_path):
    make_tree(tmp_path)
    red = Image.new("RGB", (8, 8), (250, 10, 20))
    red.quantize(4).save(tmp_path / "train" / "ant" / "x.png")
    red.convert("RGBA").save(tmp_path / "train" / "ant" / "y.png")
    images = load(tmp_path).train_images
    for index in (4, 5):
        assert images[index, :, 0, 0].tolist() == [250, 10, 20]
