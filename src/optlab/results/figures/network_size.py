"""What the size of a network buys: accuracy against its parameters, one line for each depth."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from optlab.results.figures.canvas import (
    INK,
    SIZE_SMALL,
    Picture,
    axis_names,
    grid,
    headline,
    line_arguments,
    sheet,
    stretched_percent,
    with_thousands,
)
from optlab.results.groups import Group, Problem
from optlab.results.palette import STYLES

# Where a label stands beside its point, in points: depths differ, so that equal sizes stay readable
_LABEL_OFFSETS = ((9, -13), (-14, 9), (-24, 9), (9, 5))


@dataclass(eq=False)
class NetworkSize(Picture):
    """Test accuracy of networks of several sizes. All sequences have one entry a network.

    labels: what is written beside a point. depths: convolutions of a network; networks of one depth
    are joined. num_parameters: trained weights. accuracies: test, at the best-validation weights,
    of each seed, as fractions.
    """

    labels: Sequence[str]
    depths: Sequence[int]
    num_parameters: Sequence[int]
    accuracies: Sequence[Sequence[float]]
    title: str = "Filters and depth"

    @classmethod
    def from_problem(cls, problem: Problem) -> "NetworkSize":
        """Of a study over `model.filters` and `model.layers`.

        Raises:
            ValueError: if no CNN of it finished.
        """
        groups = [g for g in problem.groups if g.finished and "model.filters" in g.config]
        if not groups:
            raise ValueError(
                f"{problem.name} has no finished CNN.\n\n"
                "hint: python train.py experiment=mnist_cnn_size"
            )
        return cls(
            labels=[_filters(group) for group in groups],
            depths=[_depth(group) for group in groups],
            num_parameters=[
                group.finished[0].record["model"]["num_parameters"] for group in groups
            ],
            accuracies=[list(group.accuracies("test").values()) for group in groups],
            title=f"Filters and depth: {problem.title}",
        )

    def plot(self, ax: Axes | None = None) -> "NetworkSize":
        self.ax = ax = sheet(ax, height=4.6)
        ax.set_xscale("log")
        note = stretched_percent(ax, [value for seeds in self.accuracies for value in seeds])
        by_depth: dict[int, list[int]] = defaultdict(list)
        for index in np.argsort(self.num_parameters, kind="stable"):
            by_depth[self.depths[index]].append(int(index))
        self.artists["lines"], self.artists["seeds"], self.artists["labels"] = [], [], []
        for place, (depth, members) in enumerate(sorted(by_depth.items())):
            style = list(STYLES.values())[place % len(STYLES)]
            x = [self.num_parameters[index] for index in members]
            means = [100 * float(np.mean(self.accuracies[index])) for index in members]
            self.artists["lines"] += ax.plot(
                x,
                means,
                marker=style.marker,
                ms=7,
                label=f"{depth} convolution{'s' if depth > 1 else ''}",
                **line_arguments(style),
            )
            for index, size, mean in zip(members, x, means, strict=True):
                each = 100 * np.array(self.accuracies[index])
                self.artists["seeds"] += ax.plot(
                    np.full(len(each), size), each, "o", ms=3, color=style.color, alpha=0.5
                )
                offset = _LABEL_OFFSETS[place % len(_LABEL_OFFSETS)]
                self.artists["labels"].append(
                    ax.annotate(
                        self.labels[index],
                        (size, mean),
                        xytext=offset,
                        textcoords="offset points",
                        fontsize=SIZE_SMALL,
                        color=style.color,
                    )
                )
        ax.set_xlim(min(self.num_parameters) / 1.5, max(self.num_parameters) * 1.8)
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        with_thousands(ax)
        ax.xaxis.set_minor_formatter(NullFormatter())
        grid(ax)
        axis_names(ax, "trained parameters (log scale)", "test accuracy (%)")
        ax.legend(fontsize=SIZE_SMALL, labelcolor=INK, frameon=False, loc="best")
        seeds = "small dots: each seed" if max(map(len, self.accuracies)) > 1 else "one seed each"
        remarks = ["beside a point: filters of each stage", seeds, *([note] if note else [])]
        headline(ax, self.title, "; ".join(remarks))
        return self


def _filters(group: Group) -> str:
    return "-".join(str(number) for number in group.config["model.filters"])


def _depth(group: Group) -> int:
    filters, layers = group.config["model.filters"], group.config["model.layers"]
    return sum(layers) if isinstance(layers, list) else layers * len(filters)
