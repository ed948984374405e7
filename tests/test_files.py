import errno
import json
import math
import os

import pytest

from optlab.files import atomic_write, write_json


def test_file_is_the_old_one_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "record.json"
    path.write_text("old")
    with atomic_write(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_error_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "record.json"
    path.write_text("old")
    with pytest.raises(OSError, match="disk"), atomic_write(path) as partial:
        partial.write_text("ne")
        raise OSError("the disk is full")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_folders_on_the_way_are_made(tmp_path):
    with atomic_write(tmp_path / "a" / "b" / "c.txt") as partial:
        partial.write_text("here")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "here"


def test_error_without_a_name_is_given_the_files(tmp_path):
    named = pytest.raises(OSError, match=rf"{os.strerror(errno.ENOSPC)}: .*record\.json")
    with named, atomic_write(tmp_path / "record.json"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_numbers_that_are_not_finite_become_null_in_json(tmp_path):
    path = tmp_path / "record.json"
    write_json(path, {"a": math.nan, "b": [math.inf, 1.5], "c": {"d": (-math.inf, 2)}})
    assert json.loads(path.read_text()) == {"a": None, "b": [None, 1.5], "c": {"d": [None, 2]}}
