"""A real browser on the real page: draws, reads the answers, uses the keyboard."""

import base64
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from optlab.report import make_report
from optlab.runs.folder import RunFolder
from optlab.web.app import STATIC
from optlab.web.browser_runtime import find_runtime
from optlab.web.share import share_study

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ROOT = Path(__file__).resolve().parents[2]
STRINGS = json.loads((STATIC / "strings.en.json").read_text())

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path"),
]

STROKES = {  # in fractions of the canvas
    "0": [[(0.5, 0.15), (0.33, 0.3), (0.3, 0.6), (0.42, 0.84), (0.6, 0.82), (0.7, 0.6),
           (0.68, 0.3), (0.5, 0.15)]],
    "1": [[(0.52, 0.15), (0.5, 0.5), (0.48, 0.86)]],
    "7": [[(0.28, 0.2), (0.74, 0.2), (0.6, 0.5), (0.45, 0.85)]],
}  # fmt: skip


def serve(outputs: Path, port: int = 0) -> tuple[subprocess.Popen[bytes], str]:
    """A server and its address, on a free port by default."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = port or free.getsockname()[1]
    python = os.environ.get("OPTLAB_SERVER_PYTHON", sys.executable)
    command = [python, "scripts/serve.py", "--outputs", str(outputs), "--port", str(port)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen(command, cwd=ROOT, env=environment)
    url = f"http://127.0.0.1:{port}"
    for _ in range(1200):
        try:
            with urllib.request.urlopen(f"{url}/api/health", timeout=1):
                return server, url
        except OSError:
            assert server.poll() is None, "the server ended"
            time.sleep(0.1)
    server.terminate()
    raise AssertionError("the server did not start within two minutes")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield chromium
        chromium.close()


# Studies next to digits-mlp
OTHER, SEEDS, DIVERGED, PICTURES = "another", "seeds", "diverged", "pictures"


@pytest.fixture(scope="module")
def outputs(trained_outputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`digits-mlp`, the newest, and studies in which something is different or missing."""
    outputs: Path = tmp_path_factory.mktemp("browser")
    trained = trained_outputs / "digits-mlp"
    for record in sorted(shutil.copytree(trained, outputs / OTHER).glob("*/record.json")):
        edit_record(record, study=OTHER, test={w: {"accuracy": 0.5} for w in ("best", "last")})
    (outputs / OTHER / "study.json").write_text(json.dumps({"title": "Another"}))
    for seed in range(41):
        folder = shutil.copytree(next(trained.glob("adam-*")), outputs / SEEDS / f"adam-seed{seed}")
        best = {"accuracy": 0.9 + seed / 1000, "epoch": 1, "step": 18}
        validation = {"best": best, "last": {"accuracy": 0.9}}
        name = f"adam-seed{seed}"
        edit_record(
            folder / "record.json", study=SEEDS, seed=seed, run_name=name, validation=validation
        )
    (outputs / SEEDS / "adam-seed0" / "checkpoints" / "best.ckpt").write_bytes(b"damaged")
    (outputs / SEEDS / "adam-seed1" / "record.json").write_text("{")
    (outputs / SEEDS / "adam-seed2" / "record.json").unlink()
    shutil.copytree(next(trained.glob("sgd-*")), outputs / DIVERGED / "sgd")
    edit_record(outputs / DIVERGED / "sgd" / "record.json", study=DIVERGED, status="diverged")
    folder = shutil.copytree(next(trained.glob("adagrad-*")), outputs / PICTURES / "adagrad")
    dataset = json.loads((folder / "record.json").read_text())["dataset"]
    edit_record(
        folder / "record.json", study=PICTURES, dataset=dataset | {"preparation": "center_crop"}
    )
    shutil.copytree(trained, outputs / "digits-mlp")
    (outputs / "digits-mlp" / "study.json").touch()
    return outputs


def edit_record(file: Path, **values: Any) -> None:
    record = json.loads(file.read_text()) | values
    record["config"] |= {"seed": record["seed"]}
    record["hash"] = f"{record['seed']:08x}"
    file.write_text(json.dumps(record))


@pytest.fixture(scope="module")
def url(outputs: Path) -> Iterator[str]:
    server, url = serve(outputs)
    yield url
    server.terminate()
    server.wait(timeout=10)


def complaints_of(page: Any) -> list[str]:
    """Errors in the page's console and scripts from now on."""
    found: list[str] = []
    page.on("console", lambda said: said.type == "error" and found.append(said.text))
    page.on("pageerror", lambda error: found.append(str(error)))
    return found


@pytest.fixture
def page(browser: Any, url: str) -> Iterator[Any]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    complaints = complaints_of(page)
    page.goto(url)
    page.wait_for_selector("#voices article")
    yield page
    close(page)
    assert complaints == []


@contextmanager
def quiet_page(browser: Any, url: str, **options: Any) -> Iterator[Any]:
    """A page whose console may name failed requests."""
    page = browser.new_page(viewport={"width": 1280, "height": 900}, **options)
    page.goto(url)
    page.wait_for_selector("#voices article")
    yield page
    close(page)


def close(page: Any) -> None:
    """Close a page after the answers that a test changes on their way have arrived.

    A handler that is cut off in the middle fails, in whatever test runs next.
    """
    page.unroute_all(behavior="wait")
    page.close()


def draw(page: Any, strokes: list[list[tuple[float, float]]]) -> None:
    box = page.locator("#pad").bounding_box()

    def at(point: tuple[float, float]) -> tuple[float, float]:
        return box["x"] + point[0] * box["width"], box["y"] + point[1] * box["height"]

    for points in strokes:
        page.mouse.move(*at(points[0]))
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*at(point), steps=5)
        page.mouse.up()


