"""Where configurations disagree, by hand: five test images of two classes."""

import numpy as np
import pytest
from made_studies import summary_of

from optlab.analysis.disagreement import (
    count_votes,
    disagreement,
    disagreement_images_table,
    disagreement_table,
    mistaken_pictures,
    single_images,
)
from optlab.analysis.images import read_all_answers
from optlab.runs.folder import RunFolder

LABELS = (0, 0, 0, 1, 1)


def keep(folder, answers, sure=0.75):
    """Let a run answer these classes."""
    probabilities = np.full((len(answers), 2), 1 - sure, np.float16)
    probabilities[range(len(answers)), list(answers)] = sure
    np.savez(
        RunFolder(folder).test_probabilities, labels=LABELS, last=probabilities, best=probabilities
    )
    return folder


def votes_in(writer):
    """The votes of each configuration, the best first."""
    return [
        count_votes(row, read_all_answers(row.configuration.finished))
        for row in summary_of(writer).rows
    ]


def disagreement_in(writer):
    best, other = votes_in(writer)
    return disagreement(other, best)


def test_majorities_are_compared_image_by_image(new_study):
    writer = new_study()
    for seed, answers in enumerate([(0, 0, 0, 1, 0), (0, 0, 1, 1, 0), (0, 0, 0, 0, 0)]):
        keep(writer.run("adam", seed, accuracy=0.98), answers)
    for seed, answers in enumerate([(1, 1, 0, 1, 1), (1, 0, 0, 1, 1), (1, 1, 0, 1, 0)]):
        keep(writer.run("sgd", seed, accuracy=0.97), answers)
    # Adam's majority is 0 0 0 1 0, that of SGD 1 1 0 1 1
    one = disagreement_in(writer)
    assert one.share == 3 / 5
    assert list(one.only_reference) == [0, 1]  # no run of SGD recognizes image 0
    assert list(one.only_ours) == [4]
    # Of three pairs of its runs, two differ on image 1 and two on image 4
    assert one.ours.own_share == pytest.approx((2 + 2) / 3 / 5)
    (row,) = disagreement_table([one]).to_dict("records")
    assert (row["num_only_reference_right"], row["num_only_this_right"]) == (2, 1)
    table = disagreement_images_table([one])
    assert [*table.image] == [0, 1, 4]
    assert [*table.true] == [0, 0, 1]
    assert [*table.reference_answer] == [0, 0, 0]


def test_equally_many_votes_are_decided_by_the_probabilities(new_study):
    writer = new_study()
    keep(writer.run("adam", accuracy=0.98), (0, 0, 0, 1, 1))
    keep(writer.run("sgd", 0, accuracy=0.97), (0, 0, 0, 1, 1), sure=0.9)
    keep(writer.run("sgd", 1, accuracy=0.97), (1, 1, 1, 0, 0), sure=0.6)
    one = disagreement_in(writer)
    assert one.share == 0
    assert one.ours.own_share == 1
    assert one.reference.own_share is None


def test_pictures_come_from_whichever_run_has_kept_them(new_study):
    writer = new_study()
    for seed, indices in enumerate([(1, 4), (2, 4)]):
        images = np.stack([np.full((2, 2), index, np.uint8) for index in indices])
        path = RunFolder(writer.run("adam", seed)).test_mistakes
        np.savez(path, indices=np.array(indices, np.int32), images=images)
    writer.run("sgd")
    runs = summary_of(writer).workload.runs
    found = mistaken_pictures(runs, [1, 2, 3])
    assert {index: int(image[0, 0]) for index, image in found.items()} == {1: 1, 2: 2}
    path.write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"test_mistakes\.npz .*damaged"):
        mistaken_pictures(runs, [2])


def test_images_on_which_one_of_three_is_alone(new_study):
    writer = new_study()
    answers = {
        "adam": [(0, 0, 1, 1, 1), (0, 0, 1, 1, 0)],  # wrong on image 2, the only one
        "rmsprop": [(0, 1, 0, 0, 0), (0, 1, 0, 0, 0)],
        "sgd": [(0, 1, 0, 1, 0), (0, 1, 0, 1, 0)],
    }
    for optimizer, seeds in answers.items():
        for seed, each in enumerate(seeds):
            keep(writer.run(optimizer, seed), each)
    votes = {each.row.label: each for each in votes_in(writer)}
    adam, rmsprop, sgd = single_images([votes[name] for name in sorted(votes)])
    assert [one.tolist() for one in rmsprop] == [[3], []]
    assert [one.tolist() for one in sgd] == [[], []]
    only_wrong, only_right = (one.tolist() for one in adam)
    assert only_wrong == [2]
    assert only_right[0] == 1  # clearer than image 4, where the runs of Adam differ


def test_equally_clear_images_show_every_class_in_turn(new_study):
    writer = new_study()
    keep(writer.run("adam", accuracy=0.98), LABELS)
    keep(writer.run("sgd", accuracy=0.97), (1, 1, 1, 0, 0))
    one = disagreement_in(writer)
    assert list(one.only_reference) == [0, 3, 1, 4, 2]
