"""Imports that the garbage collector passes by, and nothing else that it passes by."""

import gc
import sys

import pytest

from optlab.training.door import _import_run
from optlab.training.frozen_imports import frozen_imports


@pytest.fixture(autouse=True)
def thawed():
    yield
    gc.unfreeze()


def test_what_was_made_is_frozen_and_the_collector_goes_on_at_its_pace():
    pace = gc.get_threshold()
    with frozen_imports():
        made = [[] for _ in range(1000)]
        assert gc.get_threshold() > pace
    assert gc.get_freeze_count() > len(made)
    assert gc.get_threshold() == pace


def test_failing_import_leaves_the_collector_as_it_was():
    pace = gc.get_threshold()
    with pytest.raises(ImportError), frozen_imports():
        import optlab.nowhere  # noqa: F401
    assert gc.get_threshold() == pace


def test_only_the_first_run_of_a_process_freezes():
    assert "optlab.training.run" in sys.modules or _import_run()
    gc.unfreeze()
    _import_run()
    assert gc.get_freeze_count() == 0
