"""Covered parts, mixtures and feature maps against arithmetic and the networks themselves."""

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_pictures import png
from PIL import Image
from torch import nn

from optlab.models import load_network
from optlab.web import schemas
from optlab.web.inference import Networks, normalized
from optlab.web.look_inside import (
    Patches,
    answer_feature_maps,
    answer_morph,
    falls,
    mixtures,
    switches,
)
from optlab.web.novelty import References
from optlab.web.prediction import answer_question
from optlab.web.question import Upload
from optlab.web.run_index import RunIndex

MakeRun = Callable[..., Path]


def upload(pixels: np.ndarray) -> Upload:
    return Upload("image/png", png(pixels))


def stroke(*columns: int) -> np.ndarray:
    """One of the embedded digits' own size: a line from top to bottom, which stays as it is."""
    pixels = np.zeros((28, 28), np.uint8)
    pixels[:, list(columns)] = 255
    return pixels


class OnePixel(nn.Module):
    """The logit of class 4 is the pixel (3, 5), that of class 7 the pixel (3, 20)."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(len(images), 10)
        logits[:, 4], logits[:, 7] = images[:, 0, 3, 5], images[:, 0, 3, 20]
        return logits


@pytest.fixture
def one_pixel_run(make_run: MakeRun, tmp_path: Path) -> tuple[RunIndex, Networks]:
    make_run(optimizer="adam")
    return RunIndex(tmp_path), Networks(lambda *_: OnePixel())


@pytest.mark.parametrize("side", [*range(4, 70), 224, 512])
def test_patches_cover_every_pixel_and_end_at_the_edge(side: int) -> None:
    patches = Patches.of(side)
    picture = np.full((1, side, side), 9, np.uint8)
    covered = patches.cover(picture, "mnist")
    assert (covered.min(axis=0) == 0).all()
    assert all((each == 0).sum() == patches.side**2 for each in covered)
    assert len(covered) <= 121
    assert patches.cover(picture, "resize").max() == 128  # gray on photographs


def test_patch_and_stride_at_28_pixels() -> None:
    assert Patches.of(28) == Patches(7, (0, 3, 6, 9, 12, 15, 18, 21))


def test_occlusion_of_a_linear_model_is_arithmetic(
    one_pixel_run: tuple[RunIndex, Networks],
) -> None:
    index, networks = one_pixel_run
    question = schemas.Question(occlusion=True)
    drawn = upload(stroke(5))
    answer = answer_question(index, networks, References(networks), question, drawn)
    (adam,) = answer.optimizers
    # Normalized with mean 0.3052 and deviation 0.3619, as conftest.py has them
    inked, bare = np.exp((1 - 0.3052) / 0.3619), np.exp(-0.3052 / 0.3619)
    plain, covered = inked / (inked + bare + 8), bare / (bare + bare + 8)
    assert adam.probabilities[4] == pytest.approx(plain, rel=1e-5)
    assert adam.occlusion is not None
    expected = np.zeros((8, 8))
    expected[:2, :2] = plain - covered  # offsets 0 and 3 reach row 3 and column 5
    np.testing.assert_allclose(adam.occlusion.falls, expected, atol=1e-4)
    assert (adam.occlusion.patch, adam.occlusion.offsets) == (7, list(range(0, 22, 3)))
    assert adam.occlusion.worst == 0  # the eight with logit 0 come first
    again = answer_question(index, networks, References(networks), schemas.Question(), drawn)
    assert again.optimizers[0].occlusion is None


def test_falls_are_negative_where_the_answer_becomes_more_probable() -> None:
    probabilities = np.array([[0.6, 0.4], [0.5, 0.5], [0.7, 0.3], [0.1, 0.9], [0.6, 0.4]])
    by_patch, worst = falls(probabilities)
    np.testing.assert_allclose(by_patch, [[0.1, -0.1], [0.5, 0.0]])
    assert worst == 1


def test_switch_of_a_linear_model_is_arithmetic(one_pixel_run: tuple[RunIndex, Networks]) -> None:
    index, networks = one_pixel_run
    question = schemas.MorphQuestion(num_pictures=4)
    start, end = stroke(5), stroke(20)
    start[3, 5] = 150  # against 255 at the end: 150 (1 - t) = 255 t
    morph = answer_morph(index, networks, question, upload(start), upload(end))
    (adam,) = morph.optimizers
    assert adam.top == [4, 4, 7, 7]
    (switch,) = adam.switches
    assert switch.top == 7
    assert switch.at == pytest.approx(150 / (150 + 255), rel=1e-4)


def test_every_switch_is_found_even_where_probabilities_are_zero() -> None:
    logits = np.array([[9.0, 0, 0], [3, 0, 0], [0, 1, 0], [0, 0, 5]])
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    # 3 - 4 s = 0 at 3/4 of the second third, 1 - 6 s = 0 at 1/6 of the last
    expected = [((1 + 3 / 4) / 3, 1), ((2 + 1 / 6) / 3, 2)]
    np.testing.assert_allclose(switches(probabilities), expected)
    ((at, top),) = switches(np.array([[1.0, 0.0], [0.0, 1.0]]))
    assert (at, top) == (pytest.approx(0.5), 1)
    assert switches(np.array([[0.5, 0.5], [0.4, 0.6]])) == [(0.0, 1)]


def test_mixtures_are_evenly_spaced() -> None:
    start, end = np.full((1, 2, 2), 10, np.uint8), np.full((1, 2, 2), 250, np.uint8)
    assert mixtures(start, end, 4)[:, 0, 0, 0].tolist() == pytest.approx([10, 90, 170, 250])


def test_ends_of_the_way_have_the_plain_answers(client: Any) -> None:
    uploads = {"file": upload(stroke(13, 14)), "target": upload(255 - stroke(*range(5)))}
    files = {name: (name, each.body, each.content_type) for name, each in uploads.items()}
    morph = client.post("/api/morph?num_pictures=5", files=files).json()
    for index, name in ((0, "file"), (-1, "target")):
        kind = {"content-type": "image/png"}
        plain = client.post("/api/predict", content=uploads[name].body, headers=kind).json()
        assert morph["start" if index == 0 else "end"] == plain["seen"]
        assert len(morph["optimizers"]) == 5
        for said, expected in zip(morph["optimizers"], plain["optimizers"], strict=True):
            assert said["optimizer"] == expected["optimizer"]
            assert said["top"][index] == expected["top"]
            top = expected["probabilities"][expected["top"]]
            assert said["probability"][index] == pytest.approx(top, abs=1e-6)


def test_blank_pictures_and_missing_files_are_refused(client: Any) -> None:
    files = {name: ("a.png", png(stroke(5)), "image/png") for name in ("file", "target")}
    assert client.post("/api/morph", files=files).status_code == 200
    blank = {"target": ("a.png", png(np.full((28, 28), 255)), "image/png")}
    for wrong, word in ((files | blank, "blank"), ({"file": files["file"]}, "target")):
        refused = client.post("/api/morph", files=wrong)
        assert (refused.status_code, word in refused.json()["detail"]) == (422, True)
    assert client.post("/api/morph", content=b"").status_code == 422
    model = client.get("/api/models").json()["models"][0]["id"]
    address = f"/api/models/{model}/feature_maps"
    blank_upload = client.post(address, files={"file": blank["target"]})
    assert (blank_upload.status_code, "blank" in blank_upload.json()["detail"]) == (422, True)
    assert client.post("/api/models/none/feature_maps", files=blank).status_code == 422
    asked = client.post("/api/models/none/feature_maps", files={"file": files["file"]})
    assert asked.status_code == 404


def test_feature_maps_are_what_the_network_computes(make_run: MakeRun, tmp_path: Path) -> None:
    names = [f"class {index}" for index in range(10)]
    facts = {"name": "photos", "title": "Photos", "class_names": names, "preparation": "resize"}
    shape = {"in_channels": 3, "image_size": 160, "mean": [0.5] * 3, "std": [0.25] * 3}
    folder = make_run(dataset=facts | shape)
    index, networks = RunIndex(tmp_path), Networks()
    ((model, _),) = index.table().models.values()
    picture = np.random.default_rng(0).integers(0, 256, (160, 160, 3), np.uint8)
    answer = answer_feature_maps(index, networks, model.id, None, upload(picture))
    image = normalized(model, torch.from_numpy(picture).permute(2, 0, 1))
    convolution, activation, *_ = load_network(folder).features
    first = activation(convolution(image[None]))
    second = load_network(folder).features[:5](image[None])
    assert [(each.num_maps, each.height, each.width) for each in answer.layers] == [
        tuple(first.shape[1:]),
        tuple(second.shape[1:]),
    ]
    assert [len(each.maps) for each in answer.layers] == [16, 16]  # of 16 and 32
    means = nn.functional.adaptive_avg_pool2d(first[0].detach(), 64)
    assert (answer.layers[0].low, answer.layers[0].high) == (0, pytest.approx(float(means.max())))
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer.layers[0].maps[3]))))
    np.testing.assert_allclose(shown, means[3].numpy() / means.max().item() * 255, atol=0.6)
    network = networks.get(model)
    assert not any(each._forward_hooks for each in network.modules())


def test_network_without_convolutions_has_no_feature_maps(
    make_run: MakeRun, tmp_path: Path
) -> None:
    make_run()
    index = RunIndex(tmp_path)
    (model_id,) = index.table().models
    answer = answer_feature_maps(index, Networks(), model_id, None, upload(stroke(13)))
    assert answer.layers == []