def says(digit: str) -> str:
    """The condition that the ensemble reads a digit; ? without a drawing."""
    return f"document.getElementById('big-name').textContent === '{digit}'"


def shows(element: str, key: str, **values: object) -> str:
    """The condition that an element shows a string of the page's catalog."""
    string = json.dumps(STRINGS[key].format(**values))
    return f"document.getElementById('{element}').textContent.includes({string})"


def draw_digit(page: Any, digit: str) -> None:
    """Draw a digit and wait until it is recognized."""
    draw(page, STROKES[digit])
    wait_until(page, says(digit))


def wait_until(page: Any, condition: str, timeout_s: float = 10) -> None:
    """Poll from here: the page's own security policy forbids it to evaluate text."""
    deadline_s = time.monotonic() + timeout_s
    while not page.evaluate(condition):
        assert time.monotonic() < deadline_s, f"in vain: {condition}"
        page.wait_for_timeout(20)


def settled(page: Any) -> str:
    """The ensemble's answer once it was said aloud."""
    wait_until(page, "document.getElementById('live').textContent.includes('%')")
    return str(page.inner_text("#big-name"))


@pytest.mark.parametrize("digit", list(STROKES))
def test_drawn_digit_is_answered_by_every_optimizer(page: Any, digit: str) -> None:
    draw_digit(page, digit)
    cards = page.locator("#voices article")
    assert cards.count() == 5
    assert sorted(cards.locator("h3").all_inner_texts()) == [
        "Adagrad", "Adam", "AdamW", "RMSprop", "SGD with momentum",
    ]  # fmt: skip
    for card in cards.all():
        assert card.locator(".bar").count() == 10
        top = card.locator(".voice-top").inner_text()
        assert top in "0123456789"
        assert STRINGS["card.accuracy"] in card.locator(".facts").inner_text()
        assert re.search(rf"\b{top}\b.*\d", card.locator(".confusion p").inner_text())
    assert page.locator("#votes .dots i").count() == 5  # everybody votes
    assert "5" in page.inner_text("#verdict")


def test_doubt_replaces_the_agreement(page: Any) -> None:
    draw(page, [[(0.25, 0.2), (0.25, 0.8)], [(0.7, 0.2), (0.7, 0.8)]])
    wait_until(page, shows("verdict", "doubt.digits"))
    page.click("#clear")

    def far_from_all_images(route: Any) -> None:  # these models have no images to compare with
        answer = route.fetch()
        novelty = {"distance": 0.9, "threshold": 0.5, "unfamiliar": True}
        route.fulfill(response=answer, json=answer.json() | {"novelty": novelty})

    page.route("**/api/predict*", far_from_all_images)
    draw(page, STROKES["0"])
    wait_until(page, shows("verdict", "doubt.no_digit"))
    assert page.get_attribute("#verdict", "class") == "verdict split"
    wait_until(page, shows("live", "doubt.no_digit"))


def test_blank_canvas_undo_and_clear(page: Any) -> None:
    wait_until(page, shows("sentence", "answer.empty"))
    draw_digit(page, "1")
    page.keyboard.press("Control+z")
    wait_until(page, says("?"))
    draw_digit(page, "7")
    page.click("#clear")
    wait_until(page, shows("sentence", "answer.empty"))
    assert page.inner_text("#verdict") == ""


def test_keyboard_draws_examples_and_lines(page: Any) -> None:
    page.focus("#pad")
    page.keyboard.press("0")
    wait_until(page, says("0"))
    page.keyboard.press("Delete")
    wait_until(page, says("?"))
    page.keyboard.press("Space")
    for _ in range(16):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    wait_until(page, "document.getElementById('big-name').textContent !== '?'")
    name = settled(page)
    assert name in "0123456789"
    assert f": {name}, " in page.inner_text("#live")


def test_chosen_optimizer_is_the_only_one_that_is_asked(page: Any) -> None:
    chips = page.locator("#optimizer-chips label")
    assert chips.first.inner_text() == STRINGS["who.all"]
    assert chips.count() == 6
    draw(page, STROKES["7"])
    chips.filter(has_text="RMSprop").click()
    wait_until(page, "document.querySelectorAll('#voices article').length === 1")
    assert page.evaluate(shows("ensemble-title", "answer.optimizer", name="RMSprop"))
    assert page.inner_text("#voices h3") == "rmsprop-seed0"


def test_saliency_is_laid_over_what_the_model_sees(page: Any) -> None:
    draw_digit(page, "7")
    colors = """() => {
        const canvas = document.getElementById('seen');
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        let colored = 0;
        for (let i = 0; i < data.length; i += 4) colored += data[i] !== data[i + 2];
        return colored;
    }"""
    assert page.evaluate(colors) == 0
    page.check("#saliency", force=True)
    wait_until(page, f"({colors})() > 50")
    assert page.locator(".why:visible").count() == 5


def test_picture_can_be_opened(page: Any, tmp_path: Path) -> None:
    image = Image.new("RGB", (600, 400), "black")
    strokes = [(180, 80), (370, 80), (300, 200), (250, 340)]
    ImageDraw.Draw(image).line(strokes, fill="yellow", width=34)
    image.save(tmp_path / "seven.png")
    page.evaluate("""() => {
        const send = window.fetch;
        window.fetch = (url, options) => {
            if (options.body) window.sent = [options.body.type, options.body.size];
            return send(url, options);
        };
    }""")
    page.set_input_files("#file", tmp_path / "seven.png")
    wait_until(page, says("7"))
    num_bytes = (tmp_path / "seven.png").stat().st_size
    assert page.evaluate("window.sent") == ["image/png", num_bytes]  # the file itself
    image.resize((3000, 2000)).save(tmp_path / "large.jpg")  # more than the server reads
    page.set_input_files("#file", tmp_path / "large.jpg")
    wait_until(page, f"window.sent[1] !== {num_bytes}")
    assert page.evaluate("window.sent[0]") == "image/png"  # made smaller by the browser
    wait_until(page, says("7"))
    (tmp_path / "fake.png").write_text("no picture")
    page.set_input_files("#file", tmp_path / "fake.png")
    wait_until(page, shows("toast", "picture.unreadable"))


