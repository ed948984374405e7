"""What a convolutional network makes of one image, layer by layer."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from optlab.results.figures.canvas import INK, MUTED, SIZE_SMALL, Picture, headline, sheet

_GAP = 0.08  # between tiles, as a share of a tile
_CAPTION = 0.34  # height of a line of text, in tiles


@dataclass(eq=False)
class FeatureMaps(Picture):
    """An image, and below it the maps of each layer, from dark to bright on the layer's own scale.

    `image` has shape (H, W) or (H, W, 3); `layers` holds arrays (channels, h, w), in order.
    """

    image: np.ndarray
    layers: Sequence[np.ndarray]
    title: str = "Feature maps"
    max_maps: int = 16  # of a layer, the first ones
    columns: int = 8

    def plot(self, ax: Axes | None = None) -> "FeatureMaps":
        shown = [np.asarray(layer)[: self.max_maps] for layer in self.layers]
        rows = [-(-len(layer) // self.columns) for layer in shown]
        height = 1 + sum(count + _CAPTION for count in rows)  # in tiles
        self.ax = ax = sheet(
            ax,
            width=7.2,
            height=6.8 / self.columns * height + 0.8,
            left=0.2,
            right=0.2,
            top=0.7,
            bottom=0.1,
        )
        ax.set_axis_off()
        self.artists["image"] = self._tile(ax, self.image, 0, 0.0, None)
        self.artists["maps"], self.artists["captions"] = [], []
        top = 1.0
        for number, (layer, all_maps) in enumerate(zip(shown, self.layers, strict=True), start=1):
            self.artists["captions"].append(
                ax.text(
                    _GAP,
                    top + _CAPTION / 2,
                    self._caption(number, layer, np.asarray(all_maps)),
                    fontsize=SIZE_SMALL,
                    color=INK,
                    va="center",
                )
            )
            top += _CAPTION
            scale = (min(float(layer.min()), 0.0), float(layer.max()) or 1.0)
            for place, one in enumerate(layer):
                row, column = divmod(place, self.columns)
                self.artists["maps"].append(self._tile(ax, one, column, top + row, scale))
            top += rows[number - 1]
        ax.text(
            1.2,
            0.5,
            "the image, as the data set has it",
            fontsize=SIZE_SMALL,
            color=MUTED,
            va="center",
        )
        ax.set_xlim(0, self.columns)
        ax.set_ylim(height, 0)
        ax.set_aspect("equal", anchor="NW")
        headline(
            ax,
            self.title,
            "after the activation; black: the least of the layer (0 for ReLU), white: its most",
        )
        return self

    def _caption(self, number: int, shown: np.ndarray, layer: np.ndarray) -> str:
        some = f"the first {len(shown)} of " if len(shown) < len(layer) else ""
        _, height, width = layer.shape
        silent = int((np.abs(layer).max(axis=(1, 2)) == 0).sum())
        dead = f"; {silent} silent here" if silent else ""
        return f"layer {number}: {some}{len(layer)} maps of {height} x {width} pixels{dead}"

    def _tile(
        self,
        ax: Axes,
        pixels: np.ndarray,
        column: int,
        top: float,
        scale: tuple[float, float] | None,
    ) -> object:
        return ax.imshow(
            pixels,
            cmap="gray" if scale is None else "magma",
            extent=(column + _GAP, column + 1 - _GAP, top + 1 - _GAP, top + _GAP),
            interpolation="nearest",
            clim=scale,
        )
