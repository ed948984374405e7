"""Images that only one optimizer gets wrong or right: three of four test images."""

from base64 import b64decode
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from optlab.runs.folder import RunFolder

URL = "/api/studies/digits-mlp/gallery"
LABELS = np.array([3, 3, 5, 7])


def keep(folder: Path, answers: list[int]) -> None:
    probabilities = np.eye(10, dtype=np.float16)[answers]
    files = RunFolder(folder)
    np.savez(files.test_probabilities, labels=LABELS, last=probabilities, best=probabilities)
    wrong = np.flatnonzero(answers != LABELS)
    np.savez(files.test_mistakes, indices=wrong, images=np.full((len(wrong), 8, 8), 200, np.uint8))


@pytest.fixture
def folders(make_run: Callable[..., Path]) -> dict[str, Path]:
    answers = {"adam": [3, 8, 5, 7], "rmsprop": [8, 3, 6, 7], "sgd": [3, 3, 6, 7]}
    folders = {name: make_run(optimizer=name) for name in answers}
    for name, each in answers.items():
        keep(folders[name], each)
    return folders


def test_each_optimizer_has_the_images_on_which_only_it_differs(
    folders: dict[str, Path], client_for: Any, tmp_path: Path
) -> None:
    gallery = client_for(tmp_path).get(URL).json()
    assert gallery["left_out"] == []
    found = {
        (group["optimizer"], group["only"]): [each["image"] for each in group["images"]]
        for group in gallery["groups"]
    }
    assert {key: images for key, images in found.items() if images} == {
        ("adam", "wrong"): [1],
        ("adam", "right"): [2],
        ("rmsprop", "wrong"): [0],
    }
    (image,) = next(group["images"] for group in gallery["groups"] if group["images"])
    assert image["true"] == 3
    assert image["answers"] == {"adam": 8, "rmsprop": 3, "sgd": 3}
    pixels = np.array(Image.open(BytesIO(b64decode(image["png"]))))
    assert pixels.shape == (8, 8)
    assert set(pixels.flat) == {200}


def test_two_optimizers_show_each_image_once(
    make_run: Callable[..., Path], client_for: Any, tmp_path: Path
) -> None:
    keep(make_run(optimizer="adam"), [3, 8, 5, 7])
    keep(make_run(optimizer="sgd"), [3, 3, 6, 7])
    groups = client_for(tmp_path).get(URL).json()["groups"]
    found = {(group["optimizer"], group["only"]): group["num_images"] for group in groups}
    assert found == {("adam", "wrong"): 1, ("sgd", "wrong"): 1}


def test_optimizer_without_readable_answers_is_named(
    folders: dict[str, Path], client_for: Any, tmp_path: Path
) -> None:
    RunFolder(folders["adam"]).test_probabilities.write_bytes(b"damaged")
    client = client_for(tmp_path)
    assert client.get(URL).json()["left_out"] == ["adam"]
    RunFolder(folders["sgd"]).test_probabilities.unlink()
    assert client.get(URL).json() == {"groups": [], "left_out": ["adam", "sgd"]}


def test_damaged_pictures_leave_the_numbers(
    folders: dict[str, Path], client_for: Any, tmp_path: Path
) -> None:
    RunFolder(folders["adam"]).test_mistakes.write_bytes(b"damaged")
    groups = client_for(tmp_path).get(URL).json()["groups"]
    assert [group["num_images"] for group in groups if group["optimizer"] == "adam"] == [1, 1]
    assert all(group["images"] == [] for group in groups)
