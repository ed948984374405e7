"""The answer in the terminal."""

import io
import json
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
from made_pictures import seven
from PIL import ExifTags, Image
from rich.console import Console

from optlab.data import DataUnavailableError
from optlab.web.selection import NotFound
from optlab.web.terminal import answer_table

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return a_seven(tmp_path / "seven.png")


def a_seven(path: Path, ink: int = 0) -> Path:
    Image.fromarray(seven(ink)).save(path)
    return path


@pytest.mark.parametrize("name", ["seven.png", "seven.JPG", "seven.webp"])
def test_table_has_a_line_for_each_optimizer_and_the_ensemble(
    trained_outputs: Path, tmp_path: Path, name: str
) -> None:
    file = io.StringIO()
    table = answer_table(a_seven(tmp_path / name), trained_outputs, "digits-mlp")
    Console(file=file, width=100).print(table)
    text = file.getvalue()
    for name in ("Adam", "AdamW", "RMSprop", "Adagrad", "SGD with momentum"):
        assert name in text
    (ensemble,) = [line for line in text.splitlines() if "Ensemble" in line]
    assert ensemble.split("│")[2].strip() == "7"


def test_picture_or_study_that_cannot_be_answered_is_an_error(
    trained_outputs: Path, picture: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"white\.png .*\bblank\b"):
        answer_table(a_seven(tmp_path / "white.png", ink=255), trained_outputs)
    with pytest.raises(NotFound, match="'nothing'"):
        answer_table(picture, trained_outputs, "nothing")
    (tmp_path / "junk.png").write_bytes(b"junk")
    with pytest.raises(DataUnavailableError, match=r"junk\.png .*\n\nhint: "):
        answer_table(tmp_path / "junk.png", trained_outputs)


def test_class_names_are_no_markup(
    make_run: Callable[..., Path], picture: Path, tmp_path: Path
) -> None:
    folder = make_run()
    record = json.loads((folder / "record.json").read_text())
    record["dataset"]["class_names"] = [f"[red] cat {number} [/x]" for number in range(10)]
    (folder / "record.json").write_text(json.dumps(record))
    file = io.StringIO()
    Console(file=file, width=200).print(answer_table(picture, tmp_path))
    assert "[red] cat " in file.getvalue()


def test_without_a_trained_model_the_command_is_shown(picture: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"python train\.py -m optimizer="):
        answer_table(picture, tmp_path)


def test_script_answers_every_file_that_it_can_read(
    trained_outputs: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    phone = Image.open(picture).convert("RGB").resize((1600, 1200)).rotate(90, expand=True)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # as a phone records a photo that it took upright
    small = phone.resize((30, 40))
    phone.save(tmp_path / "phone.jpg", "MPO", exif=exif, save_all=True, append_images=[small])
    (tmp_path / "junk.png").write_bytes(b"junk")
    script = runpy.run_path(str(ROOT / "scripts" / "predict.py"), run_name="predict")
    files = [str(tmp_path / name) for name in ("junk.png", "missing.png", "phone.jpg")]
    assert script["main"]([*files, str(picture), "--outputs", str(trained_outputs)]) == 1
    out, err = capsys.readouterr()
    assert "junk.png" in err
    assert "missing.png" in err
    answers = [line.split("│")[2].strip() for line in out.splitlines() if "Ensemble" in line]
    assert answers == ["7", "7"]
    assert script["main"]([str(picture), "--outputs", str(trained_outputs)]) == 0
