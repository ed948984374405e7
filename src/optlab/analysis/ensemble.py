"""An ensemble of runs: the mean of their probabilities, and what it gains over a single one."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class EnsembleRow:
    """One line of the table; accuracies are fractions, the loss is in nats."""

    name: str
    val_accuracy: float | None  # None for the ensemble: validation has chosen nothing of it
    test_accuracy: float
    test_loss: float
    role: str


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Test results of M members and of their mean. Validation chose the single best.

    names: M labels. validation: (M,) best validation accuracies. probabilities: (M, N, K) on the
    test images. labels: (N,) true classes.
    """

    names: Sequence[str]
    validation: np.ndarray
    probabilities: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        members, images, _ = self.probabilities.shape
        assert len(self.names) == len(self.validation) == members
        assert self.labels.shape == (images,)
        if members < 2:
            raise ValueError(
                f"an ensemble needs two finished runs or more, got {members}.\n\n"
                "hint: train more, such as seed=0,1,2,3,4"
            )

    @property
    def best(self) -> int:
        """The member that validation likes best; the first of equals."""
        return int(np.argmax(self.validation))

    @property
    def mean(self) -> np.ndarray:
        """Probabilities of the ensemble, (N, K): the mean over its members."""
        return np.asarray(self.probabilities.mean(axis=0))

    @property
    def gain(self) -> float:
        """Test accuracy of the ensemble minus that of the single best; a fraction."""
        return self._accuracy(self.mean) - self._accuracy(self.probabilities[self.best])

    @property
    def repaired_and_broken(self) -> tuple[int, int]:
        """Test images that the single best gets wrong and the ensemble right, and the reverse."""
        ours = self.mean.argmax(axis=1) == self.labels
        single = self.probabilities[self.best].argmax(axis=1) == self.labels
        return int((ours & ~single).sum()), int((single & ~ours).sum())

    @property
    def rows(self) -> list[EnsembleRow]:
        """The members in their order, then the ensemble."""
        rows = [
            EnsembleRow(name, float(validation), self._accuracy(each), self._loss(each), "")
            for name, validation, each in zip(
                self.names, self.validation, self.probabilities, strict=True
            )
        ]
        rows[self.best] = replace(rows[self.best], role="single best by validation")
        name, mean = f"ensemble of {len(self.names)}", self.mean
        role = "mean of the members"
        return [*rows, EnsembleRow(name, None, self._accuracy(mean), self._loss(mean), role)]

    def table(self) -> pd.DataFrame:
        """`rows` as plain numbers, for ensemble.csv."""
        return pd.DataFrame([asdict(row) for row in self.rows])

    def _accuracy(self, probabilities: np.ndarray) -> float:
        return float((probabilities.argmax(axis=1) == self.labels).mean())

    def _loss(self, probabilities: np.ndarray) -> float:
        """Mean cross-entropy; what float16 has rounded to 0 counts as its smallest number."""
        of_truth = probabilities[np.arange(len(self.labels)), self.labels]
        return float(-np.log(np.maximum(of_truth, np.finfo(np.float16).smallest_subnormal)).mean())
