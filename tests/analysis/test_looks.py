"""Looks at growing seeds: what counts as one, and what is left of the error rate."""

import re

import numpy as np
import pytest
from made_studies import summary_of

from optlab.analysis.verdict import make_verdict
from optlab.report import make_report
from optlab.runs.study_file import read_study_file

pytestmark = pytest.mark.usefixtures("blank_pictures")

NOISE = np.random.default_rng(3).normal(0, 0.001, (3, 20))


@pytest.fixture
def writer(new_study):
    return new_study()


def add(writer, optimizer, seeds):
    """Runs of one of three optimizers, of which adam is the best by validation."""
    index = ("adam", "sgd", "muon").index(optimizer)
    for seed in seeds:
        test = 0.97 + NOISE[index, seed]
        writer.run(optimizer, seed, accuracy=0.98 - 0.001 * index, test_accuracy=test)


def look(writer):
    """Report, and return the level of each claim by label."""
    make_report(writer.folder)
    return levels(writer)


def levels(writer):
    return {row.label: difference.level for row, difference in summary_of(writer).compared()}


def test_every_report_on_more_seeds_shares_the_error_rate(writer):
    for seeds, num_looks in ((range(5), 1), (range(5, 7), 2), (range(7, 20), 3)):
        for optimizer in ("adam", "sgd"):
            add(writer, optimizer, seeds)
        assert levels(writer) == {"sgd": 0.05 / num_looks}  # for who reads it without a report
        assert look(writer) == look(writer) == {"sgd": 0.05 / num_looks}
    assert [row.num_seeds for row in read_study_file(writer.folder).looks] == [[5, 7, 20]] * 2
    remarks = make_verdict(summary_of(writer)).remarks
    (remark,) = [text for text in remarks if "looks" in text]
    assert re.search(r"\(5 and 7\).*\b3\b", remark)


def test_too_few_seeds_for_a_claim_and_further_optimizers_are_no_look(writer):
    for optimizer in ("adam", "sgd"):
        add(writer, optimizer, range(4))
    assert look(writer) == {"sgd": 0.05}
    for optimizer in ("adam", "sgd"):
        add(writer, optimizer, range(4, 6))
    assert look(writer) == {"sgd": 0.05}
    add(writer, "muon", range(6))
    assert look(writer) == {"sgd": 0.05, "muon": 0.05}
    add(writer, "adam", range(6, 9))  # which adds no pair
    assert look(writer) == {"sgd": 0.05, "muon": 0.05}
    add(writer, "sgd", range(6, 9))
    assert look(writer) == {"sgd": 0.025, "muon": 0.05}


def test_look_counts_after_another_configuration_has_become_the_best(writer):
    for optimizer in ("adam", "sgd"):
        add(writer, optimizer, range(5))
    assert look(writer) == {"sgd": 0.05}
    for seed in range(5, 10):
        writer.run("adam", seed, accuracy=0.97)
        writer.run("sgd", seed, accuracy=0.99)
    assert look(writer) == {"adam": 0.025}


def test_damaged_study_file_is_left_as_it_is(writer):
    for optimizer in ("adam", "sgd"):
        add(writer, optimizer, range(5))
    path = writer.folder / "study.json"
    path.write_text('{"looks": ')
    assert look(writer) == {"sgd": 0.05}
    assert path.read_text() == '{"looks": '
