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
    # Ctrl-C is the study's to answer; the server ignores it by itself only when it is set up
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    with frozen_imports():
        yield
    signal.signal(signal.SIGINT, interrupt)  # which the children inherit
    if "multiprocessing.forkserver" in " ".join(sys.orig_argv):
        # Else the server, when the study is over, takes torch's modules apart for a second or two,
        # and who reads the study's output through a pipe waits for that
        atexit.register(os._exit, 0)
