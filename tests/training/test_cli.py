"""The boundary of one run: what is recorded, printed and returned when all goes well or wrong."""

import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from filelock import FileLock

from optlab.analysis import read_run
from optlab.runs.record import find_record, read_record
from optlab.training import cli
from optlab.training.code_fingerprint import _fingerprint
from optlab.training.run_id import run_dir


def test_run_returns_the_validation_accuracy_of_its_last_weights(make_config, capsys):
    config = make_config("trainer.max_epochs=2")
    value = cli.train(config)
    record = read_record(run_dir(config))
    assert value == record.validation.last.accuracy
    lines = capsys.readouterr().out.splitlines()
    first = pd.read_csv(run_dir(config) / "epochs.csv").iloc[0]
    numbers = f"{first['val/loss']:.4f}, .*{first['val/accuracy']:.2%}"
    assert re.match(rf"adam-seed0: .*\b1/2\b.*{numbers}", lines[0])
    assert lines[-1].startswith(f"{run_dir(config)}: ")
    assert f" {value:.2%} " in lines[-1]


def test_finished_run_is_told_and_not_trained(make_config, capsys):
    config = make_config("trainer.max_epochs=1")
    value = cli.train(config)
    capsys.readouterr()
    assert cli.train(config) == value
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{run_dir(config)}: ")
    assert f" {value:.2%} " in line
    assert "rerun=true" in line


