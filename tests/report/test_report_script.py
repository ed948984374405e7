"""scripts/report.py: what it prints, and with which exit code it ends."""

import json
import re
import runpy
from pathlib import Path

import pytest

from optlab.analysis.assertions import HOLDS, REFUTED, UNDECIDED
from optlab.analysis.formatting import MINUS

pytestmark = pytest.mark.usefixtures("blank_pictures")

MAIN = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "report.py"))["main"]


def test_script_prints_the_table_and_where_the_report_is(five_optimizers, capsys):
    assert MAIN([str(five_optimizers.folder)]) == 0
    out = capsys.readouterr().out
    assert out.count("━") == 5
    verdict = json.loads((five_optimizers.folder / "report" / "verdict.json").read_text())
    assert verdict["workloads"][0]["lead"] in " ".join(out.split())
    assert out.rstrip().endswith("report/index.html")


def test_script_names_a_missing_folder(tmp_path, capsys):
    assert MAIN([str(tmp_path / "nothing")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert str(tmp_path / "nothing") in error


def test_script_says_what_to_do_when_nothing_finished(new_study, capsys):
    writer = new_study()
    (writer.run("adam") / "record.json").unlink()
    assert MAIN([str(writer.folder)]) == 2
    error = capsys.readouterr().err
    assert str(writer.folder) in error
    assert "1 unfinished" in error
    assert "hint: " in error


def test_script_says_that_no_trial_had_a_result(new_study, capsys):
    writer = new_study()
    folder = writer.run("sgd", status="diverged", reason="loss is NaN")
    row = {
        **{"optimizer": "sgd", "configuration": "sgd", "status": "diverged", "tuning_seed": 0},
        "hash": json.loads((folder / "record.json").read_text())["hash"],
    }
    writer.meta(tuning={"rows": [row], "winners": []})
    assert MAIN([str(writer.folder)]) == 2
    error = capsys.readouterr().err
    assert str(writer.folder) in error
    assert re.search("hint: .*conf/search_space, .*lr_multiplier", error)


@pytest.fixture
def study(new_study):
    writer = new_study()
    for seed in range(5):
        writer.run("adam", seed, accuracy=0.98, test_accuracy=0.980 + 0.0005 * seed)
        writer.run("sgd", seed, accuracy=0.97, test_accuracy=0.970 + 0.0004 * seed)
        writer.run("rmsprop", seed, accuracy=0.979, test_accuracy=0.981 - 0.0005 * seed)
    return str(writer.folder)


@pytest.mark.parametrize(
    ("assertions", "code", "lines"),
    [
        (["adam > sgd"], 0, [f"{HOLDS}: adam > sgd: +1.02 "]),
        (
            ["adam > sgd", "rmsprop > sgd - 0.1"],
            0,
            [f"{HOLDS}: adam > sgd", f"{HOLDS}: rmsprop > sgd - 0.1"],
        ),
        (["sgd > adam"], 1, [f"{REFUTED}: sgd > adam: {MINUS}1.02 "]),
        (
            ["adam > sgd", "adam > rmsprop"],
            1,
            [f"{HOLDS}: adam > sgd", f"{UNDECIDED}: adam > rmsprop"],
        ),
    ],
)
def test_exit_code_says_whether_all_assertions_hold(assertions, code, lines, study, capsys):
    options = [part for assertion in assertions for part in ("--assert", assertion)]
    assert MAIN([study, *options]) == code
    printed = capsys.readouterr().out.splitlines()
    found = printed[-len(lines) :]
    assert [line[: len(start)] for line, start in zip(found, lines, strict=True)] == lines


@pytest.mark.parametrize("assertion", ["adam => sgd", "adam > sdg"])
def test_misuse_ends_with_2_before_the_report_is_written(assertion, study, capsys):
    assert MAIN([study, "--assert", assertion]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert "hint: " in captured.err
    assert captured.out == ""
    assert not (Path(study) / "report").exists()


def test_assertion_has_to_hold_in_every_workload_that_has_both(new_study, capsys):
    writer = new_study()
    for seed in range(5):
        for model, sign in (("mlp", 1), ("cnn", -1)):
            for optimizer, better in (("adam", 0.01 * sign), ("sgd", 0.0)):
                test = 0.9 + better + 0.0003 * seed
                writer.run(optimizer, seed, accuracy=test, test_accuracy=test, model=model)
    assert MAIN([str(writer.folder), "--assert", "adam > sgd"]) == 1
    lines = capsys.readouterr().out.splitlines()[-2:]
    assert lines[0].startswith(f"{REFUTED}: adam > sgd in mnist-cnn: ")
    assert lines[1].startswith(f"{HOLDS}: adam > sgd in mnist-mlp: ")
