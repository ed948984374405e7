import gzip
import hashlib
import http.server
import os
import pickle
import struct
import sys
import tarfile
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10, MNIST, FashionMNIST

from optlab.data import DataUnavailableError
from optlab.data import torchvision_datasets as datasets

SHAPES = {
    "train-images-idx3-ubyte": (30, 28, 28),
    "train-labels-idx1-ubyte": (30,),
    "t10k-images-idx3-ubyte": (20, 28, 28),
    "t10k-labels-idx1-ubyte": (20,),
}


def md5(contents: bytes) -> str:
    return hashlib.md5(contents, usedforsecurity=False).hexdigest()


@pytest.fixture
def idx_files(monkeypatch):
    """Small files in MNIST's format, {name: bytes}, taken for the published ones."""
    rng = np.random.default_rng(0)
    files = {}
    for name, shape in SHAPES.items():
        values = rng.integers(0, 256, shape) if len(shape) == 3 else np.arange(shape[0]) % 10
        header = struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape)
        files[name] = header + values.astype(np.uint8).tobytes()
    monkeypatch.setattr(datasets, "_IDX_SHAPES", SHAPES)
    monkeypatch.setattr(datasets, "_MNIST_RAW_MD5", {n: md5(b) for n, b in files.items()})
    archives = [(f"{n}.gz", md5(gzip.compress(b, mtime=0))) for n, b in files.items()]
    for dataset in (MNIST, FashionMNIST):
        monkeypatch.setattr(dataset, "resources", archives)
        monkeypatch.setattr(dataset, "mirrors", ["http://127.0.0.1:9/"])  # refuses connections
    return files


