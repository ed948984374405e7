"""What the fork server imports once, so that no run of a study has to.

Importing makes many objects and no garbage: collecting meanwhile costs a fifth of the time. Frozen,
they are passed by in the runs' own collections, and the pages that hold them stay shared.
"""

import atexit
import gc
import signal

# Ctrl-C is the study's to answer; the server ignores it by itself only when it is set up
interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
gc.disable()
import sklearn.metrics  # noqa: E402
import sklearn.model_selection  # noqa: E402, F401
import torch.utils.tensorboard  # noqa: E402, F401

import optlab.training.figures  # noqa: E402
import optlab.training.run  # noqa: E402, F401

gc.freeze()
atexit.register(gc.unfreeze)  # else torch's extensions complain of leaks when the server ends
gc.enable()
signal.signal(signal.SIGINT, interrupt)  # which the runs inherit
