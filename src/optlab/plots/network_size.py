"""Plot accuracy against the number of parameters, one line for each depth."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from optlab.analysis.workloads import Configuration, Workload
from optlab.plots.palette import STYLES
from optlab.plots.percent_axis import stretched_percent
from optlab.plots.style import SIZE_SMALL, Display, with_thousands

# Of a label from its point, in points: depths differ, so that equal sizes stay readable
_LABEL_OFFSETS = ((9, -13), (-14, 9), (-24, 9), (9, 5))


@dataclass(eq=False, kw_only=True)
class NetworkSizeDisplay(Display):
    """Test accuracy of networks of several sizes. All sequences have one entry per network."""

    labels: Sequence[str]  # written next to a point
    depths: Sequence[int]  # convolutions; networks of one depth are joined
    num_parameters: Sequence[int]
    accuracies: Sequence[Sequence[float]]  # on test at the best-validation weights, of each seed
    title: str = "Filters and depth"

    figure_size = (7.2, 4.6)

    @classmethod
    def from_workload(cls, workload: Workload) -> "NetworkSizeDisplay":
        """Build from a study over `model.filters` and `model.layers`.

        Raises:
            ValueError: none of its CNNs finished.
        """
        cnns = [c for c in workload.configurations if c.finished and "model.filters" in c.config]
        if not cnns:
            raise ValueError(
                f"{workload.name} has no finished CNN.\n\n"
                "hint: python train.py experiment=mnist_cnn_size"
            )
        return cls(
            labels=["-".join(map(str, one.config["model.filters"])) for one in cnns],
            depths=[_depth(one) for one in cnns],
            num_parameters=[one.finished[0].record.model.num_parameters or 0 for one in cnns],
            accuracies=[list(one.accuracies("test").values()) for one in cnns],
            title=f"Filters and depth: {workload.title}",
        )

    def draw(self, ax: Axes) -> str:
        ax.set_xscale("log")
        stretched = stretched_percent(ax, [value for seeds in self.accuracies for value in seeds])
        sizes, depths = np.array(self.num_parameters), np.array(self.depths)
        means = np.array([100 * np.mean(seeds) for seeds in self.accuracies])
        self.artists["lines"], self.artists["seeds"], self.artists["labels"] = [], [], []
        for place, depth in enumerate(np.unique(depths)):
            style = list(STYLES.values())[place % len(STYLES)]
            members = [i for i in np.argsort(sizes, kind="stable") if depths[i] == depth]
            self.artists["lines"] += ax.plot(
                sizes[members],
                means[members],
                ms=7,
                label=f"{depth} convolution{'s' if depth > 1 else ''}",
                **style.line,
            )
            for i in members:
                each = 100 * np.array(self.accuracies[i])
                dots: dict[str, Any] = {"ms": 3, "color": style.color, "alpha": 0.5}
                self.artists["seeds"] += ax.plot([sizes[i]] * len(each), each, "o", **dots)
                label = ax.annotate(
                    self.labels[i],
                    (sizes[i], means[i]),
                    xytext=_LABEL_OFFSETS[place % len(_LABEL_OFFSETS)],
                    textcoords="offset points",
                    fontsize=SIZE_SMALL,
                    color=style.color,
                )
                self.artists["labels"].append(label)
        ax.set_xlim(sizes.min() / 1.5, sizes.max() * 1.8)
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        with_thousands(ax)
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set(xlabel="trained parameters (log scale)", ylabel="test accuracy (%)")
        ax.legend()
        seeds = "small dots: each seed" if max(map(len, self.accuracies)) > 1 else "one seed each"
        notes = ["at a point: filters of each stage", seeds, *[stretched] * bool(stretched)]
        return "; ".join(notes)


def _depth(one: Configuration) -> int:
    filters, layers = one.config["model.filters"], one.config["model.layers"]
    return sum(layers) if isinstance(layers, list) else layers * len(filters)