def test_study_has_curves_a_table_and_its_report(page: Any) -> None:
    page.wait_for_selector("#chart canvas")
    names = page.locator("#chart .curve-lines button").all_text_contents()
    assert sorted(names) == ["Adagrad", "Adam", "AdamW", "RMSprop", "SGD with momentum"]
    assert page.locator("#table tbody tr").count() == 5
    # The one that diverged, at another rate
    assert page.evaluate(shows("table", "table.other", count=1))
    try_curves(page)
    with page.context.expect_page() as opened:
        page.click("#report")
    assert opened.value.inner_text("h1") == "The report"


def keep_answers(outputs: Path) -> None:
    """Only Adam of the study OTHER gets the first of two test images wrong, which it keeps."""
    labels = np.array([7, 7])
    for folder in (outputs / OTHER).glob("*"):
        if folder.is_dir():
            answers = np.array([1, 7]) if folder.name.startswith("adam-") else labels
            right = np.eye(10, dtype=np.float16)[answers]
            np.savez(RunFolder(folder).test_probabilities, labels=labels, last=right, best=right)
            drawing = Image.new("L", (28, 28))
            ImageDraw.Draw(drawing).line([(7, 6), (20, 6), (13, 23)], fill=255, width=3)
            np.savez(RunFolder(folder).test_mistakes, indices=[0], images=np.array(drawing)[None])


def test_click_on_an_image_of_the_gallery_puts_it_on_the_canvas(
    browser: Any, outputs: Path, url: str
) -> None:
    keep_answers(outputs)
    with quiet_page(browser, f"{url}/?study={OTHER}") as page:
        page.wait_for_selector("#gallery h3")
        title = STRINGS["gallery.wrong"].format(name="Adam")
        assert page.inner_text("#gallery h3").startswith(title)
        page.click(".gallery-images button")
        wait_until(page, says("7"))
        assert page.evaluate("document.activeElement.id") == "pad"
        page.select_option("#study", "digits-mlp")  # whose runs kept no answers
        wait_until(page, "document.getElementById('gallery').hidden")


def try_curves(page: Any) -> None:
    """Choose, hide and read lines; the legend names the values under the pointer."""
    page.select_option(".curve-controls select >> nth=0", "validation accuracy")
    page.select_option(".curve-controls select >> nth=1", "seconds")
    label = page.get_attribute(".curve-plot", "aria-label")
    assert re.search(r"\bvalidation accuracy\b.*\bseconds\b", label)
    page.focus(".curve-lines button >> nth=0")
    page.keyboard.press("Enter")
    assert page.get_attribute(".curve-lines button >> nth=0", "aria-pressed") == "false"
    assert page.evaluate("document.activeElement.ariaPressed") == "false"  # it keeps the focus
    page.locator(".curve-plot").scroll_into_view_if_needed()
    page.hover(".u-over")
    values = page.locator(".curve-value")
    wait_until(page, "document.querySelectorAll('.curve-value:not(:empty)').length === 4")
    assert values.nth(0).text_content() == ""
    assert all(text.endswith(" %") for text in values.all_text_contents()[1:])


def test_report_without_its_folder_has_curves_and_prints_pictures(
    browser: Any, five_optimizers: Any, tmp_path: Path
) -> None:
    report = shutil.copy(make_report(five_optimizers.folder), tmp_path)  # as mailed: one file
    page = browser.new_page()
    complaints = complaints_of(page)
    page.goto(f"file://{report}")
    page.wait_for_selector(".curves canvas")
    try_curves(page)
    image = page.locator(".has-curves img").first
    assert not image.is_visible()
    with page.expect_download() as found:
        page.click("text=loss_comparison.svg")
    assert b"</svg>" in Path(found.value.path()).read_bytes()
    page.emulate_media(media="print")
    assert image.is_visible()
    assert not page.locator(".curves").is_visible()
    page.close()
    assert complaints == []


def test_cards_show_the_numbers_of_the_chosen_study_as_it_grows(page: Any, outputs: Path) -> None:
    accuracies = "[...document.querySelectorAll('.facts dd:first-of-type')].map(e => e.textContent)"
    draw_digit(page, "7")
    assert "50.0 %" not in page.inner_text("#voices")
    page.select_option("#study", OTHER)
    wait_until(page, "document.querySelectorAll('#voices .facts').length === 5")
    wait_until(page, "document.getElementById('voices').innerText.split('50.0 %').length === 6")
    wait_until(page, "document.getElementById('table').innerText.split('50.00 %').length === 6")
    (adam,) = (outputs / OTHER).glob("adam-*/record.json")
    edit_record(adam, test={weights: {"accuracy": 0.25} for weights in ("best", "last")})
    wait_until(page, "document.getElementById('voices').innerText.includes('25.0 %')")
    assert page.evaluate(accuracies), "the cards have facts"