@pytest.fixture
def serve(monkeypatch):
    """Serve a folder over HTTP on this machine; returns the address and the requested paths."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    servers = []

    def start(folder: Path) -> tuple[str, list[str]]:
        requested = []

        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_GET(self):
                requested.append(self.path)
                super().do_GET()

        server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), partial(Handler, directory=str(folder))
        )
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/", requested

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def write_raw(root, files, dataset="MNIST", compressed=False):
    raw = root / dataset / "raw"
    raw.mkdir(parents=True)
    for name, contents in files.items():
        if compressed:
            (raw / f"{name}.gz").write_bytes(gzip.compress(contents, mtime=0))
        else:
            (raw / name).write_bytes(contents)
    return raw


def files_below(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_mnist_on_disk_is_read_as_torchvision_reads_it_and_nothing_is_written(idx_files, tmp_path):
    write_raw(tmp_path, idx_files)
    before = files_below(tmp_path)
    source = datasets.load_mnist(tmp_path)
    reference = MNIST(tmp_path, train=True)
    assert torch.equal(source.train_images[:, 0], reference.data)
    assert torch.equal(source.train_labels, reference.targets)
    assert source.test_images.shape == (20, 1, 28, 28)
    assert source.test_labels.dtype == torch.int64
    assert (source.mean, source.std) == ((0.1307,), (0.3081,))
    assert files_below(tmp_path) == before


def test_compressed_mnist_alone_is_read_in_memory(idx_files, tmp_path):
    write_raw(tmp_path / "bare", idx_files)
    write_raw(tmp_path / "gz", idx_files, compressed=True)
    bare, compressed = (datasets.load_mnist(tmp_path / kind) for kind in ("bare", "gz"))
    assert bare.checksum == compressed.checksum
    assert all(name.endswith(".gz") for name in files_below(tmp_path / "gz"))


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", list(SHAPES))
def test_damaged_mnist_file_is_named_with_what_to_do(idx_files, tmp_path, name, compressed):
    raw = write_raw(tmp_path, idx_files, compressed=compressed)
    path = raw / (f"{name}.gz" if compressed else name)
    contents = bytearray(path.read_bytes())
    contents[-1] ^= 1
    path.write_bytes(contents)
    with pytest.raises(DataUnavailableError, match=r"damaged(?s:.*)hint: .*OPTLAB_DATA") as error:
        datasets.load_mnist(tmp_path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("load", [datasets.load_mnist, datasets.load_fashion_mnist])
def test_right_contents_that_were_compressed_again_are_read(idx_files, tmp_path, load):
    folder = "MNIST" if load is datasets.load_mnist else "FashionMNIST"
    raw = write_raw(tmp_path, idx_files, folder, compressed=True)
    before = load(tmp_path)
    for name, contents in idx_files.items():
        (raw / f"{name}.gz").write_bytes(gzip.compress(contents, compresslevel=1, mtime=1))
    assert load(tmp_path).checksum == before.checksum


def test_wrong_contents_that_were_compressed_well_are_damaged(idx_files, tmp_path):
    raw = write_raw(tmp_path, idx_files, compressed=True)
    name = "t10k-images-idx3-ubyte"
    changed = idx_files[name][:-1] + bytes([idx_files[name][-1] ^ 1])
    (raw / f"{name}.gz").write_bytes(gzip.compress(changed))
    with pytest.raises(DataUnavailableError, match=rf"{name}\.gz .*\bdamaged\b.*\bmd5\b"):
        datasets.load_mnist(tmp_path)


def test_cut_fashion_mnist_file_is_damaged(idx_files, tmp_path):
    raw = write_raw(tmp_path, idx_files, dataset="FashionMNIST")
    path = raw / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataUnavailableError, match=rf"{path.name} .*\bdamaged\b.*\b20 x 28 x 28\b"):
        datasets.load_fashion_mnist(tmp_path)


def test_fashion_mnist_with_unbalanced_labels_is_damaged(idx_files, tmp_path):
    raw = write_raw(tmp_path, idx_files, dataset="FashionMNIST")
    path = raw / "train-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    with pytest.raises(DataUnavailableError, match=rf"{path.name} .*\bdamaged\b.*\bclasses\b"):
        datasets.load_fashion_mnist(tmp_path)


def test_fashion_mnist_has_its_own_statistics_and_class_names(idx_files, tmp_path):
    write_raw(tmp_path, idx_files, dataset="FashionMNIST")
    source = datasets.load_fashion_mnist(tmp_path)
    assert source.mean[0] == pytest.approx(source.train_images.double().mean().item() / 255)
    assert source.class_names[0] == "T-shirt/top"


def test_missing_mnist_is_downloaded_once_and_leaves_no_staging(idx_files, tmp_path, serve):
    write_raw(tmp_path / "mirror", idx_files, compressed=True)
    address, requested = serve(tmp_path / "mirror" / "MNIST" / "raw")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MNIST, "mirrors", [address])
        first = datasets.load_mnist(tmp_path / "data")
        num_requests = len(requested)
        second = datasets.load_mnist(tmp_path / "data")
    assert first.checksum == second.checksum
    assert set(requested) == {f"/{name}.gz" for name in SHAPES}
    assert len(requested) == num_requests
    left = [name for name in files_below(tmp_path / "data") if not name.startswith("MNIST/raw/")]
    assert left in ([], [".download-mnist.lock"])


def test_parallel_downloads_do_not_collide(idx_files, tmp_path, serve, monkeypatch):
    write_raw(tmp_path / "mirror", idx_files, compressed=True)
    address, requested = serve(tmp_path / "mirror" / "MNIST" / "raw")
    monkeypatch.setattr(MNIST, "mirrors", [address])
    checksums = []
    threads = [
        threading.Thread(
            target=lambda: checksums.append(datasets.load_mnist(tmp_path / "data").checksum)
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(checksums) == 4
    assert len(set(checksums)) == 1
    assert len(requested) == 2 * len(SHAPES)  # torchvision asks for each file's address first


def test_download_that_the_mirror_cuts_short_is_refused_and_leaves_nothing(
    idx_files, tmp_path, serve, monkeypatch
):
    raw = write_raw(tmp_path / "mirror", idx_files, compressed=True)
    path = raw / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-3])
    address, _ = serve(raw)
    monkeypatch.setattr(MNIST, "mirrors", [address])
    with pytest.raises(DataUnavailableError, match=rf"data=mnist\b.*\n.*{address}"):
        datasets.load_mnist(tmp_path / "data")
    assert files_below(tmp_path / "data") in ([], [".download-mnist.lock"])


def test_without_network_the_error_says_what_was_tried_and_the_ways_out(idx_files, tmp_path):
    with pytest.raises(DataUnavailableError, match=r"data=mnist\b") as error:
        datasets.load_mnist(tmp_path / "data")
    message, _, hint = str(error.value).partition("hint: ")
    assert str(tmp_path / "data") in message and "http://127.0.0.1:9/" in message
    assert "OPTLAB_DATA" in hint and "data=digits" in hint


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="root and Windows may write everywhere"
)
def test_read_only_folder_without_the_set_is_an_error_with_ways_out(idx_files, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(DataUnavailableError, match=r"(?s)Permission denied.*hint: .*OPTLAB_DATA"):
        datasets.load_mnist(tmp_path)


def test_root_that_is_a_file_is_an_error_with_ways_out(idx_files, tmp_path):
    (tmp_path / "data").write_text("not a folder")
    with pytest.raises(DataUnavailableError, match=r"(?s)data=mnist\b.*hint: .*OPTLAB_DATA"):
        datasets.load_mnist(tmp_path / "data")


@pytest.fixture
def cifar_files(monkeypatch):
    """Small files in CIFAR-10's format, {name: bytes}, taken for the published ones."""
    rng = np.random.default_rng(0)
    files = {}
    for name in [name for name, _ in [*CIFAR10.train_list, *CIFAR10.test_list]]:
        data = rng.integers(0, 256, (10, 3072)).astype(np.uint8)
        files[name] = pickle.dumps({"data": data, "labels": list(range(10))})
    files["batches.meta"] = pickle.dumps({"label_names": list(datasets._CIFAR10_CLASSES)})
    for part in ("train_list", "test_list"):
        listed = [[name, md5(files[name])] for name, _ in getattr(CIFAR10, part)]
        monkeypatch.setattr(CIFAR10, part, listed)
    meta = {**CIFAR10.meta, "md5": md5(files["batches.meta"])}
    monkeypatch.setattr(CIFAR10, "meta", meta)
    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    return files


