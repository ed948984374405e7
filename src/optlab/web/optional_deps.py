"""What the page needs beyond a plain installation: the extra `web`."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def explain_missing_deps() -> Iterator[None]:
    """For the imports of a script: without the extra it ends with the command that installs it.

    Raises:
        SystemExit: a library is missing; the message names it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("optlab"):
            raise  # a mistake of ours, which no installation mends
        raise SystemExit(f"This needs {error.name}.\n\nhint: pip install -e '.[web]'") from None
