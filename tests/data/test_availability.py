import gzip
import http.server
import os
import threading
import time

import pytest

from optlab.data import availability
from optlab.data.availability import (
    AUTO_DATA_VARIABLE,
    choose_auto_dataset,
    mirror_reachable,
    mnist_on_disk,
)


@pytest.fixture(autouse=True)
def _unsettled(monkeypatch):
    # set first, so that monkeypatch also removes what choose_auto_dataset writes
    monkeypatch.setenv(AUTO_DATA_VARIABLE, "")
    monkeypatch.setattr(availability, "mirror_reachable", lambda timeout_s: False)


def make_mnist_files(root, *, bytes_missing=0, compressed=False):
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, num_bytes in availability._MNIST_BYTES.items():
        num_bytes -= bytes_missing
        if compressed:
            (raw / f"{name}.gz").write_bytes(gzip.compress(bytes(num_bytes), compresslevel=1))
        else:
            with open(raw / name, "wb") as file:
                file.truncate(num_bytes)  # sparse: takes no space
    return root


def test_auto_is_mnist_where_its_files_lie(tmp_path, capsys):
    assert choose_auto_dataset(make_mnist_files(tmp_path)) == "mnist"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("bytes_missing", "answer"), [(0, "mnist"), (1, "digits")])
def test_compressed_files_count_by_the_size_of_their_contents(
    tmp_path, monkeypatch, bytes_missing, answer
):
    sizes = {name: size // 100 for name, size in availability._MNIST_BYTES.items()}
    with monkeypatch.context() as smaller:
        smaller.setattr(availability, "_MNIST_BYTES", sizes)
        make_mnist_files(tmp_path, bytes_missing=bytes_missing, compressed=True)
        assert choose_auto_dataset(tmp_path) == answer


def test_compressed_files_that_are_empty_are_none(tmp_path):
    make_mnist_files(tmp_path, compressed=True)
    (tmp_path / "MNIST" / "raw" / "t10k-labels-idx1-ubyte.gz").write_bytes(b"")
    assert not mnist_on_disk(tmp_path)


def test_auto_is_mnist_where_the_mirror_answers(tmp_path, monkeypatch):
    monkeypatch.setattr(availability, "mirror_reachable", lambda timeout_s: True)
    assert choose_auto_dataset(tmp_path / "not" / "yet" / "there") == "mnist"


def test_auto_falls_to_digits_in_a_loud_line(tmp_path, capsys):
    assert choose_auto_dataset(tmp_path) == "digits"
    message = capsys.readouterr().err
    assert "DIGITS" in message
    assert str(tmp_path) in message
    assert "OPTLAB_DATA" in message


def test_auto_falls_to_digits_where_mnist_is_cut_short(tmp_path):
    root = make_mnist_files(tmp_path, bytes_missing=1)
    assert not mnist_on_disk(root)
    assert choose_auto_dataset(root) == "digits"


def test_auto_does_not_count_on_a_download_into_a_read_only_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(availability, "mirror_reachable", lambda timeout_s: True)
    monkeypatch.setattr(availability.os, "access", lambda path, mode: False)
    assert choose_auto_dataset(tmp_path) == "digits"


def test_answer_is_kept_for_children_and_said_once(tmp_path, capsys):
    assert choose_auto_dataset(tmp_path) == "digits"
    assert os.environ[AUTO_DATA_VARIABLE] == f"digits@{tmp_path}"
    capsys.readouterr()
    make_mnist_files(tmp_path)  # MNIST arrives while the study runs: its runs still agree
    assert choose_auto_dataset(tmp_path) == "digits"
    assert capsys.readouterr().err == ""


def test_answer_for_another_folder_is_not_taken(tmp_path):
    assert choose_auto_dataset(tmp_path / "empty") == "digits"
    assert choose_auto_dataset(make_mnist_files(tmp_path / "full")) == "mnist"


class _Mirror(http.server.BaseHTTPRequestHandler):
    num_bytes = 0

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("Content-Length", str(self.num_bytes))
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.mark.parametrize(
    ("num_bytes", "reachable"), [(availability.MIRROR_BYTES, True), (1234, False)]
)
def test_mirror_counts_as_reachable_only_with_the_right_file_size(
    num_bytes, reachable, monkeypatch
):
    monkeypatch.setattr(_Mirror, "num_bytes", num_bytes)
    with http.server.HTTPServer(("127.0.0.1", 0), _Mirror) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setattr(
            availability, "MIRROR_URL", f"http://127.0.0.1:{server.server_port}/file"
        )
        assert mirror_reachable(timeout_s=10) is reachable


def test_silent_mirror_is_given_up_at_the_timeout(monkeypatch):
    monkeypatch.setattr(availability, "_request_mirror", lambda answers, timeout_s: time.sleep(1))
    start_s = time.perf_counter()
    assert mirror_reachable(timeout_s=0.05) is False
    assert time.perf_counter() - start_s < 0.9
