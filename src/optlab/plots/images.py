"""Pictures made of images: predictions on samples, filters of the first layer, feature maps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.text import Text

from optlab.plots.style import SIZE_SMALL, WIDTH_IN, Display, divide

WRONG, RIGHT = "#B3261E", "#1B7F4B"
GRAY: Any = {"cmap": "gray", "vmin": 0, "vmax": 255}  # for uint8 images of one channel
_GAP = 0.06  # around a tile, as a share of it


def draw_tiles(
    ax: Axes,
    images: Sequence[np.ndarray] | np.ndarray,
    columns: int,
    caption: float = 0.0,
    **options: Any,
) -> list[AxesImage]:
    """Draw images as tiles of width 1 and height 1 + caption, row by row from the top."""
    rows = -(-len(images) // columns)
    tiles = []
    for place, image in enumerate(images):
        row, left = divmod(place, columns)
        top = row * (1 + caption) + caption
        extent = (left + _GAP, left + 1 - _GAP, top + 1 - _GAP, top + _GAP)
        tiles.append(ax.imshow(image, extent=extent, interpolation="nearest", **options))
    ax.set_axis_off()
    ax.set(xlim=(0, columns), ylim=(rows * (1 + caption), 0))
    ax.set_aspect("equal", anchor="NW")
    return tiles


def write_caption(
    ax: Axes, place: int, text: str, columns: int, caption: float, **style: Any
) -> Text:
    """Write above a tile of `draw_tiles`."""
    row, left = divmod(place, columns)
    top = row * (1 + caption) + caption
    return ax.text(left + 0.5, top, text, ha="center", va="bottom", **style)


@dataclass(eq=False, kw_only=True)
class SamplePredictionsDisplay(Display):
    """Images with predictions of a network: mistakes first, the most confident ones in front."""

    images: np.ndarray  # uint8, (N, H, W) or (N, H, W, 3)
    true: np.ndarray  # (N,), class indices
    predicted: np.ndarray  # (N,)
    confidence: np.ndarray  # (N,), probability of the predicted class
    class_names: Sequence[str]
    title: str = "Sample predictions"
    max_images: int = 32
    columns: int = 8

    def order(self) -> np.ndarray:
        """Indices as drawn: mistakes from the most confident down, then hits in given order."""
        wrong = np.asarray(self.true) != np.asarray(self.predicted)
        mistakes = np.flatnonzero(wrong)
        worst_first = mistakes[np.argsort(-np.asarray(self.confidence)[mistakes], kind="stable")]
        return np.concatenate([worst_first, np.flatnonzero(~wrong)])[: self.max_images]

    @property
    def _caption(self) -> float:
        """Height of a caption; long names take two lines."""
        return 0.44 if max((len(str(name)) for name in self.class_names), default=1) > 3 else 0.26

    @property
    def figure_size(self) -> tuple[float, float]:
        rows = -(-min(len(self.true), self.max_images) // self.columns) or 1
        width = 1.2 * WIDTH_IN  # so that captions do not touch
        return width, rows * (1 + self._caption) * width / self.columns + 0.7

    def draw(self, ax: Axes) -> str:
        order, caption = self.order(), self._caption
        shown = [self.images[index] for index in order]
        self.artists["images"] = draw_tiles(ax, shown, self.columns, caption, **GRAY)
        self.artists["captions"] = []
        for place, index in enumerate(order):
            is_right = self.predicted[index] == self.true[index]
            text = write_caption(
                *(ax, place, self._words(int(index)), self.columns, caption),
                fontsize=SIZE_SMALL - 0.8,
                color=RIGHT if is_right else WRONG,
                fontweight="normal" if is_right else "bold",
            )
            self.artists["captions"].append(text)
        wrong = int((np.asarray(self.true) != np.asarray(self.predicted)).sum())
        return (
            f"mistakes first, the most confident in front ({wrong} of {len(self.true)} here); "
            "percent: the network's confidence"
        )

    def _words(self, index: int) -> str:
        predicted, truth = (
            str(self.class_names[int(k[index])]) for k in (self.predicted, self.true)
        )
        sure = f"{100 * float(self.confidence[index]):.0f} %"
        in_two_lines = self._caption > 0.3
        if predicted == truth:
            return f"{predicted}\n{sure}" if in_two_lines else f"{predicted} · {sure}"
        return (
            f"{predicted} {sure}\nis {truth}"
            if in_two_lines
            else f"{predicted} not {truth} · {sure}"
        )


@dataclass(eq=False, kw_only=True)
class FirstLayerFiltersDisplay(Display):
    """Weights of the first layer as small pictures: blue below zero, red above, white at zero.

    Filters of three channels are shown as images around mid-gray. All share one scale.
    """

    filters: np.ndarray  # (N, H, W), (N, 1, H, W), or (N, 3, H, W) for color
    title: str = "First-layer filters"
    max_filters: int = 64
    columns: int = 16

    @property
    def _shown_columns(self) -> int:
        num = min(len(self.filters), self.max_filters)
        return max(min(self.columns, int(np.ceil(np.sqrt(2 * num))), num), 1)

    @property
    def figure_size(self) -> tuple[float, float]:
        num, columns = min(len(self.filters), self.max_filters), self._shown_columns
        width = max(min(1.05 * columns, WIDTH_IN), 4.0)
        return width, -(-num // columns) * width / columns + 0.7

    def draw(self, ax: Axes) -> str:
        filters = np.asarray(self.filters[: self.max_filters], dtype=float)
        if filters.ndim == 4 and filters.shape[1] == 1:
            filters = filters[:, 0]
        if filters.ndim not in (3, 4) or (filters.ndim == 4 and filters.shape[1] != 3):
            raise ValueError(
                f"filters have shape {self.filters.shape}; a picture needs (N, H, W) or "
                "(N, 3, H, W).\n\nhint: reshape a dense layer's weights to the image's size"
            )
        limit = float(np.abs(filters).max()) or 1.0
        scale = f"scale: {-limit:.2g} (blue) to {limit:.2g} (red)"
        if filters.ndim == 4:
            filters = 0.5 + filters.transpose(0, 2, 3, 1) / (2 * limit)
            scale = f"gray: zero; full color: {limit:.2g}"
        self.artists["images"] = draw_tiles(
            ax, filters, self._shown_columns, cmap="RdBu_r", vmin=-limit, vmax=limit
        )
        is_cut = len(filters) < len(self.filters)
        return f"{len(filters)} of {len(self.filters)}; {scale}" if is_cut else scale


@dataclass(eq=False, kw_only=True)
class FeatureMapsDisplay(Display):
    """An image, and below it the maps of each layer, dark to bright on the layer's own scale."""

    image: np.ndarray  # (H, W) or (H, W, 3)
    layers: Sequence[np.ndarray]  # each (channels, h, w), in order
    title: str = "Feature maps"
    max_maps: int = 16  # of a layer, the first ones
    columns: int = 8

    @property
    def _rows(self) -> list[int]:
        """Rows of tiles: the image's, then those of each layer."""
        return [1, *(-(-min(len(layer), self.max_maps) // self.columns) for layer in self.layers)]

    @property
    def figure_size(self) -> tuple[float, float]:
        return WIDTH_IN, sum(self._rows) * WIDTH_IN / self.columns + 0.3 * len(self._rows) + 0.6

    def draw(self, ax: Axes) -> str:
        panels = divide(ax, len(self._rows), 1, height_ratios=self._rows)[:, 0]
        (self.artists["image"],) = draw_tiles(panels[0], [self.image], self.columns, cmap="gray")
        panels[0].set_title("the image, as the data set has it", loc="left", fontsize=SIZE_SMALL)
        self.artists["maps"], self.artists["captions"] = [], []
        for number, (panel, layer) in enumerate(
            zip(panels[1:], map(np.asarray, self.layers), strict=True), start=1
        ):
            shown = layer[: self.max_maps]
            clim = (min(float(shown.min()), 0.0), float(shown.max()) or 1.0)
            self.artists["maps"] += draw_tiles(panel, shown, self.columns, cmap="magma", clim=clim)
            caption = panel.set_title(_caption(number, shown, layer), loc="left")
            caption.set_fontsize(SIZE_SMALL)
            self.artists["captions"].append(caption)
        return "after the activation; black: the least of the layer (0 for ReLU), white: its most"


def _caption(number: int, shown: np.ndarray, layer: np.ndarray) -> str:
    some = f"the first {len(shown)} of " if len(shown) < len(layer) else ""
    _, height, width = layer.shape
    silent = int((np.abs(layer).max(axis=(1, 2)) == 0).sum())
    dead = f"; {silent} silent here" if silent else ""
    return f"layer {number}: {some}{len(layer)} maps of {height} x {width} pixels{dead}"
