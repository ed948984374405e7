"""The user's own classes: which are, and whether they were edited since a run."""

import pytest

from optlab.training.code_fingerprint import _fingerprint, changed_modules, own_code


@pytest.fixture(autouse=True)
def importable(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    _fingerprint.cache_clear()


def edit(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    _fingerprint.cache_clear()  # as in the next command


def test_classes_of_packages_are_nobodys_own(make_config):
    assert own_code(make_config("optimizer=sgd", "model=resnet18")) == {}
    assert own_code(make_config("optimizer=schedule_free", "callbacks=early_stopping")) == {}


def test_edited_file_is_told_and_a_restored_one_is_not(make_config, tmp_path):
    config = make_config("optimizer=sgd")
    config.optimizer._target_ = "steepest_test.Descent"
    edit(tmp_path / "steepest_test.py", "class Descent: pass")
    then = own_code(config)
    assert list(then) == ["steepest_test"]
    assert changed_modules(config, then) == []
    edit(tmp_path / "steepest_test.py", "class Descent: rate = 2")
    assert changed_modules(config, then) == ["steepest_test"]
    edit(tmp_path / "steepest_test.py", "class Descent: pass")
    assert changed_modules(config, then) == []


def test_every_file_of_a_package_counts(make_config, tmp_path):
    config = make_config()
    config.model._target_ = "nets_test.wide.Net"
    edit(tmp_path / "nets_test" / "wide.py", "from nets_test import parts")  # needs no __init__.py
    edit(tmp_path / "nets_test" / "parts.py", "WIDTH = 8")
    then = own_code(config)
    edit(tmp_path / "nets_test" / "parts.py", "WIDTH = 16")
    assert changed_modules(config, then) == ["nets_test"]


@pytest.mark.parametrize("then", [{}, {"other": "0"}])
def test_record_that_does_not_know_is_not_called_outdated(then, make_config, tmp_path):
    config = make_config()
    config.model._target_ = "unknown_test.Net"
    edit(tmp_path / "unknown_test.py", "class Net: pass")
    assert changed_modules(config, then) == []


def test_class_that_cannot_be_found_is_left_to_the_checks(make_config):
    config = make_config()
    config.model._target_ = "nowhere_test.Net"
    assert own_code(config) == {}
