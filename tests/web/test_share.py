"""A study's page without a server: its models, its preparation of drawings, what it refuses."""

import base64
import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from handwriting import digits, non_digits

from optlab.data.preprocessing import PEN_WIDTHS, prepare
from optlab.models import CNN
from optlab.web import browser_runtime, share
from optlab.web.browser_runtime import SCRIPT, VERSION, WASM, find_runtime
from optlab.web.inference import Networks, ask
from optlab.web.novelty import num_side_by_side
from optlab.web.run_index import RunIndex
from optlab.web.share import share_study

WEB = Path(share.__file__).parent
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    """A folder that looks like the unpacked package."""
    dist = tmp_path / "unpacked" / "package" / "dist"
    dist.mkdir(parents=True)
    (dist / SCRIPT).write_text(f"/*!\n * ONNX Runtime Web v{VERSION}\n */")
    (dist / WASM).write_bytes(b"\0asm")
    return tmp_path / "unpacked"


@pytest.mark.slow
def test_shared_models_answer_as_the_server_does(
    make_run: Any, tmp_path: Path, runtime: Path
) -> None:
    for seed in (0, 1):
        make_run(study="mine", optimizer="adam", seed=seed)
    make_run(study="mine", optimizer="SGD (mine)")
    study_dir, folder = tmp_path / "mine", tmp_path / "shared"
    (study_dir / "report").mkdir()
    (study_dir / "report" / "index.html").write_text("the report")
    shared = share_study(study_dir, folder, runtime)
    assert (shared.num_runs, shared.left_out) == (3, ())
    (study,) = RunIndex(tmp_path, only="mine").table().studies.values()
    pixels = np.random.default_rng(0).integers(0, 256, (1, 28, 28), np.uint8)
    answer = ask(Networks(), study.answering, pixels[None])
    assert answer is not None
    content = json.loads((folder / "share.json").read_text())
    entry = content["studies"]["mine"]
    assert (entry["detail"]["preparation"], entry["channels"]) == ("digits", 1)
    assert [each["optimizer"] for each in entry["answering"]] == ["SGD (mine)", "adam"]
    for said, shared_one in zip(answer.optimizers, entry["answering"], strict=True):
        session = onnxruntime.InferenceSession(folder / shared_one["file"])
        (logits,) = session.run(["logits"], {"pixels": pixels[None].astype(np.float32)})
        powers = np.exp(logits.astype(np.float64))
        expected = [each.probabilities[0] for each in said.models]
        np.testing.assert_allclose(powers / powers.sum(axis=1, keepdims=True), expected, atol=1e-6)
        assert [each["id"] for each in shared_one["models"]] == [m.model.id for m in said.models]
    # what the page asks besides, as the API says it
    assert content["models"]["default_study"] == "mine"
    assert sorted(content["details"]) == sorted(model.id for model in study.models)
    assert entry["detail"]["report_url"] == "report0.html"
    assert (folder / "report0.html").read_text() == "the report"
    # every file that the page names is there, from wherever it is served; none names this computer
    page = (folder / "index.html").read_text()
    linked = re.findall(r'(?:href|src)="(?![#?]|/docs)([^"]+)"', page)
    assert len(linked) >= 6
    assert [name for name in linked if not (folder / name).is_file()] == []
    for file in folder.rglob("*.*"):
        for path in (ROOT, tmp_path):
            assert str(path).encode() not in file.read_bytes(), file


