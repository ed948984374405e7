"""A real browser on the real page: draws, reads the answers, uses the keyboard."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
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
    for _ in range(300):
        try:
            with urllib.request.urlopen(f"{url}/api/health", timeout=1):
                return server, url
        except OSError:
            assert server.poll() is None, "the server ended"
            time.sleep(0.1)
    server.terminate()
    raise AssertionError("the server did not start within 30 s")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def url(trained_outputs: Path) -> Iterator[str]:
    server, url = serve(trained_outputs)
    yield url
    server.terminate()
    server.wait(timeout=10)


@pytest.fixture
def page(browser: Any, url: str) -> Iterator[Any]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    complaints: list[str] = []
    page.on("console", lambda said: said.type == "error" and complaints.append(said.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(url)
    page.wait_for_selector("#voices article")
    yield page
    page.close()
    assert complaints == []


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


def wait_until(page: Any, condition: str, timeout_s: float = 10) -> None:
    """Poll from here: the page's own security policy forbids it to evaluate text."""
    deadline_s = time.monotonic() + timeout_s
    while not page.evaluate(condition):
        assert time.monotonic() < deadline_s, f"in vain: {condition}"
        page.wait_for_timeout(20)


def settled(page: Any) -> str:
    """The ensemble's answer once it was said aloud."""
    wait_until(page, "document.getElementById('live').textContent.includes('sure')")
    return str(page.inner_text("#big-name"))


@pytest.mark.parametrize("digit", list(STROKES))
def test_drawn_digit_is_answered_by_every_optimizer(page: Any, digit: str) -> None:
    draw(page, STROKES[digit])
    wait_until(page, f"document.getElementById('big-name').textContent === '{digit}'")
    cards = page.locator("#voices article")
    assert cards.count() == 5
    assert sorted(cards.locator("h3").all_inner_texts()) == [
        "Adagrad", "Adam", "AdamW", "RMSprop", "SGD with momentum",
    ]  # fmt: skip
    for card in cards.all():
        assert card.locator(".bar").count() == 10
        assert card.locator(".voice-top").inner_text() in "0123456789"
        assert "test accuracy" in card.inner_text()
        assert "Test images of" in card.inner_text()
    assert page.locator("#votes .dots i").count() == 5  # everybody votes
    assert "agree" in page.inner_text("#verdict")


def test_blank_canvas_undo_and_clear(page: Any) -> None:
    wait_until(page, "document.getElementById('sentence').textContent.includes('Blank')")
    draw(page, STROKES["1"])
    wait_until(page, "document.getElementById('big-name').textContent === '1'")
    page.keyboard.press("Control+z")
    wait_until(page, "document.getElementById('big-name').textContent === '?'")
    draw(page, STROKES["7"])
    wait_until(page, "document.getElementById('big-name').textContent === '7'")
    page.click("#clear")
    wait_until(page, "document.getElementById('sentence').textContent.includes('Blank')")
    assert page.inner_text("#verdict") == ""


def test_keyboard_draws_examples_and_lines(page: Any) -> None:
    page.focus("#pad")
    page.keyboard.press("0")
    wait_until(page, "document.getElementById('big-name').textContent === '0'")
    page.keyboard.press("Delete")
    wait_until(page, "document.getElementById('big-name').textContent === '?'")
    page.keyboard.press("Space")
    for _ in range(16):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    wait_until(page, "document.getElementById('big-name').textContent !== '?'")
    assert settled(page) in "0123456789"
    assert "say" in page.inner_text("#live")


def test_choosing_an_optimizer_comes_first_and_asks_it_alone(page: Any) -> None:
    chips = page.locator("#optimizer-chips label")
    assert chips.first.inner_text() == "All optimizers"
    assert chips.count() == 6
    draw(page, STROKES["7"])
    chips.filter(has_text="RMSprop").click()
    wait_until(page, "document.querySelectorAll('#voices article').length === 1")
    assert page.inner_text("#ensemble-title") == "The answer of RMSprop"
    assert page.inner_text("#voices h3") == "rmsprop-seed0"


def test_saliency_is_laid_over_what_the_model_sees(page: Any) -> None:
    draw(page, STROKES["7"])
    wait_until(page, "document.getElementById('big-name').textContent === '7'")
    colours = """() => {
        const canvas = document.getElementById('seen');
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        let coloured = 0;
        for (let i = 0; i < data.length; i += 4) coloured += data[i] !== data[i + 2];
        return coloured;
    }"""
    assert page.evaluate(colours) == 0
    page.check("#saliency", force=True)
    wait_until(page, f"({colours})() > 50")
    assert page.locator(".why:visible").count() == 5


def test_picture_can_be_opened(page: Any, tmp_path: Path) -> None:
    from PIL import Image, ImageDraw

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
    wait_until(page, "document.getElementById('big-name').textContent === '7'")
    num_bytes = (tmp_path / "seven.png").stat().st_size
    assert page.evaluate("window.sent") == ["image/png", num_bytes]  # the file itself
    image.resize((3000, 2000)).save(tmp_path / "large.jpg")  # more than the server reads
    page.set_input_files("#file", tmp_path / "large.jpg")
    wait_until(page, f"window.sent[1] !== {num_bytes}")
    assert page.evaluate("window.sent[0]") == "image/png"  # made smaller by the browser
    wait_until(page, "document.getElementById('big-name').textContent === '7'")
    (tmp_path / "fake.png").write_text("no picture")
    page.set_input_files("#file", tmp_path / "fake.png")
    wait_until(page, "document.getElementById('toast').textContent.includes('no picture')")


def test_study_has_curves_a_table_and_its_report(page: Any) -> None:
    page.wait_for_selector("#chart svg path")
    names = page.locator("#chart .name").all_text_contents()
    assert sorted(names) == ["Adagrad", "Adam", "AdamW", "RMSprop", "SGD with momentum"]
    assert page.locator("#table tbody tr").count() == 5
    assert "1 other" in page.inner_text("#table")  # the one that diverged, at another rate
    page.locator("#metrics label").filter(has_text="Validation accuracy").click()
    assert "validation accuracy" in page.inner_text("#chart")
    with page.context.expect_page() as opened:
        page.click("#report")
    assert opened.value.inner_text("h1") == "The report"


def test_page_fits_a_phone_and_takes_a_finger(browser: Any, url: str) -> None:
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector("#voices article")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    draw(page, STROKES["1"])
    wait_until(page, "document.getElementById('big-name').textContent === '1'")
    for name in ("undo", "clear", "example", "open"):
        assert page.locator(f"#{name}").bounding_box()["height"] >= 40
    context.close()


def test_page_without_models_says_so_and_models_appear_by_themselves(
    browser: Any, trained_outputs: Path, tmp_path: Path
) -> None:
    server, url = serve(tmp_path)
    try:
        page = browser.new_page()
        page.goto(url)
        page.wait_for_selector("#empty:visible")
        assert "No trained model yet" in page.inner_text("#empty")
        assert "python train.py -m optimizer=sgd,adam" in page.inner_text("#empty")
        assert "scripts/serve.py --train" in page.inner_text("#empty")
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
        page.wait_for_selector("#toast:visible", timeout=30_000)
        server, _ = serve(tmp_path, port=int(url.rpartition(":")[2].strip("/")))
        page.wait_for_selector("#toast", state="hidden", timeout=30_000)
        page.close()
    finally:
        server.terminate()
        server.wait(timeout=10)
