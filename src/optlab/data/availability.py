"""Choose the set of ``data=auto``: MNIST if it is available, else the embedded digits.

Uses only the standard library, because the choice is needed while a config is composed, before
torch is imported. It is made once and passed to child processes in an environment variable, so that
all runs of one command use the same set.
"""

import os
import sys
import threading
from pathlib import Path

AUTO_DATA_VARIABLE = "OPTLAB_AUTO_DATA"
MIRROR_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/train-images-idx3-ubyte.gz"
MIRROR_BYTES = 9_912_422  # size of that file; a captive portal answers with another one

# Bytes of each official MNIST file, uncompressed
_MNIST_BYTES = {
    "train-images-idx3-ubyte": 47_040_016,
    "train-labels-idx1-ubyte": 60_008,
    "t10k-images-idx3-ubyte": 7_840_016,
    "t10k-labels-idx1-ubyte": 10_008,
}


def choose_auto_dataset(root: str | os.PathLike[str], *, timeout_s: float = 4.0) -> str:
    """Name of the set that ``data=auto`` stands for: "mnist" or "digits".

    Falls back to the embedded digits with a notice on stderr. A later call with the same root, in
    this process or in a child process, returns the same name without a notice.

    Args:
        root: folder that holds, or would receive, the data sets.
        timeout_s: seconds to wait for the mirror's answer when MNIST is not on disk.
    """
    folder = os.path.abspath(os.path.expanduser(root))
    answer, _, answered_for = os.environ.get(AUTO_DATA_VARIABLE, "").partition("@")
    if answer in ("mnist", "digits") and answered_for == folder:
        return answer

    if mnist_on_disk(folder) or (_writable(folder) and mirror_reachable(timeout_s)):
        answer = "mnist"
    else:
        answer = "digits"
        print(
            f"\n*** data=auto: MNIST is not in {folder} and cannot be downloaded.\n"
            "*** USING THE EMBEDDED DIGITS instead (UCI, 1,797 images, 8x8 scaled to 28x28).\n"
            "*** Results are named 'digits' and are not comparable with MNIST results.\n"
            "*** For MNIST: set OPTLAB_DATA to a folder with MNIST/raw, or connect to the "
            "internet and use data=mnist.\n",
            file=sys.stderr,
            flush=True,
        )
    os.environ[AUTO_DATA_VARIABLE] = f"{answer}@{folder}"
    return answer


def mnist_on_disk(root: str | os.PathLike[str]) -> bool:
    """Whether all four MNIST files are under `root` at their full size; contents are not read."""
    raw = Path(root).expanduser() / "MNIST" / "raw"
    return all(_has_bytes(raw / name, num_bytes) for name, num_bytes in _MNIST_BYTES.items())


def mirror_reachable(timeout_s: float = 4.0) -> bool:
    """Whether torchvision's MNIST mirror answers a HEAD request with the right file size."""
    answers: list[int] = []
    # In a thread, because DNS lookups ignore the timeout: a broken resolver can hang for a minute
    thread = threading.Thread(target=_request_mirror, args=(answers, timeout_s), daemon=True)
    thread.start()
    thread.join(timeout_s)
    return answers == [MIRROR_BYTES]


def _request_mirror(answers: list[int], timeout_s: float) -> None:
    from http.client import HTTPException
    from urllib.request import Request, urlopen

    try:
        with urlopen(Request(MIRROR_URL, method="HEAD"), timeout=timeout_s) as response:
            answers.append(int(response.headers.get("Content-Length") or 0))
    except (OSError, HTTPException, ValueError):  # unreachable, refused, or not our file
        pass


def _has_bytes(path: Path, num_bytes: int) -> bool:
    """Whether a file, or else the contents of its .gz, has so many bytes."""
    if path.is_file():
        return path.stat().st_size == num_bytes
    try:
        with open(f"{path}.gz", "rb") as file:
            file.seek(-4, os.SEEK_END)  # where gzip keeps the size of the contents (RFC 1952)
            return int.from_bytes(file.read(), "little") == num_bytes
    except OSError:  # missing, or shorter than that
        return False


def _writable(folder: str) -> bool:
    """Whether `folder` could be written to, or made: a download needs it."""
    path = Path(folder)
    while not path.exists() and path != path.parent:
        path = path.parent
    return path.is_dir() and os.access(path, os.W_OK)
