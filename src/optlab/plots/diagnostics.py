"""Plot update ratios, gradient norms and dead units of each layer over epochs."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from optlab.analysis.labels import display_name
from optlab.plots.palette import LineStyle
from optlab.plots.style import WIDTH_IN, Display, divide

PANELS = {
    "update_ratio": ("update norm / weight norm", "log"),
    "gradient_norm": ("gradient norm", "log"),
    "update_angle": ("angle between successive updates (°)", "linear"),
    "dead_units": ("share of dead units", "linear"),
}


@dataclass(eq=False, kw_only=True)
class DiagnosticsDisplay(Display):
    """A panel for each quantity: bold the median of the layers, faint each layer.

    Attributes:
        table: columns configuration, epoch, quantity, layer and value.
        styles: by configuration.
    """

    table: pd.DataFrame
    styles: Mapping[str, LineStyle]
    title: str = "What each optimizer does to the layers"

    @property
    def panels(self) -> list[str]:
        """The quantities that there are values of."""
        there = set(self.table["quantity"])
        return [quantity for quantity in PANELS if quantity in there]

    @property
    def figure_size(self) -> tuple[float, float]:
        return 1.17 * WIDTH_IN, 2.9 * ((len(self.panels) + 1) // 2) + 0.6

    def draw(self, ax: Axes) -> str:
        rows = (len(self.panels) + 1) // 2
        axes = divide(ax, max(rows, 1), 2).flatten()
        self.artists["lines"] = {}
        for panel, quantity in zip(axes, self.panels, strict=False):
            label, scale = PANELS[quantity]
            of_quantity = self.table[self.table["quantity"] == quantity]
            for name, style in self.styles.items():
                values = of_quantity[of_quantity["configuration"] == name].pivot_table(
                    index="epoch", columns="layer", values="value"
                )
                if values.empty:
                    continue
                panel.plot(values.index, values, color=style.color, lw=0.7, alpha=0.3)
                (line,) = panel.plot(
                    values.index,
                    values.median(axis=1),
                    label=display_name(name),
                    **style.line | {"ms": 4},
                )
                self.artists["lines"][quantity, name] = line
            panel.set(xlabel="epoch", ylabel=label, yscale=scale)
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        for panel in axes[len(self.panels) :]:
            panel.set_axis_off()
        handles, labels = axes[0].get_legend_handles_labels()
        axes[0].figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False)
        return "bold: median of the layers; faint: each layer; means over seeds"
