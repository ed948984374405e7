"""Train and validation indices out of the official train part, stratified by class.

A split is a function of the labels and of `split_seed` only: every run, seed and optimizer of a
study trains and validates on the same images. The official test part is never touched here.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from optlab.ranges import check
from optlab.seeds import derive_seed


@dataclass(frozen=True, eq=False)
class Split:
    """Disjoint, ascending int64 indices into the official train part."""

    train: Tensor
    val: Tensor


def split_train_part(
    labels: Tensor,
    *,
    val_fraction: float,
    split_seed: int,
    num_folds: int = 0,
    fold: int = 0,
    train_fraction: float = 1.0,
) -> Split:
    """Split the train part into training and validation images, stratified, or by k-fold.

    Args:
        labels: int64 (N,), of the official train part.
        val_fraction: share of the train part held out for validation; unused with folds.
        split_seed: chooses the images held out; not the run's seed.
        num_folds: 0 for one held-out part, else the number of folds, at least 2.
        fold: which fold is held out, 0 <= fold < num_folds.
        train_fraction: share of the remaining images that are trained on, in (0, 1]. With one
            split_seed, smaller shares are subsets of larger ones.

    Raises:
        ValueError: if an option is out of range, or a class is too small to be split.
    """
    _check_options(val_fraction, split_seed, num_folds, fold, train_fraction)
    y = labels.numpy()
    _check_classes(y, num_folds)
    if num_folds:
        from sklearn.model_selection import StratifiedKFold

        folds = StratifiedKFold(num_folds, shuffle=True, random_state=split_seed)
        train, val = list(folds.split(np.zeros(len(y)), y))[fold]
    else:
        from sklearn.model_selection import StratifiedShuffleSplit

        num_val, num_classes = round(val_fraction * len(y)), len(np.unique(y))
        if not num_classes <= num_val <= len(y) - num_classes:
            raise ValueError(
                f"data.val_fraction is {val_fraction}, {num_val} of {len(y)} images, but each of "
                f"the {num_classes} classes needs an image on both sides.\n\n"
                "hint: 0.1 suits most sets; small ones need more"
            )
        shuffle = StratifiedShuffleSplit(1, test_size=num_val, random_state=split_seed)
        train, val = next(shuffle.split(np.zeros(len(y)), y))
    train = np.sort(train)
    if train_fraction < 1.0:
        num_train = round(train_fraction * len(train))
        chosen = stratified_subset(labels[torch.from_numpy(train)], num_train, split_seed).numpy()
        if len(np.unique(y[train[chosen]])) < len(np.unique(y)):
            raise ValueError(
                f"data.train_fraction is {train_fraction}, {num_train} of {len(train)} images, "
                "which leaves a class without an image.\n\n"
                "hint: raise data.train_fraction until every class has a few images"
            )
        train = train[chosen]
    return Split(torch.from_numpy(train), torch.from_numpy(np.sort(val)))


def stratified_subset(labels: Tensor, num_images: int, seed: int) -> Tensor:
    """Ascending positions of `num_images` images with the class shares of `labels`.

    Smaller subsets of one seed are contained in larger ones. A subset is a prefix of a fixed order
    of all images, in which each prefix is stratified (to within one image per class).
    """
    y = labels.cpu().numpy()
    shuffled = np.random.default_rng(derive_seed(seed, "subset")).permutation(len(y))
    by_class = shuffled[np.argsort(y[shuffled], kind="stable")]
    counts = np.bincount(y)
    starts = np.cumsum(counts) - counts
    rank_in_class = np.arange(len(y)) - starts[y[by_class]]
    place = (rank_in_class + 0.5) / counts[y[by_class]]  # even spacing of each class over (0, 1)
    order = by_class[np.argsort(place, kind="stable")]
    return torch.from_numpy(np.sort(order[:num_images]))


def _check_options(
    val_fraction: float, split_seed: int, num_folds: int, fold: int, train_fraction: float
) -> None:
    check("data.val_fraction", val_fraction, "in (0, 1)")
    check("data.split_seed", split_seed, "in [0, 4294967295]")
    check("data.train_fraction", train_fraction, "in (0, 1]")
    if num_folds < 0 or num_folds == 1:
        raise ValueError(
            f"data.num_folds is {num_folds}, but must be 0 (off) or at least 2.\n\n"
            "hint: data.num_folds=5 data.fold=0,1,2,3,4 with -m runs five folds"
        )
    if num_folds == 0 and fold != 0:
        raise ValueError(
            f"data.fold is {fold}, but data.num_folds is 0, so there are no folds.\n\n"
            "hint: set data.num_folds too, for example data.num_folds=5"
        )
    if num_folds and not 0 <= fold < num_folds:
        raise ValueError(
            f"data.fold is {fold}, but data.num_folds is {num_folds}.\n\n"
            f"hint: folds are numbered from 0 to {num_folds - 1}"
        )


def _check_classes(y: np.ndarray, num_folds: int) -> None:
    smallest, needed = int(np.unique(y, return_counts=True)[1].min()), max(2, num_folds)
    if smallest < needed:
        wanted = f"data.num_folds={num_folds}" if num_folds else "a stratified split"
        raise ValueError(
            f"the smallest class of the train part has {smallest} image(s), but {wanted} needs "
            f"at least {needed} in every class.\n\n"
            "hint: add images to that class" + (", or lower data.num_folds" if num_folds else "")
        )
