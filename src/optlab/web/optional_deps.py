"""Check that the extras `web` and `share`, which the page needs, are installed."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def explain_missing_deps(extra: str = "web") -> Iterator[None]:
    """For the imports of a script: without the extra it ends with the command that installs it.

    Raises:
        SystemExit: a library is missing; the message names it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("optlab"):
            raise  # a mistake of ours, which no installation mends
        hint = f"pip install -e '.[{extra}]'"
        raise SystemExit(f"This needs {error.name}.\n\nhint: {hint}") from None
