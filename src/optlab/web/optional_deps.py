"""Check that the extras `web` and `share`, which the page needs, are installed."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def explain_missing_deps(extra: str = "web") -> Iterator[None]:
    """Exit with the command that installs the extra if an import in the block fails.

    Raises:
        SystemExit: a library is missing; the message names it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("optlab"):
            raise  # a bug, not a missing extra
        hint = f"pip install -e '.[{extra}]'"
        raise SystemExit(f"This needs {error.name}.\n\nhint: {hint}") from None