def write_cifar(root, files):
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name, contents in files.items():
        (folder / name).write_bytes(contents)
    return folder


def test_cifar10_is_read_as_torchvision_reads_it(cifar_files, tmp_path):
    write_cifar(tmp_path, cifar_files)
    source = datasets.load_cifar10(tmp_path)
    reference = CIFAR10(tmp_path, train=True)
    assert torch.equal(source.train_images, torch.from_numpy(reference.data).permute(0, 3, 1, 2))
    assert source.train_labels.tolist() == reference.targets
    assert source.test_images.shape == (10, 3, 32, 32)
    assert list(source.class_names) == reference.classes


def test_damaged_cifar10_file_is_named_and_never_unpickled(cifar_files, tmp_path):
    folder = write_cifar(tmp_path, cifar_files)
    (folder / "data_batch_3").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(DataUnavailableError, match=r"data_batch_3 .*\bdamaged\b.*\bmd5\b"):
        datasets.load_cifar10(tmp_path)


@pytest.mark.parametrize("by_hand", [False, True])
def test_cifar10_archive_is_downloaded_or_taken_where_it_lies(
    cifar_files, tmp_path, serve, monkeypatch, by_hand
):
    write_cifar(tmp_path / "mirror", cifar_files)
    archive = tmp_path / "mirror" / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "mirror" / "cifar-10-batches-py", "cifar-10-batches-py")
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(archive.read_bytes()))
    if by_hand:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / archive.name).write_bytes(archive.read_bytes())
    else:
        address, _ = serve(tmp_path / "mirror")
        monkeypatch.setattr(CIFAR10, "url", f"{address}{archive.name}")
    source = datasets.load_cifar10(tmp_path / "data")
    assert source.train_labels.tolist() == list(range(10)) * 5


def test_missing_cifar10_without_network_names_the_ways_out(cifar_files, tmp_path):
    with pytest.raises(DataUnavailableError, match=r"(?s)data=cifar10\b.*hint: .*OPTLAB_DATA"):
        datasets.load_cifar10(tmp_path)


def real_mnist_root():
    root = Path(os.environ.get("OPTLAB_DATA", "data"))
    if not (root / "MNIST" / "raw" / "train-images-idx3-ubyte").is_file():
        pytest.skip("real MNIST is not in $OPTLAB_DATA")
    return root


@pytest.mark.data
def test_real_mnist_is_the_published_one():
    source = datasets.load_mnist(real_mnist_root())
    assert source.train_images.shape == (60_000, 1, 28, 28)
    # class counts of the published train and test labels
    assert source.train_labels.bincount().tolist() == [
        *(5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
    ]
    assert source.test_labels.bincount().tolist() == [
        *(980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)
    ]
    mean = source.train_images.double().mean().item() / 255
    assert mean == pytest.approx(source.mean[0], abs=5e-5)  # the published constant, rounded
