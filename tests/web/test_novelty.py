"""Drawings that look like nothing a network was trained on, and several digits at once."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from handwriting import SIDE, digits
from PIL import Image
from torch import nn
from waiting import wait_for

from optlab.data import load_dataset
from optlab.data.normalize import scale_and_shift
from optlab.data.preprocessing import Prepared
from optlab.models import CNN, MLP
from optlab.web import novelty
from optlab.web.app import STATIC
from optlab.web.inference import Networks
from optlab.web.novelty import Reference, References, num_side_by_side, without_last_layer
from optlab.web.run_index import RunIndex
from optlab.web.terminal import answer_table

MakeRun = Callable[..., Path]


def test_features_are_what_the_last_linear_layer_is_given() -> None:
    images = torch.rand(3, 1, 28, 28)
    for network in (MLP(1, 28, 10, hidden_sizes=[16, 8]), CNN(1, 28, 10, filters=[2, 4])):
        network.eval()
        last = [each for each in network.modules() if isinstance(each, nn.Linear)][-1]
        features = without_last_layer(network)(images)
        assert torch.equal(last(features), network(images))
    with pytest.raises(ValueError, match="linear"):
        without_last_layer(nn.Conv2d(1, 10, 28))


def test_distance_is_that_of_the_fifth_nearest_on_the_unit_sphere() -> None:
    # Each image is two pixels, which are the features: after scaling, points on a circle
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 10))
    known = np.array([[255, 0]] * 4 + [[0, 255]] * 4 + [[100, 100]], np.uint8)
    images = torch.from_numpy(known.reshape(-1, 1, 1, 2))
    reference = Reference(network, images, images, scale_and_shift([0.0], [1.0]))

    def distance(*pixels: int) -> float:
        picture = np.array([[pixels]], np.uint8)
        return reference.distance(Prepared(picture, blank=False))

    between = np.sqrt(2 - np.sqrt(2))  # chord of 45 degrees
    assert distance(255, 0) == pytest.approx(between)  # four are equal, the fifth is (100, 100)
    assert distance(50, 0) == pytest.approx(between)  # size does not matter
    assert distance(100, 100) == pytest.approx(between)  # itself, then any of the others
    assert reference.threshold == pytest.approx(between)


def two_digits(gap: int) -> np.ndarray:
    one, seven = (
        255 - np.asarray(Image.fromarray(each.picture(22)).resize((SIDE // 2, SIDE // 2)))
        for each in digits()
        if each.style == "plain" and (each.name, each.hand) in (("1", "stick"), ("7", "crossed"))
    )
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    canvas[50 : 50 + SIDE // 2, : SIDE // 2] += one
    canvas[60 : 60 + SIDE // 2, gap : gap + SIDE // 2] += seven
    return 255 - canvas


def test_two_digits_next_to_each_other_are_two_and_no_single_digit_is() -> None:
    assert num_side_by_side(two_digits(gap=120)) == 2
    assert num_side_by_side(255 - two_digits(gap=120)) == 2  # light on dark
    assert num_side_by_side(two_digits(gap=120).repeat(7, axis=0).repeat(7, axis=1)) == 2
    assert num_side_by_side(two_digits(gap=45)) == 1  # they touch
    speck = two_digits(gap=45)
    speck[10:16, 250:256] = 0
    assert num_side_by_side(speck) == 1
    plain = [each for each in digits() if each.style in ("plain", "thin")]
    assert {num_side_by_side(each.picture(22)) for each in plain} == {1}
    above = np.full((SIDE, SIDE), 255, np.uint8)
    above[50:70, 60:220] = above[150:170, 60:220] = 0  # an equals sign
    assert num_side_by_side(above) == 1


@pytest.fixture
def handwriting_run(
    make_run: MakeRun, tmp_path: Path, embedded_digits: tuple[torch.Tensor, torch.Tensor]
) -> Path:
    """A run on a folder of 300 embedded digits, as if they were in MNIST's form."""
    images, labels = embedded_digits
    root = tmp_path / "images"
    for index in range(300):
        for part in ("train", "test"):
            folder = root / part / str(labels[index].item())
            folder.mkdir(parents=True, exist_ok=True)
            pixels = (images[index, 0].numpy() * 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{index}.png")
    data = {"name": "image_folder", "root": str(root), "preparation": "mnist"}
    source = load_dataset(**data)
    folder = make_run(
        dataset={
            "name": "image_folder",
            "title": source.title,
            "checksum": source.checksum,
            "num_train": 270,
            "num_val": 30,
            "num_test": 300,
            "class_names": list(source.class_names),
            "in_channels": 1,
            "image_size": 28,
            "preparation": "mnist",
            "mean": list(source.mean),
            "std": list(source.std),
        }
    )
    record = json.loads((folder / "record.json").read_text())
    record["config"]["data"] = data
    (folder / "record.json").write_text(json.dumps(record))
    return folder


def test_novelty_comes_from_the_images_of_the_run(
    handwriting_run: Path, tmp_path: Path, client_for: Callable[..., Any]
) -> None:
    client = client_for(tmp_path)
    drawing = {"pixels": two_digits(gap=120).tolist()}

    def ask() -> Any:
        return client.post("/api/predict", json=drawing).json()

    wait_for(lambda: not ask()["novelty_pending"])
    answer = ask()
    found = answer["novelty"]
    assert found["unfamiliar"] == (found["distance"] > found["threshold"])
    assert answer["num_digits"] == 2
    assert answer["no_novelty"] is None
    blank = client.post("/api/predict", json={"pixels": [[255] * 28] * 28}).json()
    assert (blank["num_digits"], blank["novelty"]) == (None, None)


def test_run_that_was_trained_again_is_compared_with_its_new_features(
    handwriting_run: Path, tmp_path: Path
) -> None:
    (study,) = RunIndex(tmp_path).table().studies.values()
    references = References(Networks())
    before = references.wait(study)
    assert references.wait(study) is before
    weights = handwriting_run / "checkpoints" / "best.ckpt"
    state = torch.load(weights)
    for tensor in state["state_dict"].values():
        tensor *= -1
    torch.save(state, weights)
    after = references.wait(study)
    assert isinstance(before, Reference)
    assert isinstance(after, Reference)
    drawing = Prepared(np.eye(28, dtype=np.uint8)[None] * 255, blank=False)
    assert after.distance(drawing) != before.distance(drawing)


def test_terminal_says_what_the_page_says(
    handwriting_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def caption(picture: np.ndarray) -> str:
        Image.fromarray(picture).save(tmp_path / "drawing.png")
        return str(answer_table(tmp_path / "drawing.png", tmp_path).caption or "")

    strings = json.loads((STATIC / "strings.en.json").read_text())
    assert caption(two_digits(gap=120)) == strings["doubt.digits"]
    one = two_digits(gap=45)
    monkeypatch.setattr(Reference, "distance", lambda *_: 2.0)
    assert caption(one) == strings["doubt.no_digit"]
    monkeypatch.setattr(Reference, "distance", lambda *_: 0.0)
    assert caption(one) == ""
    (tmp_path / "images").rename(tmp_path / "gone")
    assert strings["novelty.no_images"] in caption(one)


def test_missing_images_are_reported_until_they_arrive(
    handwriting_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(novelty, "RETRY_S", 0.0)
    (tmp_path / "images").rename(tmp_path / "gone")
    (study,) = RunIndex(tmp_path).table().studies.values()
    references = References(Networks())
    wait_for(lambda: references.get(study) == "no_images")
    (tmp_path / "gone").rename(tmp_path / "images")
    wait_for(lambda: isinstance(references.get(study), Reference))


def test_embedded_digits_have_no_reference(make_run: MakeRun, tmp_path: Path) -> None:
    make_run()
    (study,) = RunIndex(tmp_path).table().studies.values()
    references = References(Networks())
    assert references.get(study) is None
    assert not references._kept