def test_failed_question_takes_the_old_answer_away(browser: Any, page: Any, url: str) -> None:
    draw_digit(page, "7")
    page.select_option("#study", SEEDS)
    wait_until(page, "document.getElementById('left-out').innerText.includes('adam-seed0')")
    page.locator("#optimizer-chips label").filter(has_text="Adam").click()
    damaged = page.locator("#run option").filter(has_text="adam-seed0 ").get_attribute("value")
    with quiet_page(browser, f"{url}?study={SEEDS}&optimizer=adam&run={damaged}") as other:
        draw(other, STROKES["7"])
        wait_until(other, "document.getElementById('sentence').innerText.includes('adam-seed0')")
        assert other.inner_text("#big-name") == "?"
        other.select_option("#run", "")
        wait_until(other, says("7"))
        other.route("**/api/predict*", lambda route: route.abort())
        draw(other, STROKES["1"])
        wait_until(other, says("?"))
        assert other.inner_text("#verdict") == ""
        other.unroute("**/api/predict*")  # the page asks again when the server is back
        wait_until(other, "document.getElementById('big-name').textContent !== '?'")


def test_every_change_of_the_canvas_can_be_undone(page: Any, tmp_path: Path) -> None:
    draw_digit(page, "7")
    page.click("#clear")
    wait_until(page, says("?"))
    page.click("#undo")
    wait_until(page, says("7"))
    page.focus("#pad")
    page.keyboard.press("0")
    wait_until(page, says("0"))
    page.keyboard.press("Control+z")
    wait_until(page, says("7"))
    Image.new("RGB", (60, 60), "#224466").save(tmp_path / "blue.png")
    page.set_input_files("#file", tmp_path / "blue.png")
    wait_until(page, says("?"))
    draw(page, STROKES["1"])  # on the picture, which stays, in an ink that can be seen on it
    wait_until(page, says("1"))
    pixel = """(x, y) => {
        const pad = document.getElementById('pad');
        const at = [x * pad.width, y * pad.height].map(Math.round);
        return [...pad.getContext('2d').getImageData(...at, 1, 1).data.slice(0, 3)];
    }"""
    assert page.evaluate(f"({pixel})(0.1, 0.5)") == [0x22, 0x44, 0x66]
    assert page.evaluate(f"({pixel})(0.5, 0.5)") == [255, 255, 255]
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    wait_until(page, says("7"))
    page.select_option("#study", PICTURES)
    page.wait_for_selector("#example", state="hidden")
    wait_until(page, says("?"))
    page.select_option("#study", "digits-mlp")
    wait_until(page, says("7"))


def test_slider_answers_with_the_weights_of_a_moment_and_moves_the_markers(page: Any) -> None:
    text = "document.getElementById('moment').getAttribute('aria-valuetext')"
    title = "document.getElementById('ensemble-title').textContent"
    who = STRINGS["answer.ensemble"]
    at_the_end = f"{title} === {json.dumps(who)}"
    before_training = shows("ensemble-title", "answer.before", who=who)
    places = "[...document.querySelectorAll('.spark .marker')].map((e) => e.getAttribute('d'))"
    page.focus("#pad")
    page.keyboard.press("7")  # at once, so that there is one answer
    settled(page)
    wait_until(page, f"({places}).length === 5")
    assert page.evaluate(text) == STRINGS["moment.end"]
    at_end = page.evaluate(places), page.inner_text("#big-sure")
    page.focus("#moment")
    page.keyboard.press("Home")
    wait_until(page, before_training)
    assert page.evaluate(text) == STRINGS["moment.start"]
    bars = "[...document.querySelectorAll('.bars')].map((e) => e.ariaLabel.split(': ')[1])"
    assert len(set(page.evaluate(bars))) == 1  # all began at the same weights
    assert all(d.startswith("M1 ") for d in page.evaluate(places))
    assert page.locator("#voices .confusion").first.is_hidden()
    page.keyboard.press("ArrowRight")
    wait_until(page, f"/\\b23\\b/.test({title})")
    page.keyboard.press("End")
    wait_until(page, at_the_end)
    assert (page.evaluate(places), page.inner_text("#big-sure")) == at_end
    page.click("#play")  # from the start, because it was at the end
    wait_until(page, before_training)
    wait_until(page, at_the_end)
    wait_until(page, shows("play", "play"))
    page.focus("#moment")
    page.keyboard.press("Home")
    page.select_option("#study", OTHER)
    wait_until(page, f"{text} === {json.dumps(STRINGS['moment.end'])}")


