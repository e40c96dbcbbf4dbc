"""Shared elements of all figures: fonts, colours, the step axis, intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator
from numpy import ndarray
from scipy.stats import t as student_t

FULL_WIDTH = 9.0  # inches; the width of the page's column
INK, MUTED, RULE = "#1c2128", "#5d6673", "#dde1e7"
MODEL_COLOURS = ("#2a78b5", "#d9822b", "#3c9a6c", "#c2453d", "#8a68c9", "#8c6d4f", "#d1459b", "#7f8790", "#a5a02c")
MODEL_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_DEPTH = LinearSegmentedColormap.from_list("depth", ["#5558d9", "#a94fc0", "#de5a6a", "#f0a03c"])
STYLE: Any = {
    "svg.hashsalt": "massact",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "legend.title_fontsize": 7.5,
    "text.color": INK,
    "axes.titlecolor": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.grid": True,
    "grid.color": RULE,
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "lines.linewidth": 1.3,
    "lines.markersize": 3,
    "path.simplify": True,
}


def new_figure(width: float, height: float) -> Figure:
    """An empty figure; width and height in inches."""
    return Figure(figsize=(width, height), layout="constrained")


def layer_colour(layer: int, n_layers: int) -> str:
    """Colour of a layer by relative depth, from violet-blue (first) to orange (last), visible on white and on black."""
    return to_hex(_DEPTH(0.0 if n_layers < 2 else layer / (n_layers - 1)))


def step_axis(axes: Axes, last: float, *, label: bool = True) -> None:
    """Logarithmic step axis from step 0 to `last`, linear below step 1 so that step 0 can be shown."""
    axes.set_xscale("symlog", linthresh=1, linscale=0.6)
    axes.set_xlim(-0.12, max(last, 1) * 1.15)
    decades = [10**k for k in range(9) if 10**k <= max(last, 1) * 1.15]
    axes.xaxis.set_major_locator(FixedLocator([0, *decades]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_count(float(value))))
    axes.xaxis.set_minor_locator(NullLocator())
    if label:
        axes.set_xlabel("training step")


def step_grid(last: float, points: int = 240) -> Float[ndarray, " point"]:
    """Steps evenly spread on the step axis, from 0 to `last`."""
    return np.concatenate([np.linspace(0, 1, points // 8, endpoint=False), np.geomspace(1, max(last, 1.001), points)])


def short_count(value: float) -> str:
    """A step as a tick label.

    >>> short_count(512.0), short_count(10_000.0), short_count(1e6)
    ('512', '10k', '1M')
    """
    if value >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if value >= 1e4 else f"{value:,.0f}"


def value_axis(axes: Axes, low: float, high: float, *, which: str = "y", wide: float = 8.0, most: int = 8) -> None:
    """A value axis with plain numbers and about `most` ticks; logarithmic if positive data span more than `wide`."""
    axis = axes.yaxis if which == "y" else axes.xaxis
    if max(abs(low), abs(high)) >= 1e3:
        axis.set_major_formatter(FuncFormatter(lambda value, _: _plain(float(value))))
    if not (low > 0 and high / low > wide):
        return
    (axes.set_yscale if which == "y" else axes.set_xscale)("log")
    subdivisions = (1, 2, 5) if high / low < 200 else (1,)
    ticks = [m * 10.0**k for k in range(-9, 13) for m in subdivisions if low * 0.8 <= m * 10.0**k <= high * 1.25]
    ticks = ticks[:: -(-len(ticks) // most) or 1]
    if len(ticks) < 3:
        ticks = [float(tick) for tick in MaxNLocator(5).tick_values(low, high) if tick > 0]
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _plain(float(value))))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def _plain(value: float) -> str:
    text = f"{value:,.0f}" if abs(value) >= 1e3 else f"{value:.6g}"
    return text.replace("-", "−")


def half_widths(rows: pd.DataFrame) -> Float[ndarray, " row"]:
    """Half-width of the 95 % interval over sequences (Student's t) of each trajectory row; NaN if unknown."""
    freedom = np.asarray(rows["n_sequences"], dtype=float) - 1
    quantile = np.where(freedom > 0, student_t.ppf(0.975, np.maximum(freedom, 1)), np.nan)
    return quantile * np.asarray(rows["se"], dtype=float)


def spread_layers(n_layers: int, most: int) -> list[int]:
    """At most `most` layers (at least 2) at equal distances from the first one, always with the last.

    >>> spread_layers(12, 8), spread_layers(3, 8)
    ([0, 2, 4, 6, 8, 11], [0, 1, 2])
    """
    if n_layers < 1:
        return []
    stride = max(1, -(-(n_layers - 1) // (most - 1)))
    chosen = list(range(0, n_layers, stride))
    if chosen[-1] != n_layers - 1:
        chosen[-1 if len(chosen) > 1 and n_layers - 1 - chosen[-1] <= stride / 2 else len(chosen) :] = [n_layers - 1]
    return chosen
