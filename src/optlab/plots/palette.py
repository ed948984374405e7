"""One fixed color, line style and marker for each optimizer, in pictures, tables and pages alike.

The five optimizers of the main study have Okabe and Ito's colors (2008, "Color Universal Design"),
which are distinguishable with the common color-vision deficiencies. adam and adamw, whose curves
are closest, have the most different pair, blue and orange. The others have Paul Tol's muted colors.
Dashes differ as well, so lines are distinguishable in gray print. An unknown optimizer gets a style
from its name, which is always the same.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from optlab.analysis.labels import as_text
from optlab.analysis.workloads import Configuration

Dashes = tuple[float, ...]
DARK_PAPER = (0x16, 0x18, 0x1C)  # of pages in dark mode

SOLID: Dashes = ()
DASHED: Dashes = (5, 1.6)
DOTTED: Dashes = (1.2, 1.4)
DASH_DOT: Dashes = (6, 1.6, 1.2, 1.6)
LONG_DASH: Dashes = (9, 2)
DASH_DOT_DOT: Dashes = (6, 1.4, 1.2, 1.4, 1.2, 1.4)
SHORT_DASH: Dashes = (2.6, 1.3)


@dataclass(frozen=True)
class LineStyle:
    """Color and dashes of one optimizer: points on, off, ..., empty for a solid line."""

    color: str  # "#RRGGBB"
    dashes: Dashes
    marker: str  # matplotlib's letter

    @property
    def linestyle(self) -> str | tuple[float, Dashes]:
        """The line as matplotlib's `linestyle`."""
        return (0, self.dashes) if self.dashes else "-"

    @property
    def line(self) -> dict[str, Any]:
        """Keyword arguments for `Axes.plot`."""
        return {"color": self.color, "linestyle": self.linestyle, "marker": self.marker}


STYLES: dict[str, LineStyle] = {
    "sgd": LineStyle("#D55E00", DASH_DOT, "s"),
    "adam": LineStyle("#0072B2", SOLID, "o"),
    "rmsprop": LineStyle("#009E73", SHORT_DASH, "^"),
    "adagrad": LineStyle("#CC79A7", DOTTED, "v"),
    "adamw": LineStyle("#E69F00", DASHED, "D"),
    "sgd_plain": LineStyle("#6B6B6B", SOLID, "s"),
    "nesterov": LineStyle("#882255", LONG_DASH, "s"),
    "nadam": LineStyle("#56B4E9", DASH_DOT, "P"),
    "radam": LineStyle("#332288", SHORT_DASH, "X"),
    "adamax": LineStyle("#44AA99", LONG_DASH, "p"),
    "adadelta": LineStyle("#999933", DASHED, "<"),
    "adafactor": LineStyle("#CC6677", SOLID, "h"),
    "asgd": LineStyle("#8C564B", DOTTED, ">"),
    "rprop": LineStyle("#B59F00", DASH_DOT_DOT, "d"),
    "lbfgs": LineStyle("#117733", SOLID, "*"),
    "muon": LineStyle("#AA3377", DASHED, "8"),
    "schedule_free": LineStyle("#5B5FC7", DASH_DOT, "H"),
    "adabelief": LineStyle("#4E79A7", SHORT_DASH, "d"),
    "adahessian": LineStyle("#6A3D9A", DASHED, "*"),
    "adan": LineStyle("#17A2B8", DASH_DOT, "p"),
    "ademamix": LineStyle("#2CA02C", LONG_DASH, "v"),
    "adopt": LineStyle("#7F7F00", DOTTED, "<"),
    "asam": LineStyle("#B8860B", DASHED, "s"),
    "came": LineStyle("#5D8AA8", DOTTED, "h"),
    "grams": LineStyle("#A0522D", SHORT_DASH, ">"),
    "lamb": LineStyle("#C71585", DASH_DOT, "P"),
    "lars": LineStyle("#8B0000", SOLID, "X"),
    "lion": LineStyle("#C99A00", LONG_DASH, "^"),
    "lookahead": LineStyle("#708090", DASH_DOT_DOT, "o"),
    "mars": LineStyle("#B22222", SHORT_DASH, "D"),
    "prodigy": LineStyle("#1B9E8A", SOLID, "d"),
    "sam": LineStyle("#E2725B", DASHED, "8"),
    "shampoo": LineStyle("#556B2F", DASH_DOT_DOT, "H"),
    "soap": LineStyle("#3B6EA5", DASHED, "v"),
    "sophia": LineStyle("#8A63D2", DASH_DOT, "^"),
}