def test_look_inside_is_asked_for_when_it_is_open_and_follows_the_drawing(
    page: Any, tmp_path: Path
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    draw(page, STROKES["7"])
    settled(page)
    page.wait_for_timeout(500)
    assert not [url for url in asked if "occlusion" in url or "morph" in url or "maps" in url]
    page.click("#inside summary")
    wait_until(page, "document.querySelectorAll('#parts figure').length === 5")
    warm = """() => [...document.querySelectorAll('#parts canvas')].map((canvas) => {
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        return data.filter((level, i) => i % 4 === 0 && level > data[i + 2] + 40).length;
    })"""
    assert min(page.evaluate(warm)) > 0
    labels = page.locator("#parts canvas")
    assert all(each.get_attribute("aria-label") for each in labels.all())
    wait_until(page, "!document.getElementById('maps-none').hidden")  # they are MLPs
    page.evaluate("() => { Math.random = () => 0.5; }")  # of the example's hand
    page.select_option("#way-target", "1")
    lanes = "[...document.querySelectorAll('#ways li')].map((each) => each.innerText)"
    bars = "[...document.querySelectorAll('.way')].map((each) => each.ariaLabel)"
    switched = r"({}).filter((label) => /\b{}\b\D+\d+ %/.test(label)).length >= 3"
    # Answers that take long wait for one another
    wait_until(page, switched.format(bars, 1), timeout_s=30)
    page.focus("#way-at")
    page.keyboard.press("Home")
    assert page.inner_text("#way-text").startswith("100 %")
    assert all("7, " in lane for lane in page.evaluate(lanes))
    page.keyboard.press("End")
    assert sum("1, " in lane for lane in page.evaluate(lanes)) >= 3
    png = tmp_path / "map.png"
    Image.new("L", (4, 4), 255).save(png)
    layer = {"num_maps": 9, "height": 4, "width": 4, "low": 0, "high": 1}
    layer["maps"] = [base64.b64encode(png.read_bytes()).decode()] * 2
    maps = {"model": "a", "layers": [layer, layer]}
    page.route("**/feature_maps*", lambda route: route.fulfill(json=maps))
    page.select_option("#maps-model", index=1)
    wait_until(page, "document.querySelectorAll('#maps figure img').length === 4")
    assert page.locator("#maps-none").is_hidden()
    some = STRINGS["inside.maps.some"].format(layer=1, shown=2, count=9, width=4, height=4)
    assert some in page.inner_text("#maps")
    page.click("#way-take")
    draw(page, STROKES["1"])  # over the 7, then on an empty canvas
    page.click("#clear")
    page.wait_for_selector("#inside-body", state="hidden")
    draw(page, STROKES["0"])
    wait_until(page, switched.format(bars, 7), timeout_s=30)
    assert page.input_value("#way-target") == "taken"
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(50)
        assert page.evaluate("document.documentElement.scrollWidth") == width


SIZES = [(320, 640), (360, 740), (768, 1024), (844, 390), (640, 360), (1280, 720), (1920, 1080)]


def test_answer_is_next_to_the_canvas_at_every_size(page: Any) -> None:
    draw(page, STROKES["7"])
    page.select_option("#study", SEEDS)
    wait_until(page, "/%.*\\d/.test(document.querySelector('.voice .sure').textContent)")
    for width, height in SIZES:  # 640 x 360 is 1280 x 720 at 200 %
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(100)
        page.evaluate("scrollTo(0, 0)")
        for name in ("#pad", "#big", "#votes"):
            box = page.locator(name).bounding_box()
            assert box["y"] + box["height"] <= height, (name, width, height)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        too_wide = """[...document.querySelectorAll('.tools button, .facts, .vote')]
            .filter((each) => each.scrollWidth > each.clientWidth).map((each) => each.outerHTML)"""
        assert page.evaluate(too_wide) == [], (width, height)


@pytest.mark.parametrize("language", ["en", "es"])
def test_every_part_fits_at_every_size(
    browser: Any, outputs: Path, url: str, language: str
) -> None:
    keep_answers(outputs)
    too_wide = """() => [...document.querySelectorAll('header *, main *')]
        .filter((each) => each.checkVisibility())
        .filter((each) => !each.matches('select, input, canvas, #optimizers'))
        .filter((each) => !each.closest('.sr, .table-frame, .chips, .curve-plot, svg'))
        .filter((each) => each.getBoundingClientRect().right > innerWidth ||
            (each.clientWidth && each.scrollWidth > each.clientWidth + 1))
        .map((each) => each.outerHTML.slice(0, 200))"""
    address = f"{url}/?study={OTHER}&lang={language}&step=0"
    with quiet_page(browser, address, reduced_motion="reduce") as page:
        fake_race(page)
        draw(page, STROKES["7"])
        wait_until(page, "document.getElementById('big-name').textContent !== '?'")
        page.click("#race-start")
        page.wait_for_selector("#race-chart path")
        page.locator("#surface-pad").scroll_into_view_if_needed()
        for part in ("#surface-walks li", "#chart canvas", "#gallery h3", "#timeline"):
            page.wait_for_selector(part)
        for width, height in SIZES:
            page.set_viewport_size({"width": width, "height": height})
            page.wait_for_timeout(100)
            assert page.evaluate("document.documentElement.scrollWidth") == width
            assert page.evaluate(too_wide) == [], (width, height)


def test_keyboard_reaches_every_part_with_a_visible_focus(
    browser: Any, outputs: Path, url: str
) -> None:
    keep_answers(outputs)
    focused = """() => {
        const each = document.activeElement;
        const shown = [each, each.nextElementSibling].filter(Boolean);
        const outlined = shown.some((one) => getComputedStyle(one).outlineStyle !== 'none');
        return [each.id || each.parentElement.className, outlined];
    }"""
    with quiet_page(browser, f"{url}?study={OTHER}") as page:
        page.wait_for_selector("#gallery h3")
        page.wait_for_selector("#chart canvas")
        page.focus("#language")
        seen = set()
        for _ in range(80):
            page.keyboard.press("Tab")
            name, outlined = page.evaluate(focused)
            assert outlined, name
            seen.add(name)
            if page.evaluate("document.activeElement.getAttribute('href')") == "/docs":
                break
        parts = {"moment", "play", "saliency", "race-start", "surface-rate", "surface-momentum"}
        parts |= {"surface-pad", "surface-race", "gallery-images", "curve-lines"}
        assert parts <= seen


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_no_violation_of_wcag_a_or_aa(
    browser: Any, url: str, width: int, color_scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    levels = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
    # The page's own security policy forbids scripts from elsewhere
    address = f"{url}?lang=es" if width == 360 else url
    with quiet_page(browser, address, color_scheme=color_scheme, bypass_csp=True) as page:
        page.set_viewport_size({"width": width, "height": 740})
        draw_digit(page, "7")
        page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
        found = axe.run(page, options=levels)
        assert found.violations_count == 0, found.generate_report()


def test_page_speaks_the_language_of_the_browser_or_of_the_address(browser: Any, url: str) -> None:
    language = "document.documentElement.lang"
    texts = """() => {
        const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        const found = [];
        while (walk.nextNode())
            if (!walk.currentNode.parentElement.closest('noscript'))
                found.push(walk.currentNode.data);
        for (const node of document.querySelectorAll("*"))
            for (const name of ["aria-label", "aria-valuetext", "title", "alt"])
                found.push(node.getAttribute(name) ?? "");
        return found;
    }"""
    english = re.compile(
        r"\b(the|of|and|with|is|are|accuracy|learning|training|epoch|steps?|runs?|draw\w*|"
        r"answers?|says?|sure|agree|picture|images?|test|loss|keys?|start|scale|over)\b",
        re.IGNORECASE,
    )
    names = ["SGD with momentum", "plain SGD", "UCI digits (embedded)", "Digits, MLP", "English"]
    with quiet_page(browser, url, locale="es-MX") as page:
        assert page.evaluate(language) == "es"
        draw_digit(page, "7")
        page.wait_for_selector("#chart canvas")
        page.locator("#surface-pad").scroll_into_view_if_needed()
        page.wait_for_selector("#surface-walks li")
        verdict = page.inner_text("#verdict")
        assert "5" in verdict
        assert re.search(r"\d,\d+ %", page.inner_text("#table"))
        for text in page.evaluate(texts):
            for name in names:
                text = text.replace(name, "")
            assert not english.search(text), text
        page.focus("#language")
        with page.expect_navigation():
            page.keyboard.press("Enter")
        wait_until(page, f"{language} === 'en'")
        assert page.url.endswith("&lang=en")
        wait_until(page, says("7"))  # it came along
        assert page.inner_text("#verdict") not in ("", verdict)
    with quiet_page(browser, f"{url}?lang=es") as page:
        assert page.evaluate(language) == "es"
        assert page.title() == json.loads((STATIC / "strings.es.json").read_text())["page.title"]


def test_high_contrast_shows_bars_votes_and_what_is_chosen(browser: Any, url: str) -> None:
    with quiet_page(browser, url, forced_colors="active") as page:
        draw_digit(page, "7")
        background = "(selector) => getComputedStyle(document.querySelector(selector)).background"

        def paint(selector: str) -> Any:
            return page.evaluate(f"({background}Color)('{selector}')")

        for part, ground in [
            (".vote.is-top .fill", ".vote.is-top .well"),
            (".bar.is-top .fill", ".bar.is-top .well"),
            (".dots i", ".ensemble"),
            (".chips input:checked + span", ".chips input:not(:checked) + span"),
        ]:
            assert paint(part) != paint(ground), part
        page.focus("#pad")
        assert page.evaluate("getComputedStyle(document.querySelector('.switch i')).outlineStyle")


def test_optimizers_race_from_where_one_clicks(browser: Any, url: str) -> None:
    result = "document.getElementById('surface-result').textContent"
    walks = "[...document.querySelectorAll('#surface-walks li')].map((e) => e.innerText)"
    label = "document.getElementById('surface-pad').getAttribute('aria-label')"
    with quiet_page(browser, url, reduced_motion="reduce") as page:
        page.locator(".surface").scroll_into_view_if_needed()
        wait_until(page, f"{result} !== ''")  # at once, because motion is to be reduced
        page.locator("#surface-names label").filter(has_text="Ravine").click()
        wait_until(page, f"{label}.startsWith('Ravine') && {result} !== ''")
        assert len(page.evaluate(walks)) == 6
        assert re.search(r" \d+ ", page.evaluate(result))  # steps of the first to arrive
        pad = page.locator("#surface-pad").bounding_box()
        middle = {"x": pad["width"] / 2, "y": pad["height"] / 4}
        page.locator("#surface-pad").click(position=middle)
        wait_until(page, f"/x -1[.][23]., y (1.0|0.9)/.test({label})")  # of -4.8..2.2, -2..2
        page.focus("#surface-pad")
        page.keyboard.press("ArrowDown")  # a 25th of 4
        wait_until(page, f"/y 0[.]8/.test({label})")
        page.focus("#surface-rate")
        page.keyboard.press("End")  # a hundred times the rates
        names = "plain SGD, SGD with momentum, Nesterov"
        wait_until(page, shows("surface-result", "surface.all_diverged", names=names))
        assert STRINGS["surface.diverged"].format(step=1) in page.evaluate(walks)[0]
        colors = """() => {
            const pad = document.getElementById('surface-pad');
            const { data } = pad.getContext('2d').getImageData(0, 0, pad.width, pad.height);
            const found = new Set();
            for (let i = 0; i < data.length; i += 4) found.add(data.slice(i, i + 3).join());
            return [...found];
        }"""
        assert "0,114,178" in page.evaluate(colors)  # Adam's blue, palette.py
        for width in (320, 360, 768):
            page.set_viewport_size({"width": width, "height": 740})
            page.wait_for_timeout(100)
            assert page.evaluate("document.documentElement.scrollWidth") == width


def test_address_holds_the_surface_and_its_start(browser: Any, url: str) -> None:
    label = "document.getElementById('surface-pad').getAttribute('aria-label')"
    values = "['rate', 'momentum'].map((e) => document.getElementById('surface-' + e).value).join()"
    asked = f"{url}?surface=ravine&from=-1.5,0.75&rate=0.3&momentum=0.5"
    with quiet_page(browser, asked, reduced_motion="reduce") as page:
        page.locator(".surface").scroll_into_view_if_needed()
        wait_until(page, f"/^Ravine.*x -1[.]50?, y 0[.]75/.test({label})")
        assert page.evaluate(values) == "0.3,0.5"
        page.focus("#surface-pad")
        page.keyboard.press("ArrowUp")  # a 25th of 4
        wait_until(page, f"/y 0[.]91/.test({label})")
        assert "surface=ravine&from=-1.500%2C0.910&rate=0.3&momentum=0.5" in page.url.split("?")[1]
        page.reload()
        page.wait_for_selector("#voices article")
        page.locator(".surface").scroll_into_view_if_needed()
        wait_until(page, f"/^Ravine.*y 0[.]91/.test({label})")
        page.locator("#surface-names label").filter(has_text="Saddle").click()
        wait_until(page, f"{label}.startsWith('Saddle')")
        assert "surface=saddle" in page.url
        assert "from=" not in page.url  # a surface begins at its own start
    nonsense = f"{url}?surface=hill&from=1,east&rate=90&momentum=x"
    with quiet_page(browser, nonsense, reduced_motion="reduce") as page:
        page.locator(".surface").scroll_into_view_if_needed()
        wait_until(page, f"({label} ?? '').startsWith('Valley')")
        assert float(page.evaluate(values).split(",")[0]) == 2  # the slider's end


def fake_race(page: Any) -> None:
    """Let the server's race be one of two optimizers, of which one fails."""

    def report(optimizer: str, step: int, accuracy: float | None, digit: int) -> str:
        said = [0.1 if each != digit else 0.9 for each in range(10)]
        values = {"optimizer": optimizer, "step": step, "val_accuracy": accuracy}
        return f"data: {json.dumps(values | {'probabilities': said})}\n\n"

    names = ["adam", "sgd"]
    style = {"title": "", "color": "#0072B2", "dashes": []}
    start = {"optimizers": names, "styles": {name: style | {"title": name} for name in names}}
    events = [report(name, 0, None, 3) for name in names]
    events += [report(name, 5 * i, i / 10, 7) for i in range(1, 6) for name in names]
    stream = "".join(events) + 'event: end\ndata: ["sgd"]\n\n'
    page.route("**/api/race", lambda route: route.fulfill(status=202, json=start))
    kind = "text/event-stream"
    page.route("**/api/race/events", lambda route: route.fulfill(content_type=kind, body=stream))


def test_race_shows_curves_and_changing_answers(browser: Any, url: str) -> None:
    with quiet_page(browser, url) as page:
        fake_race(page)
        page.click("#race-start")
        wait_until(page, shows("race-start", "race.again"))
        assert page.locator("#race-chart path").count() == 2
        lanes = page.locator("#race-lanes li").all_inner_texts()
        assert all(re.search(r"(?s)\b7\b.*\b25\b.*\b50\.0 %.*\b90 %", lane) for lane in lanes)
        state = page.inner_text("#race-state")
        assert re.search(r"\badam\b.*\bsgd\b.*\b50\.0 %", state)
        assert STRINGS["race.failed"].format(names="sgd") in state
        page.set_viewport_size({"width": 320, "height": 640})
        assert page.evaluate("document.documentElement.scrollWidth") == 320


def test_page_names_what_is_missing(page: Any) -> None:
    page.select_option("#study", SEEDS)
    wait_until(page, "document.querySelectorAll('#missing li').length === 2")
    assert "adam-seed1: " in page.inner_text("#missing")
    interrupted = STRINGS["missing.interrupted"]["other"].format(count=20)
    assert f"adam-seed2: {interrupted}" in page.inner_text("#missing")
    draw(page, STROKES["7"])
    wait_until(page, "document.getElementById('left-out').innerText.includes('adam-seed0')")
    page.wait_for_selector("#voices .spark")  # of the best of many runs
    page.wait_for_selector("#voices .confusion p:not(:empty)")
    page.select_option("#study", DIVERGED)
    draw(page, STROKES["1"])  # asks nobody
    page.wait_for_selector("#empty:visible")
    assert page.evaluate(shows("empty", "empty.study"))
    wait_until(page, shows("table", "table.diverged", count=1))


def test_address_holds_the_choice_and_numbers_are_not_rounded_to_certainty(
    browser: Any, url: str
) -> None:
    def nearly_sure(route: Any) -> None:
        answer = route.fetch().json()
        if answer["ensemble"]:
            answer["ensemble"]["probabilities"] = [0, 0.005, 0, 0, 0, 0, 0, 0.9953, 0, 0]
        route.fulfill(json=answer)

    with quiet_page(browser, f"{url}?study={OTHER}&optimizer=rmsprop") as page:
        wait_until(page, "document.getElementById('glance-title').textContent === 'Another'")
        assert page.locator("#optimizer-chips input:checked").get_attribute("value") == "rmsprop"
        page.locator("#optimizer-chips label").first.click()
        page.select_option("#study", "digits-mlp")
        assert page.url.endswith("?study=digits-mlp")
        page.route("**/api/predict*", nearly_sure)
        draw_digit(page, "7")
        shown = page.locator("#votes small").all_text_contents()
        assert (shown[7], shown[1], shown[0]) == ("> 99 %", "1 %", "0 %")
        with page.expect_download() as download:
            page.click("[data-i18n=download]")
            page.click("#answers-csv")
        lines = Path(download.value.path()).read_text().splitlines()
        assert lines[0] == "study,optimizer,run,step,answer," + ",".join("0123456789")
        assert len(lines) == 1 + 5 * 2 + 1
        assert lines[-1].startswith("digits-mlp,ensemble,mean,,7,0,0.005,")
        side = page.locator("#pad").bounding_box()["width"]
        page.click("#projector")
        assert page.url.endswith("?study=digits-mlp&projector=1")
        page.focus("#moment")
        page.keyboard.press("Home")
        assert page.url.endswith("&step=0")
        page.reload()
        moment = "document.getElementById('moment').getAttribute('aria-valuetext')"
        wait_until(page, f"{moment} === {json.dumps(STRINGS['moment.start'])}")
        page.wait_for_selector("#voices article")
        assert page.locator("#pad").bounding_box()["width"] > 1.2 * side
        assert page.locator("#voices .bars").first.is_hidden()
        page.select_option("#study", OTHER)
        assert page.url.endswith(f"?study={OTHER}&projector=1")


def test_page_reports_an_unknown_study_in_the_address(browser: Any, url: str) -> None:
    with quiet_page(browser, f"{url}?study=nowhere") as page:
        wait_until(page, shows("live", "answer.empty"))
        assert "nowhere" in page.inner_text("#toast:visible")
        draw_digit(page, "7")
        assert "nowhere" in page.inner_text("#toast:visible")


def test_page_takes_a_finger(browser: Any, url: str) -> None:
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector("#voices article")
    draw_digit(page, "1")
    for name in ("undo", "clear", "example", "open"):
        assert page.locator(f"#{name}").bounding_box()["height"] >= 40
    page.locator("#moment").tap(position={"x": 4, "y": 16})
    wait_until(page, "document.getElementById('moment').value === '0'")
    surface = page.locator("#surface-pad")
    surface.scroll_into_view_if_needed()
    page.wait_for_selector("#surface-walks li")
    before = surface.get_attribute("aria-label")
    surface.tap(position={"x": 30, "y": 30})
    wait_until(page, f"document.getElementById('surface-pad').ariaLabel !== {json.dumps(before)}")
    context.close()


def test_page_without_models_says_so_and_models_appear_by_themselves(
    browser: Any, trained_outputs: Path, tmp_path: Path
) -> None:
    server, url = serve(tmp_path)
    try:
        page = browser.new_page()
        page.goto(url)
        page.wait_for_selector("#empty:visible")
        assert STRINGS["empty"] in page.inner_text("#empty")
        assert "python train.py experiment=page" in page.inner_text("#command")
        assert page.inner_text("#command").endswith(f" outputs={tmp_path}")  # where it looks
        page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
        page.click("#copy")  # as on a page of plain http
        wait_until(page, "document.getElementById('toast').textContent.includes('Ctrl+C')")
        assert page.evaluate("String(getSelection())") == page.inner_text("#command")
        assert "scripts/serve.py --train" in page.inner_text("#empty")
        page.locator("#surface-pad").scroll_into_view_if_needed()
        page.wait_for_selector("#surface-walks li")  # needs no model
        shutil.copytree(trained_outputs / "digits-mlp", tmp_path / "digits-mlp")
        page.wait_for_selector("#optimizer-chips label", timeout=15_000)
        assert page.locator("#empty").is_hidden()
        chosen = "document.activeElement.name"
        page.focus("#optimizer-chips input:checked")
        shutil.rmtree(next((tmp_path / "digits-mlp").glob("adam*")))
        wait_until(page, "document.querySelectorAll('#optimizer-chips input').length === 5")
        assert page.evaluate(chosen) == "optimizer"  # the keyboard stays where it was
        server.terminate()
        server.wait(timeout=10)
        wait_until(page, shows("toast", "error.silent"))
        server, _ = serve(tmp_path, port=int(url.rpartition(":")[2].strip("/")))
        page.wait_for_selector("#toast", state="hidden", timeout=30_000)
        page.close()
    finally:
        server.terminate()
        server.wait(timeout=10)


@contextmanager
def static_server(folder: Path) -> Iterator[str]:
    """Python's own web server, which knows nothing of OptLab."""
    command = [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().split("(")[1].split(")")[0]
        finally:
            server.terminate()


def test_shared_folder_answers_without_a_server_as_the_server_does(
    browser: Any, url: str, outputs: Path, tmp_path: Path
) -> None:
    try:
        find_runtime()
    except ValueError as error:
        pytest.skip(str(error).splitlines()[0])
    image = Image.new("RGB", (300, 280), "white")
    ImageDraw.Draw(image).line([(156, 40), (150, 140), (144, 240)], fill="black", width=36)
    image.save(tmp_path / "one.png")
    share_study(outputs / "digits-mlp", tmp_path / "class" / "digits")  # served from a sub-folder
    probabilities = """() => [...document.querySelectorAll('.vote, .bar')].map(
        (bar) => Number(bar.style.getPropertyValue('--p')))"""

    def answers_to_one(page: Any) -> tuple[str, list[float]]:
        page.set_input_files("#file", tmp_path / "one.png")
        wait_until(page, says("1"))
        return page.inner_text("#verdict"), page.evaluate(probabilities)

    with quiet_page(browser, f"{url}?study=digits-mlp") as page:
        verdict, served = answers_to_one(page)
    with static_server(tmp_path) as address, quiet_page(browser, f"{address}class/digits/") as page:
        complaints = complaints_of(page)
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.reload()
        page.wait_for_selector("#chart canvas")
        draw(page, STROKES["7"])
        wait_until(page, says("7"), timeout_s=60)
        shared_verdict, shared = answers_to_one(page)
        assert page.locator("#table tbody tr").count() == 5
        for hidden in ("#surface-pad", "#race", "#join", "#timeline", "#saliency"):
            assert page.locator(hidden).is_hidden(), hidden
        page.locator("#optimizer-chips label").filter(has_text="RMSprop").click()
        wait_until(page, "document.querySelectorAll('#voices article').length === 1")
        assert complaints == []
        assert requests and all(one.startswith((address, "blob:", "data:")) for one in requests)
    assert len(served) == 10 * 6
    np.testing.assert_allclose(shared, served, atol=1e-5)
    assert shared_verdict == verdict
