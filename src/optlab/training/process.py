"""Set up a process for speed, and exit quickly. docs/benchmarks.md lists the gain of each step.

Importing this module does not import torch.
"""

import atexit
import ctypes
import gc
import linecache
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h

IGNORED_WARNINGS = (
    ".*GPU available but not used.*",  # trainer=cpu says so
    ".*does not have many workers.*",  # by design: the images are on the device already
    ".*isinstance\\(treespec, LeafSpec\\).*",  # Lightning 2.6 with torch 2.15
    ".*number of training batches.*is smaller than the logging interval.*",
    ".*recommended to use `self.log.*sync_dist=True.*",  # what we log is summed up already
    ".*Checkpoint directory .* exists and is not empty.*",  # a run that resumes
)


@contextmanager
def frozen_imports() -> Iterator[None]:
    """Import in this block almost without garbage collection, then freeze what was imported.

    Importing torch makes half a million objects that stay. Collecting at Python's own pace takes a
    fifth of the import's time, and each later full collection would take half a second.
    `gc.freeze` excludes these objects from all later collections. In a server that forks, their
    memory pages then stay shared.
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


def prepare_process(num_threads: int, *, on_cuda: bool) -> None:
    """Set threads, memory and warnings of this process before a run."""
    import torch

    torch.set_num_threads(num_threads)
    if sys.platform == "linux":
        _keep_freed_memory()
    if not torch.cuda.is_available():
        # torch's optimizers check for a GPU at every step. Lightning makes torch query NVIDIA's
        # library, which is searched for each time. That takes a tenth of a small network's step.
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    if on_cuda:
        # Earlier runs of this process leave CUDA graphs in reference cycles
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        torch.set_float32_matmul_precision("high")  # TF32, on GPUs that have it
    # Hide Lightning's info messages (tips and known facts about the run), but not its warnings
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    for name in ("lightning.pytorch", "lightning.fabric", "lightning"):
        logging.getLogger(name).handlers.clear()  # otherwise each line is printed twice
    profiles = logging.getLogger("lightning.pytorch.profilers")  # trainer.profiler prints its table
    profiles.setLevel(logging.INFO)
    if not profiles.handlers:
        profiles.addHandler(logging.StreamHandler())
    for message in IGNORED_WARNINGS:
        warnings.filterwarnings("ignore", message=message)


def _keep_freed_memory() -> None:
    """Let the C library reuse the memory that a step frees.

    glibc returns large blocks to the system at once, and the system clears every page when the
    next step allocates them again. That takes a tenth of a CNN's step and a fifth of RAdam's.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # musl has none
        libc.mallopt(M_MMAP_THRESHOLD, 32 * 2**20)
        libc.mallopt(M_TRIM_THRESHOLD, 256 * 2**20)


def quick_exit() -> NoReturn:
    """Exit without the interpreter's teardown, which for torch takes 0.6 s and 0.1 GiB.

    `atexit` handlers run first, in Python's own order (loggers need them), and the output is
    flushed. `multiprocessing` ends its processes in the same way.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
