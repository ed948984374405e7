import numpy as np
import pytest
import torch

from optlab.data.splits import split_train_part, stratified_subset

LABELS = torch.from_numpy(np.random.default_rng(0).permutation(np.repeat(np.arange(10), 100)))


def split(labels=LABELS, **options):
    return split_train_part(labels, **{"val_fraction": 0.1, "split_seed": 0, **options})


def test_train_and_validation_are_disjoint_complete_and_ascending():
    parts = split()
    assert torch.cat([parts.train, parts.val]).sort().values.tolist() == list(range(1000))
    assert parts.train.tolist() == sorted(parts.train.tolist())
    assert parts.val.tolist() == sorted(parts.val.tolist())
    assert parts.train.dtype == parts.val.dtype == torch.int64


def test_validation_has_the_class_shares_of_the_whole():
    # 10 % of 100 images a class
    assert LABELS[split().val].bincount().tolist() == [10] * 10


def test_split_depends_on_its_seed_alone():
    assert torch.equal(split().val, split().val)
    assert not torch.equal(split().val, split(split_seed=1).val)


def test_split_never_moves():
    # sum of the indices as first computed: a library that draws otherwise shows here
    assert int(split().val.sum()) == 53107


def test_folds_cover_every_image_once_and_are_stratified():
    folds = [split(num_folds=5, fold=fold) for fold in range(5)]
    assert torch.cat([f.val for f in folds]).sort().values.tolist() == list(range(1000))
    for fold in folds:
        assert LABELS[fold.val].bincount().tolist() == [20] * 10
        assert torch.cat([fold.train, fold.val]).sort().values.tolist() == list(range(1000))


def test_small_train_fractions_are_stratified_subsets_of_larger_ones():
    whole = split()
    chosen = [split(train_fraction=f) for f in (0.02, 0.1, 0.5)]
    assert [len(c.train) for c in chosen] == [18, 90, 450]
    assert LABELS[chosen[1].train].bincount().tolist() == [9] * 10
    sets = [set(c.train.tolist()) for c in [*chosen, whole]]
    assert sets[0] < sets[1] < sets[2] < sets[3]
    assert all(torch.equal(c.val, whole.val) for c in chosen)


def test_train_fraction_works_within_a_fold():
    fold = split(num_folds=4, fold=1, train_fraction=0.1)
    assert set(fold.train.tolist()) <= set(split(num_folds=4, fold=1).train.tolist())


def test_stratified_subset_keeps_unequal_shares():
    labels = torch.tensor([0] * 90 + [1] * 10)
    assert labels[stratified_subset(labels, 50, seed=3)].bincount().tolist() == [45, 5]
    assert len(stratified_subset(labels, 0, seed=3)) == 0
    assert stratified_subset(labels, 100, seed=3).tolist() == list(range(100))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"val_fraction": 0.0}, r"data\.val_fraction .*\b0\.0\b.* \(0, 1\)"),
        ({"val_fraction": 1.0}, r"data\.val_fraction .*\b1\.0\b"),
        ({"val_fraction": 0.001}, r"val_fraction .*\b0\.001\b.*\b1\b.*\b1000\b.*\b10\b"),
        ({"val_fraction": 0.999}, r"val_fraction .*\b0\.999\b.*\b999\b.*\b1000\b.*\b10\b"),
        ({"split_seed": -1}, r"data\.split_seed .*-1\b.* \[0, 4294967295\]"),
        ({"num_folds": 1}, r"data\.num_folds .*\b1\b.*\b0\b.*\b2\b"),
        ({"num_folds": -2}, r"data\.num_folds .*-2\b"),
        ({"fold": 1}, r"data\.fold .*\b1\b.*data\.num_folds .*\b0\b"),
        ({"num_folds": 5, "fold": 5}, r"data\.fold .*\b5\b(?s:.*)hint: .*\b0\b.*\b4\b"),
        ({"num_folds": 5, "fold": -1}, r"data\.fold .*-1\b"),
        ({"num_folds": 101}, r"\b100\b.*data\.num_folds=101\b.*\b101\b"),
        ({"train_fraction": 0.0}, r"data\.train_fraction .*\b0\.0\b.* \(0, 1\]"),
        ({"train_fraction": 1.5}, r"data\.train_fraction .*\b1\.5\b"),
        ({"train_fraction": 0.005}, r"data\.train_fraction .*\b0\.005\b.*\b4\b.*\b900\b"),
    ],
)
def test_option_out_of_range_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        split(**options)


def test_class_with_a_single_image_is_refused():
    with pytest.raises(ValueError, match=r"\bclass\b.*\b1\b.*\b2\b.*\n\nhint: "):
        split(torch.tensor([0] * 50 + [1]))
