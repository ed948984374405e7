# ruff: noqa: F401
"""What the fork server imports once, so that no run of a study has to."""

import atexit
import os
import signal
import sys

from optlab.training.process import frozen_imports

# Ctrl-C is the study's to answer; the server ignores it by itself only when it is set up
interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
with frozen_imports():
    import sklearn.metrics
    import sklearn.model_selection
    import torch.utils.tensorboard

    import optlab.training.figures
    import optlab.training.run
signal.signal(signal.SIGINT, interrupt)  # which the runs inherit
if "multiprocessing.forkserver" in " ".join(sys.orig_argv):
    # Else the server, when the study is over, takes torch's modules apart for a second or two, and
    # who reads the study's output through a pipe waits for that
    atexit.register(os._exit, 0)
