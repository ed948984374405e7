"""scripts/report.py: what it prints for assertions, and with which exit code it ends."""

import runpy
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("blank_pictures")

MAIN = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "report.py"))["main"]


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
        (["adam > sgd"], 0, ["holds: adam > sgd: +1.02 points"]),
        (["adam > sgd", "rmsprop > sgd - 0.1"], 0, ["holds: adam > sgd", "holds: rmsprop > sgd"]),
        (["sgd > adam"], 1, ["does not hold: sgd > adam"]),
        (["adam > sgd", "adam > rmsprop"], 1, ["holds: adam > sgd", "undecided: adam > rmsprop"]),
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
    assert lines[0].startswith("does not hold: adam > sgd in mnist-cnn: ")
    assert lines[1].startswith("holds: adam > sgd in mnist-mlp: ")