# For names that are not listed above; dashes that no line of the five main ones shares a hue with.
SPARE_COLORS = ("#7A4F9E", "#2A7F8E", "#A6611A", "#4D6B1F", "#B0306A", "#3F4E8C", "#7D7453")
_SPARE_DASHES = (LONG_DASH, DASH_DOT_DOT, SHORT_DASH, DASHED, DOTTED)
_SPARE_MARKERS = ("X", "P", "*", "h", "8", "<", ">")


def line_style(optimizer: str) -> LineStyle:
    """The style of an optimizer by the name it has in `conf/optimizer`."""
    known = STYLES.get(optimizer)
    if known is not None:
        return known
    digest = hashlib.sha256(optimizer.encode()).digest()
    return LineStyle(
        SPARE_COLORS[digest[0] % len(SPARE_COLORS)],
        _SPARE_DASHES[digest[1] % len(_SPARE_DASHES)],
        _SPARE_MARKERS[digest[2] % len(_SPARE_MARKERS)],
    )


def on_dark(color: str) -> str:
    """A color for dark paper: mixed with white until its contrast is 4.5:1 (WCAG 2.1, 1.4.3)."""
    channels = [int(color[start : start + 2], 16) for start in (1, 3, 5)]
    for percent_white in range(0, 100, 5):
        mixed = [round(c + (255 - c) * percent_white / 100) for c in channels]
        if (_luminance(mixed) + 0.05) / (_luminance(DARK_PAPER) + 0.05) >= 4.5:
            break
    return "#" + "".join(f"{c:02X}" for c in mixed)


def _luminance(channels: Sequence[int]) -> float:
    """Relative luminance of an sRGB color (WCAG 2.1)."""
    linear = [c / 3294.6 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def styles_by_label(configurations: Iterable[Configuration]) -> dict[str, LineStyle]:
    """The style of each configuration's line, by its label.

    Configurations of one optimizer that differ in something else, such as the network, take the
    styles of the palette one after another: their color does not stand for an optimizer.
    """
    configurations = list(configurations)
    optimizers = [one.optimizer for one in configurations]
    if len(set(optimizers)) == 1 and _vary_elsewhere([one.config for one in configurations]):
        cycle = [*STYLES.values()]
        styles = [cycle[index % len(cycle)] for index in range(len(configurations))]
    else:
        styles = styles_for(optimizers)
    return {one.label: style for one, style in zip(configurations, styles, strict=True)}


def _vary_elsewhere(configs: Sequence[dict[str, Any]]) -> bool:
    keys = {key for config in configs for key in config}
    varying = {key for key in keys if len({as_text(config.get(key)) for config in configs}) > 1}
    return any(not key.startswith(("optimizer", "lr_multiplier", "scheduler")) for key in varying)


def styles_for(optimizers: Sequence[str]) -> list[LineStyle]:
    """A style for each line of one picture, in order.

    Several lines of one optimizer share its color and differ in dashes and markers. After
    seven, dashes repeat in a lighter shade.
    """
    seen: dict[str, int] = {}
    styles = []
    for name in optimizers:
        index = seen[name] = seen.get(name, -1) + 1
        style = line_style(name)
        styles.append(style if optimizers.count(name) == 1 else _variant(style, index))
    return styles


def _variant(style: LineStyle, index: int) -> LineStyle:
    dashes = (SOLID, DASHED, DOTTED, DASH_DOT, LONG_DASH, DASH_DOT_DOT, SHORT_DASH)
    markers = style.marker + "osD^v<>".replace(style.marker, "")
    lighter = min(0.25 * (index // len(dashes)), 0.75)
    channels = [int(style.color[start : start + 2], 16) for start in (1, 3, 5)]
    mixed = [round(channel + (255 - channel) * lighter) for channel in channels]
    color = "#" + "".join(f"{channel:02X}" for channel in mixed)
    return LineStyle(color, dashes[index % len(dashes)], markers[index % 7])