def test_finished_run_of_an_edited_class_says_so(make_config, tmp_path, monkeypatch, capsys):
    module = tmp_path / "edited_test.py"
    module.write_text("import torch\nclass Mine(torch.optim.SGD): pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    config = make_config("optimizer=sgd", "trainer.max_epochs=1")
    config.optimizer._target_ = "edited_test.Mine"
    cli.train(config)
    module.write_text("import torch\nclass Mine(torch.optim.Adam): pass\n")
    _fingerprint.cache_clear()  # as in the next command
    capsys.readouterr()
    cli.train(config)
    assert re.search(r"\bedited_test\b.*rerun=true", capsys.readouterr().out)


def test_diverged_run_exits_with_1_every_time(make_config, capsys):
    config = make_config("optimizer=sgd", "lr_multiplier=100000")
    for _ in range(2):
        with pytest.raises(SystemExit, match=r"^1$"):
            cli.train(config)
    reason = re.escape(read_record(run_dir(config)).reason)
    assert re.search(rf"\bdiverged\b.*{reason}\b.*\brerun=true\b", capsys.readouterr().out)


def test_config_that_is_refused_is_told_and_leaves_no_record(make_config, capsys):
    config = make_config("trainer.max_epochs=0")
    with pytest.raises(SystemExit, match=r"^1$"):
        cli.train(config)
    assert re.match(r"\nadam-seed0 .*\b1\b.*\n  - trainer\.max_epochs ", capsys.readouterr().err)
    assert find_record(run_dir(config)) is None


def test_failure_is_recorded_and_told_first(make_config, monkeypatch, capsys):
    def refuse(*args, **kwargs):
        raise ValueError("the images are upside down")

    monkeypatch.setattr("optlab.training.build.build_net", refuse)
    config = make_config()
    with pytest.raises(SystemExit, match=r"^1$"):
        cli.train(config)
    record = read_record(run_dir(config))
    assert record.status == "failed"
    assert record.reason == "ValueError: the images are upside down"
    assert read_run(run_dir(config)).optimizer == "adam"  # reports can count it where it belongs
    shown = capsys.readouterr().err
    assert shown.startswith("\nadam-seed0 failed: ValueError: the images are upside down")
    assert record.command is None  # the test is no command
    assert "again: # " in shown
    assert "Traceback" not in shown  # a ValueError says all that a user can act on


def test_error_of_the_program_shows_its_traceback(make_config, monkeypatch, capsys):
    def broken(*args, **kwargs):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("optlab.training.build.build_net", broken)
    config = make_config()
    with pytest.raises(SystemExit, match=r"^1$"):
        cli.train(config)
    assert read_record(run_dir(config)).reason == "ZeroDivisionError: a bug"
    shown = capsys.readouterr().err
    assert shown.index("ZeroDivisionError: a bug") < shown.index("Traceback")


def test_failed_run_is_trained_by_the_next_command(make_config, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("the disk is full")

    config = make_config("trainer.max_epochs=1")
    with monkeypatch.context() as patch:
        patch.setattr("optlab.training.build.build_net", broken)
        with pytest.raises(SystemExit, match=r"^1$"):
            cli.train(config)
    cli.train(config)
    assert read_record(run_dir(config)).status == "finished"


def test_refused_rerun_exits_with_1_and_keeps_the_result(make_config, monkeypatch, capsys):
    monkeypatch.setattr("optlab.runs.folder.LOCK_TIMEOUT_S", 0.1)
    config = make_config("trainer.max_epochs=1")
    cli.train(config)
    with (
        FileLock(run_dir(config) / ".lock"),
        pytest.raises(SystemExit, match=r"^1$"),
    ):
        cli.train(make_config("trainer.max_epochs=1", "rerun=true"))
    assert re.search(rf"process .*{re.escape(str(run_dir(config)))}", capsys.readouterr().err)
    assert read_record(run_dir(config)).status == "finished"


def test_run_that_another_process_trains_is_not_recorded_as_failed(
    make_config, monkeypatch, capsys, caplog
):
    monkeypatch.setattr("optlab.runs.folder.LOCK_TIMEOUT_S", 0.1)
    config = make_config("trainer.max_epochs=1")
    folder = run_dir(config)
    folder.mkdir(parents=True)
    with FileLock(folder / ".lock"), pytest.raises(SystemExit, match=r"^1$"):
        cli.train(config)
    assert not (folder / "record.json").exists()
    assert re.search(rf"process .*{re.escape(str(folder))}", capsys.readouterr().err)
    assert "failed" not in caplog.text  # the log is that of the other process


def test_damaged_record_is_no_result(make_config):
    config = make_config("trainer.max_epochs=1")
    run_dir(config).mkdir(parents=True)
    for text in ("", "{", '{"status": "fini', "[]", "null", '{"seed": 0}'):
        (run_dir(config) / "record.json").write_text(text)
        assert find_record(run_dir(config)) is None
    assert cli.train(config) > 0.5
    assert read_record(run_dir(config)).status == "finished"


def test_plan_starts_nothing(make_config, capsys):
    config = make_config("plan=true")
    assert math.isnan(cli.train(config))
    assert not run_dir(config).exists()
    shown = capsys.readouterr().out
    assert re.search(r"\b1 to train\b\D*\b0 done\b", shown)


def test_plan_refuses_what_a_run_refuses(make_config):
    with pytest.raises(ValueError, match=r"optimizer\.lr .*-1\b.* > 0"):
        cli.train(make_config("plan=true", "optimizer.lr=-1"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("rerun=maybe", r"rerun .*\bmaybe\b.* true.*false"),
        ("plan=2", r"plan .*\b2\b.* true.*false"),
        ("on_error=panic", r"on_error .*\bpanic\b.* continue\b.*\bstop\b"),
        ("seed=abc", r"seed .*\babc\b.* >= 0"),
        ("num_replicas=two", r"num_replicas .*\btwo\b.* >= 1"),
    ],
)
def test_switch_that_is_none_is_refused_before_anything_is_looked_at(
    override, message, make_config, tmp_path
):
    with pytest.raises(ValueError, match=message):
        cli.train(make_config(override))
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("data.batch_size=0", r"data\.batch_size .*\b0\b.* >= 1"),
        ("data.augment.crop_fill=mirror", r"crop_fill .*\bmirror\b.* zero, reflect"),
    ],
)
def test_wrong_value_of_the_data_is_told_in_its_own_words(option, message, make_config, capsys):
    with pytest.raises(SystemExit, match=r"^1$"):
        cli.train(make_config(option))
    shown = capsys.readouterr().err
    assert re.search(message, shown)
    assert "InstantiationException" not in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("def step(self): pass", r"\.Mine .*'closure'"),
        ("def step(self, closure=None): return 0.0", r"Mine\.step (?s:.*)hint: .*closure\(\)"),
    ],
)
def test_optimizer_without_a_closure_is_told_what_it_lacks(
    step, message, make_config, tmp_path, monkeypatch, capsys
):
    name = f"mine{len(step)}"
    (tmp_path / f"{name}.py").write_text(
        f"import torch\nclass Mine(torch.optim.SGD):\n    {step}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    config = make_config("optimizer=sgd")
    config.optimizer._target_ = f"{name}.Mine"
    with pytest.raises(SystemExit, match=r"^1$"):
        cli.train(config)
    assert re.search(message, capsys.readouterr().err)


def test_outputs_that_cannot_be_written_are_told(make_config, tmp_path):
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder should be")
    with pytest.raises(OSError, match=re.escape(str(blocked))):
        cli.train(make_config(f"outputs={blocked}"))


def test_outputs_may_have_any_name(make_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = make_config("trainer.max_epochs=1")
    config.outputs = "two words größe a=b quote's"
    cli.train(config)
    assert read_record(run_dir(config)).status == "finished"


def test_last_batch_of_one_image_with_batch_norm_is_refused_with_a_hint(make_config, capsys):
    """1,293 images leave one over after 17 batches of 76: no statistics of a single image."""
    config = make_config("model.batch_norm=true", "data.batch_size=76", "trainer.max_epochs=1")
    with pytest.raises(SystemExit, match=r"^1$"):
        cli.train(config)
    assert "data.batch_size" in capsys.readouterr().err


def test_leaving_does_what_was_left_for_the_exit_and_takes_nothing_apart():
    program = """
import atexit, threading, time
from optlab.analysis import read_run
from optlab.training import process

class Kept:
    def __del__(self):
        print("taken apart")

kept = Kept()
atexit.register(print, "at exit")
threading.Thread(target=lambda: (time.sleep(0.2), print("thread"))).start()
print("main", end=", ")
process.quick_exit()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "main, thread\nat exit\n", "")


def test_yaml_that_cannot_be_parsed_is_told_with_its_line(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py"])

    def main():
        yaml.safe_load("name: mine\n\tlr: 3")

    with pytest.raises(SystemExit, match=r"(?s)^error: .*line 2, column 1"):
        cli.run_cli(main)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data=null", r"\bdata\b.*null"),
        ("data=digits ~seed", r"\bseed\b.*missing"),
        ("data=digits optimizer.base=sgd", r"optimizer\.base\b(?s:.*)hint: .*optimizer=sam\b"),
        ("data=digits run_name=${data.nope}", r"'data\.nope'"),  # Hydra's own message
    ],
)
def test_what_every_run_needs_cannot_be_removed(override, message, type_command):
    with pytest.raises(SystemExit, match=rf"^error: .*{message}"):
        type_command(*override.split())


def test_optimizer_whose_step_returns_nothing_trains(make_config, tmp_path, monkeypatch):
    (tmp_path / "mine_silent.py").write_text(
        "import torch\n"
        "class Silent(torch.optim.SGD):\n"
        "    def step(self, closure=None):\n"
        "        super().step(closure)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    config = make_config("optimizer=sgd", "trainer.max_epochs=1")
    config.optimizer._target_ = "mine_silent.Silent"
    assert cli.train(config) > 0.2  # guessing is 0.1


def test_command_optlab_is_train_py_with_the_current_folder_to_import_from(monkeypatch, tmp_path):
    ran = []
    monkeypatch.setattr("runpy.run_path", lambda path, run_name: ran.append((path, run_name)))
    monkeypatch.setattr(sys, "argv", ["/bin/optlab", "optimizer=sgd"])
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    monkeypatch.chdir(tmp_path)
    cli.main()
    program = str(Path(__file__).parents[2] / "train.py")
    assert ran == [(program, "__main__")]
    assert sys.argv == [program, "optimizer=sgd"]
    assert sys.path[0] == str(tmp_path)
    assert os.environ["PYTHONPATH"] == f"{tmp_path}{os.pathsep}elsewhere"  # of further processes
