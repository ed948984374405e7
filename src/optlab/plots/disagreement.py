"""Test images that only one of two configurations recognizes, or that most misclassify."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from optlab.analysis.disagreement import Disagreement, Votes
from optlab.plots.images import GRAY, draw_tiles, write_caption
from optlab.plots.palette import LineStyle
from optlab.plots.style import INK, SIZE_SMALL, WIDTH_IN, Display, divide, shortened

_CAPTION = 0.5  # height of the two lines above a tile, in tiles
_LONGEST_NAME = 10  # of a class above a tile


@dataclass(eq=False, kw_only=True)
class _MistakesDisplay(Display):
    """Base of pictures of test images, above each its class and what it was taken for."""

    pictures: Mapping[int, np.ndarray]  # place in the test set -> uint8 (H, W) or (H, W, 3)
    class_names: Sequence[str]

    @property
    def columns(self) -> int:
        """Images of a row; long names need room."""
        return 12 if max(map(len, self.class_names), default=1) <= 3 else 8

    def draw_images(
        self, ax: Axes, images: Sequence[int], mistakes: Sequence[tuple[int, int | None, str]]
    ) -> None:
        """Draw images by their place in the test set.

        Args:
            mistakes: of each image its class, what it was read as (None: several classes), and
                the color of the caption.
        """
        names = shortened(self.class_names, _LONGEST_NAME)
        shown = [self.pictures[image] for image in images]
        self.artists["images"] += draw_tiles(ax, shown, self.columns, _CAPTION, **GRAY)
        for place, (truth, predicted, color) in enumerate(mistakes):
            words = (
                f"{names[truth]}\nread as {'several' if predicted is None else names[predicted]}"
            )
            style = {"fontsize": SIZE_SMALL - 1.5, "color": color}
            caption = write_caption(ax, place, words, self.columns, _CAPTION, **style)
            self.artists["captions"].append(caption)


@dataclass(eq=False, kw_only=True)
class DisagreementDisplay(_MistakesDisplay):
    """A row of images for each configuration: half of them only the reference recognizes."""

    disagreements: Sequence[Disagreement]
    styles: Mapping[str, LineStyle]
    title: str = "Recognized by one only"

    def shown(self, each: Disagreement) -> list[int]:
        """The images of a row: half and half, or more of one where the other has fewer."""
        sides = [
            [int(image) for image in side if int(image) in self.pictures]
            for side in (each.only_reference, each.only_ours)
        ]
        first = sides[0][: max(self.columns // 2, self.columns - len(sides[1]))]
        return first + sides[1][: self.columns - len(first)]

    @property
    def rows(self) -> list[Disagreement]:
        """Those that have an image to show."""
        return [each for each in self.disagreements if self.shown(each)]

    @property
    def figure_size(self) -> tuple[float, float]:
        width = 1.2 * WIDTH_IN
        row_in = (1 + _CAPTION) * width / self.columns + 0.32
        return width, row_in * max(len(self.rows), 1) + 0.7

    def draw(self, ax: Axes) -> str:
        self.artists["images"], self.artists["captions"] = [], []
        panels = divide(ax, len(self.rows), 1)[:, 0]
        for panel, each in zip(panels, self.rows, strict=True):
            name, reference = each.ours.row.name, each.reference.row.name
            shown = self.shown(each)
            mistakes = []
            for image in shown:
                wrong = each.reference if each.ours.is_right[image] else each.ours
                color = self.styles[wrong.row.label].color
                mistakes.append((int(wrong.labels[image]), int(wrong.majority[image]), color))
            self.draw_images(panel, shown, mistakes)
            panel.set_title(
                f"{name}: {len(each.only_reference)} images only {reference} recognizes, "
                f"{len(each.only_ours)} only {name}",
                loc="left",
                fontsize=SIZE_SMALL,
                color=self.styles[each.ours.row.label].color,
            )
        return (
            "above each image: its class, and what most runs of the other read, "
            "in the other's color"
        )


@dataclass(eq=False, kw_only=True)
class HardestImagesDisplay(_MistakesDisplay):
    """Test images that most runs misclassify, with what they read instead."""

    votes: Sequence[Votes]
    images: Sequence[int]  # places in the test set, in the order to show
    title: str = "Misclassified by most"

    @property
    def shown(self) -> list[int]:
        return [int(image) for image in self.images if int(image) in self.pictures]

    @property
    def figure_size(self) -> tuple[float, float]:
        width = 1.2 * WIDTH_IN
        rows = -(-len(self.shown) // self.columns) or 1
        return width, rows * (1 + _CAPTION) * width / self.columns + 0.7

    def draw(self, ax: Axes) -> str:
        self.artists["images"], self.artists["captions"] = [], []
        mistakes = []
        for image in self.shown:
            wrong = Counter(
                int(each.majority[image]) for each in self.votes if not each.is_right[image]
            )
            predicted = wrong.most_common(1)[0][0] if wrong else None
            mistakes.append((int(self.votes[0].labels[image]), predicted, INK))
        self.draw_images(ax, self.shown, mistakes)
        return "above each image: its class, and what most configurations read; hardest first"
