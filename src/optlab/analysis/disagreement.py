"""Find the test images on which the majorities of two configurations' runs differ."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from optlab.analysis.images import Answers, open_arrays
from optlab.analysis.records import Run
from optlab.analysis.summary import ConfigurationSummary
from optlab.runs.folder import RunFolder


@dataclass(frozen=True, eq=False)
class Votes:
    """The answers of a configuration's finished runs at the judged weights.

    Attributes:
        labels: (N,) true classes of the test images.
        majority: (N,) the class that most runs answered; of equally many, the more probable one,
            or the first where runs have kept no probabilities.
        share_right: (N,) share of the runs that recognize an image.
        own_share: share of the images on which two of its runs differ; None for one run.
    """

    row: ConfigurationSummary
    labels: np.ndarray
    majority: np.ndarray
    share_right: np.ndarray
    own_share: float | None

    @property
    def is_right(self) -> np.ndarray:
        return np.asarray(self.majority == self.labels)


@dataclass(frozen=True, eq=False)
class Disagreement:
    """A configuration next to the reference.

    Attributes:
        share: of the test images on which the two majorities differ.
        only_reference: indices of the images that only the majority of the reference recognizes,
            the clearest first: those in which most runs of one are right and of the other wrong. Of
            equally clear images the classes take turns.
        only_ours: the reverse.
    """

    ours: Votes
    reference: Votes
    share: float
    only_reference: np.ndarray
    only_ours: np.ndarray


def count_votes(row: ConfigurationSummary, answers: Sequence[Answers]) -> Votes | None:
    """Return the votes of a configuration; None without answers, or where images differ."""
    if not answers:
        return None
    labels = answers[0].labels
    if any(not np.array_equal(each.labels, labels) for each in answers):
        return None
    images = np.arange(len(labels))
    num_classes = 1 + max(int(max(each.labels.max(), each.predicted.max())) for each in answers)
    counts = np.zeros((len(labels), num_classes))  # (N, K), runs that answered a class
    for each in answers:
        counts[images, each.predicted] += 1
    num_runs = len(answers)
    votes = counts.copy()
    for each in answers:
        if each.probabilities is not None:  # all together less than a run's vote
            votes += each.probabilities[:, :num_classes] / (2 * num_runs)
    own_share = None
    if num_runs > 1:
        equal_pairs = (counts * (counts - 1)).sum(axis=1) / (num_runs * (num_runs - 1))
        own_share = float(1 - equal_pairs.mean())
    return Votes(
        row=row,
        labels=labels,
        majority=votes.argmax(axis=1),
        share_right=counts[images, labels] / num_runs,
        own_share=own_share,
    )


def disagreement(ours: Votes, reference: Votes) -> Disagreement:
    """Compare a configuration with the reference, both of the same images."""
    lead, labels = reference.share_right - ours.share_right, reference.labels
    return Disagreement(
        ours=ours,
        reference=reference,
        share=float((ours.majority != reference.majority).mean()),
        only_reference=_clearest(reference.is_right & ~ours.is_right, lead, labels),
        only_ours=_clearest(ours.is_right & ~reference.is_right, -lead, labels),
    )


def hardest_images(votes: Sequence[Votes]) -> np.ndarray:
    """Return the indices of the images that most runs misclassify, the hardest first.

    Every configuration counts alike. Of equally hard images the classes take turns.
    """
    share_right = np.mean([each.share_right for each in votes], axis=0)
    return _clearest(share_right < 0.5, 1 - share_right, votes[0].labels)


def single_images(votes: Sequence[Votes]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return for each of two configurations or more the images that only it gets wrong or right.

    Returns:
        Indices of the images that only its majority misclassifies, and of those that only it
        recognizes; the clearest first, as in `Disagreement`.
    """
    is_right = np.stack([each.is_right for each in votes])
    share_right = np.stack([each.share_right for each in votes])
    num_right, num_others, labels = is_right.sum(axis=0), len(votes) - 1, votes[0].labels
    found = []
    for ours, share in zip(is_right, share_right, strict=True):
        lead = share - (share_right.sum(axis=0) - share) / num_others
        only_wrong = _clearest(~ours & (num_right == num_others), -lead, labels)
        found.append((only_wrong, _clearest(ours & (num_right == 1), lead, labels)))
    return found


def _clearest(chosen: np.ndarray, lead: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the indices of the chosen images, the largest lead first.

    Of equal leads the classes take turns: folders hold their images class by class, and the first
    few would be of one class.
    """
    images = pd.DataFrame({"lead": lead, "label": labels})[chosen]
    images["turn"] = images.groupby(["lead", "label"]).cumcount()
    ordered = images.sort_values(["lead", "turn", "label"], ascending=[False, True, True])
    return ordered.index.to_numpy()


def disagreement_table(found: Sequence[Disagreement]) -> pd.DataFrame:
    """A row for each configuration, as fractions and numbers of test images."""
    return pd.DataFrame(
        [
            {
                "label": each.ours.row.label,
                "reference": each.reference.row.label,
                "share_differing": each.share,
                "num_only_reference_right": len(each.only_reference),
                "num_only_this_right": len(each.only_ours),
                "own_share_differing": each.ours.own_share,
                "num_images": len(each.ours.labels),
            }
            for each in found
        ]
    )


def disagreement_images_table(found: Sequence[Disagreement]) -> pd.DataFrame:
    """A row for each image that one of the two recognizes; `image` is its place in the test set."""
    columns = ["label", "reference", "image", "true", "answer", "reference_answer"]
    rows = [
        (
            *(each.ours.row.label, each.reference.row.label, image, each.ours.labels[image]),
            *(each.ours.majority[image], each.reference.majority[image]),
        )
        for each in found
        for image in (*each.only_reference, *each.only_ours)
    ]
    return pd.DataFrame(rows, columns=columns)


def mistaken_pictures(runs: Iterable[Run], wanted: Sequence[int]) -> dict[int, np.ndarray]:
    """Return test images by their place in the test set, as far as runs have kept them.

    A run keeps images that it did not recognize.

    Raises:
        ValueError: a file of a run is damaged.
    """
    found: dict[int, np.ndarray] = {}
    for run in runs:
        missing = set(map(int, wanted)) - found.keys()
        path = RunFolder(run.folder).test_mistakes
        if not missing or not path.is_file():
            continue
        with open_arrays(path, "its images") as arrays:
            pairs = zip(arrays["indices"], arrays["images"], strict=True)
            found |= {int(index): image for index, image in pairs if int(index) in missing}
    return found
