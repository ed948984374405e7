"""The answer in the terminal."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageDraw
from rich.console import Console

from optlab.web.terminal import answer_table


def png_of_a_seven(ink: int = 0) -> bytes:
    image = Image.new("L", (280, 280), 255)
    strokes = [(80, 50), (200, 50), (150, 140), (120, 230)]
    ImageDraw.Draw(image).line(strokes, fill=ink, width=22, joint="curve")
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def test_table_has_a_line_for_each_optimizer_and_the_ensemble(trained_outputs: Path) -> None:
    file = io.StringIO()
    table = answer_table(png_of_a_seven(), "image/png", trained_outputs, "digits-mlp")
    Console(file=file, width=100).print(table)
    text = file.getvalue()
    for name in ("Adam", "AdamW", "RMSprop", "Adagrad", "SGD with momentum"):
        assert name in text
    (ensemble,) = [line for line in text.splitlines() if "Ensemble" in line]
    assert ensemble.split("│")[2].strip() == "7"


@pytest.mark.parametrize(
    ("image", "study", "sentence"),
    [
        (png_of_a_seven(ink=255), None, "The image is blank"),
        (b"junk", None, "not a readable PNG"),
        (png_of_a_seven(), "nothing", "There is no study called 'nothing'"),
    ],
)
def test_what_cannot_be_answered_is_said(
    trained_outputs: Path, image: bytes, study: str | None, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        answer_table(image, "image/png", trained_outputs, study)


def test_class_names_are_no_markup(make_run: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_run()
    record = json.loads((folder / "record.json").read_text())
    record["dataset"]["class_names"] = [f"[red] cat {number} [/x]" for number in range(10)]
    (folder / "record.json").write_text(json.dumps(record))
    file = io.StringIO()
    Console(file=file, width=200).print(answer_table(png_of_a_seven(), "image/png", tmp_path))
    assert "[red] cat " in file.getvalue()


def test_no_trained_model_is_said_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no trained model yet. Run: python train.py -m"):
        answer_table(png_of_a_seven(), "image/png", tmp_path)
