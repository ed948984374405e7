"""Write files atomically, so that readers never see a partial file, even after a crash."""

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to, and rename it to `path` when the block ends.

    `path` stays as it was if the block raises or the process is killed. Missing parent folders are
    created.

    Raises:
        OSError: with the file's name, if it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error  # of a full disk
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write strict JSON (a number that is not finite becomes null) in one atomic step."""
    with atomic_write(path) as partial, partial.open("w") as file:
        json.dump(_finite(content), file, indent=1, allow_nan=False)
        file.flush()
        os.fsync(file.fileno())


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def cache_folder() -> Path:
    """Return the cache folder, $OPTLAB_CACHE or data/cache; its files can be recomputed."""
    return Path(os.environ.get("OPTLAB_CACHE") or Path("data", "cache")).expanduser()
