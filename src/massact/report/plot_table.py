"""The figure of `massact.plot`: measured values and fitted curves by step, one panel per quantity."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from massact.errors import TableError
from massact.extract.magnitudes import DEFAULT
from massact.layers import layers_named
from massact.plotting import STYLE, half_widths, layer_colour, spread_layers, step_axis, step_grid, value_axis
from massact.report.formats import form_name
from massact.report.frames import distinct, layers_of, numbers, rows_of, select, where
from massact.report.inputs import RUN
from massact.report.plot_fits import evaluate

PANEL_WIDTH, PANEL_HEIGHT = 3.4, 2.8  # inches
_DPI = 110
_FIT_DASHES = (0, (3, 1.2))


def _label(quantity: str) -> str:
    known = DEFAULT.quantities.get(quantity)
    return quantity if known is None else known.label


class TableFigure(Figure):
    """A figure that a notebook shows even where pyplot was never imported."""

    def _repr_png_(self) -> bytes:
        image = io.BytesIO()
        self.savefig(image, format="png", dpi=_DPI, facecolor="white")
        return image.getvalue()


def table_figure(
    measured: pd.DataFrame | None,
    fits: pd.DataFrame | None,
    *,
    quantities: Sequence[str] | None = None,
    layers: str | None = None,
    n_layers: int | None = None,
    last: int | None = None,
) -> TableFigure:
    """Trajectories (schema TRAJECTORIES), fits, or both, of one training run.

    Parameters
    ----------
    quantities
        None: all that the first table has.
    layers
        As in `massact.layers.layers_named`; None: all.
    n_layers
        Layers of the model, for the colours; None: as many as the deepest layer shows.
    last
        The last step of curves that are drawn without measured values.

    Raises
    ------
    TableError
        Several runs, a quantity or layer that the table does not have, or fits alone without `last`.
    """
    tables = [table for table in (measured, fits) if table is not None]
    first = tables[0]
    if len(first[RUN].drop_duplicates()) != 1:
        raise TableError("the table has several runs", "select the rows of one: table[table['model'] == ...]")
    known = distinct(first, "quantity")
    shown = known if quantities is None else list(quantities)
    missing = [name for name in shown if name not in known]
    if missing or not shown:
        raise TableError(f"the table has no quantity {', '.join(missing)}", f"choose from {', '.join(known)}")
    deepest = max(layers_of(first)) + 1
    n_layers = max(n_layers or 0, deepest)
    chosen = layers_of(first) if layers is None else layers_named(layers, n_layers, "layers")
    absent = [layer for layer in chosen if layer not in layers_of(first)]
    if absent:
        raise TableError(f"the table has no layer {absent[0]}", f"it has {', '.join(map(str, layers_of(first)))}")
    if measured is None and last is None:
        raise TableError(
            "the fits do not say up to which step they hold", "draw them over their table: plot(table, fits)"
        )
    end = float(numbers(first, "step").max()) if measured is not None else float(last or 1)
    with mpl.rc_context(STYLE):
        figure = TableFigure(figsize=(PANEL_WIDTH * len(shown) + 0.9, PANEL_HEIGHT), layout="constrained")
        panels = figure.subplots(1, len(shown), squeeze=False)[0]
        for axes, quantity in zip(panels, shown, strict=True):
            values: list[np.ndarray] = []
            if measured is not None:
                values += _points(axes, where(measured, quantity=quantity), chosen, n_layers, joined=fits is None)
            if fits is not None:
                values += _fitted(axes, where(fits, quantity=quantity), chosen, n_layers, end, measured is not None)
            finite = np.concatenate([np.zeros(0), *values])
            finite = finite[np.isfinite(finite)]
            if finite.size:
                value_axis(axes, float(finite.min()), float(finite.max()))
            step_axis(axes, end)
            axes.set_ylabel(_label(quantity))
        run = first[RUN].iloc[0]
        panels[0].set_title(f"{run['model']}{f', seed {run.seed}' if run.seed else ''}")
        handles = [
            Line2D([], [], color=layer_colour(chosen[at], n_layers), label=f"layer {chosen[at]}")
            for at in spread_layers(len(chosen), 10)
        ]
        if fits is not None:
            style: dict[str, Any] = {"ls": _FIT_DASHES} if measured is not None else {}
            names = distinct(fits, "form")
            handles += [Line2D([], [], color="#5d6673", label=form_name(name), **style) for name in names]
        panels[-1].legend(handles=handles, loc="center left", bbox_to_anchor=(1.02, 0.5), handlelength=1.6)
        return figure


def _points(axes: Axes, rows: pd.DataFrame, layers: Sequence[int], n_layers: int, *, joined: bool) -> list[np.ndarray]:
    """Draw measured values; returns them."""
    drawn = []
    for layer in layers:
        series = where(rows, layer=layer).sort_values("step")
        steps, values, colour = numbers(series, "step"), numbers(series, "value"), layer_colour(layer, n_layers)
        half = half_widths(series)
        if np.isfinite(half).any():
            low = np.maximum(values - half, 0.02 * values)
            axes.fill_between(steps, low, values + half, color=colour, alpha=0.18, lw=0)
        marker = "o" if len(steps) < 40 or not joined else None
        axes.plot(steps, values, color=colour, marker=marker, markersize=2, ls="-" if joined else "")
        drawn.append(values)
    return drawn


def _fitted(
    axes: Axes, rows: pd.DataFrame, layers: Sequence[int], n_layers: int, end: float, over_points: bool
) -> list[np.ndarray]:
    """Draw fitted curves up to step `end`; returns their values. A failed fit has no curve."""
    drawn, grid = [], step_grid(end)
    for row in rows_of(select(rows, rows["layer"].isin(list(layers)).to_numpy(bool))):
        curve = evaluate(str(row["form"]), row, grid)
        if curve is not None:
            style: dict[str, Any] = {"ls": _FIT_DASHES} if over_points else {}
            axes.plot(grid, curve, color=layer_colour(int(row["layer"]), n_layers), **style)
            drawn.append(curve)
    return drawn
