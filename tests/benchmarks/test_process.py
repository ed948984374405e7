import os
import sys
import time

import pytest

from benchmarks.process import ProgramFailed, run_program


def test_program_is_measured() -> None:
    before_s = time.time()
    finished = run_program(
        [sys.executable, "-c", "import time; block = b'x' * 2**28; time.sleep(0.2); print('done')"]
    )
    assert finished.seconds > 0.2
    assert finished.output == "done\n"
    assert before_s <= finished.started_s <= time.time()
    if hasattr(os, "wait4"):
        assert finished.peak_memory_gib is not None
        assert finished.peak_memory_gib > 0.25


def test_program_that_fails_shows_its_last_lines() -> None:
    with pytest.raises(ProgramFailed, match=r"\b3\b.*\n.*the reason"):
        run_program([sys.executable, "-c", "print('the reason'); raise SystemExit(3)"])