def test_convolutions_with_color_channels_are_exported(make_run: Any, tmp_path: Path) -> None:
    dataset = {
        **{"name": "folder", "title": "Digits in color", "checksum": "0", "num_train": 8},
        **{"num_val": 8, "num_test": 8, "class_names": list("0123456789"), "in_channels": 3},
        **{"image_size": 28, "preparation": "mnist"},
        **{"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]},
    }
    make_run(study="color", dataset=dataset)
    (study,) = RunIndex(tmp_path).table().studies.values()
    (model,) = study.models
    network = Networks().get(model)
    assert isinstance(network, CNN)
    share.export_onnx({model: network}, tmp_path / "models" / "color.onnx")
    pixels = np.random.default_rng(0).integers(0, 256, (3, 28, 28), np.uint8)
    session = onnxruntime.InferenceSession(tmp_path / "models" / "color.onnx")
    (logits,) = session.run(["logits"], {"pixels": pixels[None].astype(np.float32)})
    answer = ask(Networks(), study.answering, pixels[None])
    assert answer is not None
    np.testing.assert_allclose(
        np.exp(logits[0]) / np.exp(logits[0]).sum(), answer.probabilities[0], atol=1e-5
    )


def test_what_cannot_be_shared_is_refused_before_a_model_is_exported(
    make_run: Any, tmp_path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(share, "export_onnx", None)
    dataset = json.loads((make_run(study="photos") / "record.json").read_text())["dataset"]
    shutil.rmtree(tmp_path / "photos")
    make_run(study="photos", dataset=dataset | {"preparation": "center_crop"})
    run = make_run(study="digits")
    with pytest.raises(ValueError, match=r"/photos .*\bphotographs\b.*\n\nhint: "):
        share_study(tmp_path / "photos", tmp_path / "shared", runtime)
    with pytest.raises(ValueError, match=r"/nowhere .*\n\nhint: .*data\.preparation mnist"):
        share_study(tmp_path / "nowhere", tmp_path / "shared", runtime)
    with pytest.raises(ValueError, match=rf"{runtime} .*\n\nhint: "):
        share_study(tmp_path / "digits", runtime, runtime)
    with pytest.raises(ValueError, match=rf"{re.escape(WASM)}.*\n\nhint: .*--runtime"):
        share_study(tmp_path / "digits", tmp_path / "shared", tmp_path)
    (run / "checkpoints" / "best.ckpt").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=rf"{run.name}: .*\bweights\b"):
        share_study(tmp_path / "digits", tmp_path / "shared", runtime)
    assert not (tmp_path / "shared").exists()


def test_runtime_comes_from_npm_only_as_it_was_published(
    tmp_path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPTLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match=f"npm.*\n\nhint: .*npm pack onnxruntime-web@{VERSION}"):
        find_runtime()
    package = io.BytesIO()
    with tarfile.open(fileobj=package, mode="w:gz") as archive:
        archive.add(runtime / "package", "package")

    def npm(command: list[str], *, cwd: str, **_: Any) -> None:
        assert command[1:] == ["pack", "--silent", f"onnxruntime-web@{VERSION}"]
        (Path(cwd) / "onnxruntime-web.tgz").write_bytes(package.getvalue())

    monkeypatch.setattr(shutil, "which", lambda name: name)
    monkeypatch.setattr(subprocess, "run", npm)
    with pytest.raises(ValueError, match="SHA-512"):
        find_runtime()
    assert not (tmp_path / "cache").exists()
    digest = base64.b64encode(hashlib.sha512(package.getvalue()).digest()).decode()
    monkeypatch.setattr(browser_runtime, "SHA512", digest)
    assert [file.name for file in find_runtime()] == [SCRIPT, WASM]
    monkeypatch.setattr(subprocess, "run", None)  # the cache has it
    assert find_runtime()[1].read_bytes() == b"\0asm"
    (runtime / "package" / "dist" / SCRIPT).write_text("/*!\n * ONNX Runtime Web v1.2.3\n */")
    with pytest.raises(ValueError, match=rf"/{re.escape(SCRIPT)} .*\bversion\b.*\n\nhint: "):
        find_runtime(runtime)


def test_page_without_a_server_has_every_function_of_the_one_with_a_server() -> None:
    def exports(file: Path) -> set[str]:
        found = re.findall(r"^export .*?(?:const|function) (\w+|\[.*?\])", file.read_text(), re.M)
        return {name for each in found for name in re.findall(r"\w+", each)}

    assert {"listModels", "predict", "NO_ANSWER"} <= exports(WEB / "static" / "api.js")
    assert exports(WEB / "static_share" / "api.js") == exports(WEB / "static" / "api.js")


PREPARE = """
import { readFileSync, writeFileSync } from "node:fs";
import { grayOf, numSideBySide, prepare } from "./preparation.mjs";
const file = readFileSync("pictures");
let start = 0;
const results = JSON.parse(readFileSync("sizes.json")).map(([height, width]) => {
  const data = file.subarray(start, (start += 4 * width * height));
  const picture = grayOf({ data, width, height });
  const [mnist, digits] = ["mnist", "digits"].map((way) => prepare(picture, way, 28));
  const parts = numSideBySide(picture);
  return { mnist: mnist && [...mnist], digits: digits && [...digits], parts };
});
writeFileSync("results.json", JSON.stringify(results));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="no node on the path")
def test_browser_prepares_pictures_as_the_server_does(tmp_path: Path) -> None:
    drawings = [*digits()[::13], *non_digits()[::29]]  # of every style
    pictures = [each.picture(PEN_WIDTHS["mnist"]) for each in drawings]
    own = digits()[5].picture(30)
    blank, speck = np.full((280, 280), 255, np.uint8), np.full((280, 280), 255, np.uint8)
    speck[100, 100:103] = 0
    tinted = np.stack([own // 2 + 90, own // 3 + 60, own // 4 + 20], axis=-1)
    small = np.zeros((28, 28), np.uint8)
    small[0:28, 9:15] = 200
    noise = np.random.default_rng(0).integers(0, 256, (61, 83, 3), np.uint8)
    two = np.concatenate([own, own], axis=1)[:, ::2]
    pictures += [blank, speck, 255 - own, tinted, own[40:230], small, noise, two]
    pictures = [each if each.ndim == 3 else np.stack([each] * 3, -1) for each in pictures]
    opaque = [np.dstack([each, np.full_like(each[..., :1], 255)]) for each in pictures]
    (tmp_path / "pictures").write_bytes(b"".join(each.tobytes() for each in opaque))
    (tmp_path / "sizes.json").write_text(json.dumps([each.shape[:2] for each in pictures]))
    (tmp_path / "preparation.mjs").write_bytes(
        (WEB / "static_share" / "preparation.js").read_bytes()
    )
    (tmp_path / "prepare.mjs").write_text(PREPARE)
    subprocess.run(["node", "prepare.mjs"], cwd=tmp_path, check=True, timeout=120)
    results = json.loads((tmp_path / "results.json").read_text())
    assert {result["parts"] for result in results} >= {1, 2}
    for picture, result in zip(pictures, results, strict=True):
        for way in PEN_WIDTHS:
            expected = prepare(picture, preparation=way, in_channels=1, image_size=28)
            assert (result[way] is None) == expected.blank
            if not expected.blank:
                assert result[way] == expected.pixels.ravel().tolist()
                assert result["parts"] == num_side_by_side(picture)
