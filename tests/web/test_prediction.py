"""What networks are given by the API and the terminal, against what training gave them."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from optlab.data import ImageDataModule
from optlab.training.describe import dataset_facts
from optlab.web import schemas, terminal
from optlab.web.inference import Networks
from optlab.web.novelty import References
from optlab.web.prediction import answer_question
from optlab.web.question import Upload
from optlab.web.run_index import RunIndex

MakeRun = Callable[..., Path]


class Recorder(torch.nn.Module):
    """Keeps the images that it is asked about."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.seen: list[torch.Tensor] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(images)
        return torch.zeros(len(images), self.num_classes)


def pictures(shape: tuple[int, ...]) -> dict[str, tuple[Image.Image, dict[str, Any]]]:
    """Pictures as people have them, by file name, each with options for saving it."""
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, shape, np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    ink = np.zeros((*shape[:2], 4), np.uint8)  # black on transparent paper
    ink[2:9, 4:6, 3] = 255
    alpha = Image.fromarray(ink)
    return {
        "a.png": (noise, {}),
        "b.jpg": (noise, {"exif": exif}),
        "c.png": (alpha if len(shape) == 3 else alpha.convert("LA"), {}),
        "d.gif": (noise.convert("L"), {"transparency": 7}),
        "e.tif": (noise, {"exif": exif}),
        **({"f.webp": (noise, {"exif": exif})} if len(shape) == 3 else {}),  # has color only
        "g.bmp": (noise.convert("L"), {}),
        "h.pgm": (noise.convert("L"), {}),
        "i.png": (Image.new("L", noise.size, 90), {}),  # of one even color
    }


@pytest.fixture
def folder_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes an image folder whose classes are equal; returns the folder of test/x."""
    monkeypatch.setenv("OPTLAB_CACHE", str(tmp_path / "cache"))

    def write(shape: tuple[int, ...]) -> Path:
        for place in ("train/x", "train/y", "test/x", "test/y"):
            (tmp_path / "images" / place).mkdir(parents=True)
            for name, (image, options) in pictures(shape).items():
                image.save(tmp_path / "images" / place / name, **options)
        return tmp_path / "images" / "test" / "x"

    return write


def trained_and_run(
    make_run: MakeRun, root: Path, **options: Any
) -> tuple[torch.Tensor, Path, Recorder]:
    """Test images as training normalizes them, the outputs of a run on them, its network."""
    datamodule = ImageDataModule("image_folder", str(root), val_fraction=0.2, **options)
    datamodule.setup()
    facts = dataset_facts(OmegaConf.create({"data": {}}), datamodule)
    run = make_run(dataset=asdict(facts), optimizer=options.get("preparation") or "adam")
    ((images, _),) = datamodule.test_dataloader()
    return images, run.parent.parent, Recorder(datamodule.num_classes)


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((28, 28), {}),
        ((28, 28), {"normalize": "half"}),
        ((28, 28, 3), {}),
        ((40, 60), {"image_size": 28}),  # not square, and larger than the network's side
        ((40, 60, 3), {"image_size": 28, "normalize": {"mean": [0.1] * 3, "std": [0.3] * 3}}),
    ],
    ids=["gray", "gray, half", "color", "gray, wide", "color, wide"],
)
def test_network_is_given_the_numbers_that_training_made_of_the_file(
    make_run: MakeRun,
    folder_of: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    shape: tuple[int, ...],
    options: dict[str, Any],
) -> None:
    folder = folder_of(shape)
    images, outputs, net = trained_and_run(make_run, folder.parents[1], **options)
    monkeypatch.setattr(terminal, "Networks", lambda: Networks(lambda *_: net))
    store = Networks(lambda *_: net)
    kinds = {"jpg": "jpeg", "tif": "tiff", "pgm": "ppm"}
    files = sorted(folder.iterdir())
    assert len(images) == 2 * len(files) >= 16
    for file, expected in zip(files, images, strict=False):
        kind = f"image/{kinds.get(file.suffix[1:], file.suffix[1:])}"
        upload = Upload(kind, file.read_bytes())
        answer = answer_question(
            RunIndex(outputs), store, References(store), schemas.Question(), upload
        )
        assert not answer.blank
        assert torch.equal(net.seen[-1][0], expected), file
        terminal.answer_table(file, outputs)
        assert torch.equal(net.seen[-1][0], expected), file


def test_page_of_an_image_folder_takes_files_and_of_handwriting_drawings(
    make_run: MakeRun, folder_of: Callable[..., Path]
) -> None:
    root = folder_of((28, 28)).parents[1]
    for preparation, draws in (("resize", False), ("mnist", True)):
        _, outputs, _ = trained_and_run(make_run, root, preparation=preparation)
        (study,) = [
            study
            for study in RunIndex(outputs).table().studies.values()
            if study.input.preparation == preparation
        ]
        assert study.reads_drawings == draws
