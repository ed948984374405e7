"""Set up the server from which the runs of a study are forked."""

import atexit
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from optlab.training.process import frozen_imports


@contextmanager
def server_imports() -> Iterator[None]:
    """Import in this block what all children need."""
    # The study handles Ctrl-C; the server ignores it by itself only after its setup
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    with frozen_imports():
        yield
    signal.signal(signal.SIGINT, interrupt)  # the children inherit it
    if "multiprocessing.forkserver" in " ".join(sys.orig_argv):
        # At the end of a study, the server would take a second or two to unload torch, and keep
        # the study's output pipe open for that time
        atexit.register(os._exit, 0)
