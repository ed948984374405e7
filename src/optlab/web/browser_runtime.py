"""Find ONNX Runtime Web, which runs models in a browser, or download it with npm.

It is not part of OptLab, because its WebAssembly file has 14 MB.
"""

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from optlab.files import atomic_write, cache_folder

VERSION = "1.30.0"
PACKAGE = f"onnxruntime-web@{VERSION}"
SHA512 = (  # of the package's file, as npm lists it
    "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
)
# The variant without WebGPU, which needs no headers from the web server
SCRIPT = "ort.wasm.bundle.min.mjs"
WASM = "ort-wasm-simd-threaded.wasm"
TIMEOUT_S = 600


def find_runtime(folder: Path | None = None) -> tuple[Path, Path]:
    """Return the runtime's script and its WebAssembly.

    Args:
        folder: where the package was unpacked; None for the cache, which npm fills if it is empty.

    Raises:
        ValueError: it is not there, is another version, or npm cannot get it.
    """
    if folder is not None:
        return _unpacked_in(folder)
    cached = cache_folder() / f"onnxruntime-web-{VERSION}"
    files = cached / SCRIPT, cached / WASM
    if not all(file.is_file() for file in files):
        _download(cached)
    return files


def _unpacked_in(folder: Path) -> tuple[Path, Path]:
    for dist in (folder, folder / "dist", folder / "package" / "dist"):
        script, wasm = dist / SCRIPT, dist / WASM
        if script.is_file() and wasm.is_file():
            with script.open(errors="replace") as file:
                head = file.read(500)
            if f"v{VERSION}" not in head.split():
                raise _missing(f"{script} is of another version")
            return script, wasm
    raise _missing(f"{folder} has no dist/{SCRIPT} and dist/{WASM}")


def _download(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise _missing("npm, which downloads it, is not installed")
    with tempfile.TemporaryDirectory() as temporary:
        command = [npm, "pack", "--silent", PACKAGE]
        try:
            subprocess.run(
                command, cwd=temporary, check=True, capture_output=True, timeout=TIMEOUT_S
            )
        except subprocess.SubprocessError as error:
            output = (getattr(error, "stderr", None) or b"").decode(errors="replace").strip()
            raise _missing(f"npm cannot download it: {output or error}") from error
        (package,) = Path(temporary).glob("*.tgz")
        digest = hashlib.sha512(package.read_bytes()).digest()
        if base64.b64encode(digest).decode() != SHA512:
            raise _missing("what npm downloaded has another SHA-512 than the published package")
        with tarfile.open(package) as archive:
            for name in (SCRIPT, WASM):
                member = archive.extractfile(f"package/dist/{name}")
                assert member is not None  # the digest is that of a package that has it
                with atomic_write(folder / name) as partial:
                    partial.write_bytes(member.read())


def _missing(problem: str) -> ValueError:
    return ValueError(
        f"Models need onnxruntime-web {VERSION} to run in a browser, but {problem}.\n\n"
        f"hint: type `npm pack {PACKAGE}` where there are npm and a network, unpack the file with "
        f"`tar -xzf`, and name the folder: --runtime FOLDER. It must have dist/{SCRIPT} and "
        f"dist/{WASM}"
    )
