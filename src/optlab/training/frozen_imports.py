"""Imports that the garbage collector passes by from then on."""

import atexit
import gc
import linecache
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def frozen_imports() -> Iterator[None]:
    """What is imported in this block is collected seldom meanwhile, and never afterwards.

    Importing torch makes half a million objects that stay. To look through them at Python's own
    pace costs a fifth of the import's time, and to look through them again in every full
    collection of a run half a second. In a server that forks, their pages stay shared.
    """
    pace = gc.get_threshold()
    gc.set_threshold(10_000, 1000, 1000)
    try:
        yield
    finally:
        linecache.clearcache()  # 4 MB of source that torch's decorators looked into
        gc.freeze()
        atexit.register(gc.unfreeze)  # else torch's extensions complain of leaks at the end
        gc.set_threshold(*pace)
