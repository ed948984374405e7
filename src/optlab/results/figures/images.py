"""Figures made of images: predictions on samples, and the filters of the first layer."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from optlab.results.figures.canvas import SIZE_SMALL, Picture, headline, inches, sheet

WRONG = "#B3261E"
_GREEN = "#1B7F4B"


def _tiles(ax: Axes | None, num: int, columns: int, caption: float) -> Axes:
    """Axes in units of tiles, each one unit wide and 1 + caption high."""
    columns = max(min(columns, num), 1)
    rows = -(-num // columns) or 1
    unit = min(1.05, 7.6 / columns)
    least = 6.8 if caption else 3.6  # the line that explains the captions is long
    ax = sheet(
        ax,
        width=max(columns * unit, least) + 0.4,
        height=rows * (1 + caption) * unit + 0.95,
        left=0.2,
        right=0.2,
        top=0.8,
        bottom=0.15,
    )
    ax.set_axis_off()
    ax.set_xlim(0, max(columns, least / unit))
    ax.set_ylim(rows * (1 + caption), 0)
    return ax


@dataclass(eq=False)
class SamplePredictions(Picture):
    """Images with what the network said: mistakes first, the most confident ones in front."""

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

    def plot(self, ax: Axes | None = None) -> "SamplePredictions":
        order = self.order()
        longest = max((len(str(name)) for name in self.class_names), default=1)
        two_lines = longest > 3
        caption = 0.44 if two_lines else 0.26
        self.ax = ax = _tiles(ax, len(order), self.columns, caption)
        columns = max(min(self.columns, len(order)), 1)
        self.artists["images"], self.artists["captions"] = [], []
        for place, index in enumerate(order):
            row, column = divmod(place, columns)
            x, y = float(column), row * (1 + caption) + caption
            said, truth = (
                str(self.class_names[int(k[index])]) for k in (self.predicted, self.true)
            )
            right = self.predicted[index] == self.true[index]
            self.artists["images"].append(
                ax.imshow(
                    self.images[index],
                    cmap="gray",
                    vmin=0,
                    vmax=255,
                    extent=(x + 0.06, x + 0.94, y + 0.94, y + 0.02),
                    interpolation="nearest",
                )
            )
            sure = f"{100 * float(self.confidence[index]):.0f} %"
            if right:
                text = f"{said}\n{sure}" if two_lines else f"{said} · {sure}"
            elif two_lines:
                text = f"{said} {sure}\nis {truth}"
            else:
                text = f"{said} not {truth} · {sure}"
            self.artists["captions"].append(
                ax.text(
                    x + 0.5,
                    y - 0.02,
                    text,
                    ha="center",
                    va="bottom",
                    fontsize=SIZE_SMALL - 0.8,
                    linespacing=1.1,
                    color=_GREEN if right else WRONG,
                    fontweight="normal" if right else "bold",
                )
            )
        ax.set_aspect("equal")
        ax.autoscale(False)
        _reset(ax, columns, len(order), caption)
        wrong = int((np.asarray(self.true) != np.asarray(self.predicted)).sum())
        headline(
            ax,
            self.title,
            f"mistakes first, the most confident in front ({wrong} of {len(self.true)} here); "
            "percent: the network's confidence",
        )
        return self


@dataclass(eq=False)
class FirstLayerFilters(Picture):
    """Weights of the first layer as small pictures: blue below zero, red above, white at zero.

    `filters` has shape (N, H, W), or (N, 3, H, W) for colour, where each filter is shown as an
    image around mid-grey. All share one scale.
    """

    filters: np.ndarray
    title: str = "First-layer filters"
    max_filters: int = 64
    columns: int = 16

    def plot(self, ax: Axes | None = None) -> "FirstLayerFilters":
        filters = np.asarray(self.filters[: self.max_filters], dtype=float)
        if filters.ndim == 4 and filters.shape[1] == 1:
            filters = filters[:, 0]
        if filters.ndim not in (3, 4) or (filters.ndim == 4 and filters.shape[1] != 3):
            raise ValueError(
                f"filters have shape {self.filters.shape}; a picture needs (N, H, W) or "
                "(N, 3, H, W).\n\nhint: reshape a dense layer's weights to the image's size"
            )
        columns = min(self.columns, max(int(np.ceil(np.sqrt(2 * len(filters)))), 1), len(filters))
        self.ax = ax = _tiles(ax, len(filters), columns, 0.0)
        columns = max(columns, 1)
        limit = float(np.abs(filters).max()) or 1.0
        self.artists["images"] = []
        for place, picture in enumerate(filters):
            row, column = divmod(place, columns)
            extent = (column + 0.06, column + 0.94, row + 0.94, row + 0.06)
            if picture.ndim == 3:
                shown = 0.5 + picture.transpose(1, 2, 0) / (2 * limit)
                image = ax.imshow(shown, extent=extent, interpolation="nearest")
            else:
                image = ax.imshow(picture, cmap="RdBu_r", vmin=-limit, vmax=limit, extent=extent)
            self.artists["images"].append(image)
        _reset(ax, columns, len(filters), 0.0)
        note = f"{len(filters)} of {len(self.filters)}" if len(filters) < len(self.filters) else ""
        scale = f"scale: {-limit:.2g} (blue) to {limit:.2g} (red)"
        if filters.ndim == 4:
            scale = f"grey: zero; full colour: {limit:.2g}"
        headline(ax, self.title, f"{note}; {scale}" if note else scale)
        return self


def _reset(ax: Axes, columns: int, num: int, caption: float) -> None:
    """imshow moves the limits; put them back around all tiles."""
    rows = -(-num // max(columns, 1)) or 1
    full_width, full_height = inches(ax)
    box = ax.get_position()
    height = rows * (1 + caption)
    ratio = full_width * box.width / (full_height * box.height)
    ax.set_xlim(0, max(float(columns), height * ratio))
    ax.set_ylim(height, 0)
    ax.set_aspect("equal", anchor="NW")
