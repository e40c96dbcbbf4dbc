"""Figures of curve fits: overlays with residuals, and R2 by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy import ndarray

from massact.extract.magnitudes import DEFAULT
from massact.extract.statistic import Statistic
from massact.fit.forms import FORMS
from massact.plotting import (
    FULL_WIDTH,
    INK,
    MUTED,
    STYLE,
    half_widths,
    new_figure,
    spread_layers,
    step_axis,
    step_grid,
    value_axis,
)
from massact.report.formats import form_name, spaced
from massact.report.frames import at_place, layers_of, numbers, places_of, rows_of, where
from massact.report.inputs import TrainingRun, of_run
from massact.report.plot_trajectories import main_quantity

R2_FLOOR = 0.0
R2_TICKS = (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999)


def overlay_figure(
    trajectories: pd.DataFrame,
    fits: Mapping[str, pd.DataFrame],
    run: TrainingRun,
    quantity: str | None = None,
    statistic: Statistic = DEFAULT,
) -> Figure:
    """Measured points with 95 % error bars, all fitted forms, and residuals: first, middle and last layer of a run.

    A statistic with one number per head has one panel per head: up to 4 heads of these layers, or 12 where the table
    has one layer. To see other layers or heads, pass their rows alone.

    Parameters
    ----------
    trajectories
        Schema `massact.trajectories.schemas.trajectories_schema(statistic)`.
    fits
        By form, each of `massact.fit.schemas.fits_schema(form)`.
    quantity
        None: the ratio of magnitudes, or the first quantity of another statistic.
    """
    name = main_quantity(statistic) if quantity is None else quantity
    rows = where(of_run(trajectories, run), quantity=name)
    of_place = {form: _by_place(where(of_run(frame, run), quantity=name)) for form, frame in fits.items()}
    panels = _panels(places_of(rows))
    columns = _columns(panels)
    lines = -(-len(panels) // columns)
    with mpl.rc_context(STYLE):
        figure = new_figure(FULL_WIDTH * min(1.0, 0.12 + 0.34 * columns), 3.5 if lines == 1 else 0.4 + 2.6 * lines)
        grid = figure.subplots(2 * lines, columns, squeeze=False, sharex=True, height_ratios=[2.6, 1] * lines)
        for at, place in enumerate(panels):
            line, column = divmod(at, columns)
            upper, lower = grid[2 * line : 2 * line + 2, column]
            fit_of_form = {form: by_place[place] for form, by_place in of_place.items() if place in by_place}
            series = at_place(rows, place).sort_values("step")
            _panel(upper, lower, series, fit_of_form, label=at + columns >= len(panels))
            first = next(iter(fit_of_form.values()), None)
            parts = [_place_name(place), *([] if first is None else [spaced(str(first["regime"]))])]
            upper.set_title((" · " if columns < 4 else "\n").join(parts))
            if column == 0:
                upper.set_ylabel(statistic.quantities[name].label)
                lower.set_ylabel("residual")
        for axes in grid[-2:, (len(panels) - 1) % columns + 1 :].ravel():
            axes.remove()
        entries = len(fits) + 1 if columns > 1 else 2
        figure.legend(handles=form_handles(fits), loc="outside upper left", ncols=entries, handlelength=2.6)
        return figure


def r2_figure(
    fits: Mapping[str, pd.DataFrame], runs: Sequence[TrainingRun], named: Mapping[TrainingRun, str], quantity: str
) -> Figure:
    """R2 of each form at each layer, one panel per run. A triangle at the bottom marks an R2 below zero.

    A form has one point per layer, or one per head.
    """
    with mpl.rc_context(STYLE):
        columns = min(4, max(2, len(runs)))
        lines = -(-len(runs) // columns)
        figure = new_figure(FULL_WIDTH, 0.5 + 1.75 * lines)
        grid = figure.subplots(lines, columns, squeeze=False, sharey=True).ravel()
        for axes, run in zip(grid, runs, strict=False):
            _r2_panel(axes, {form: where(of_run(frame, run), quantity=quantity) for form, frame in fits.items()})
            axes.set_title(named[run])
        for axes in grid[len(runs) :]:
            axes.remove()
        for axes in grid[: len(runs) : columns]:
            axes.set_ylabel("R²")
        figure.legend(handles=_dots(fits), loc="outside upper left", ncols=len(fits))
        return figure


def form_handles(fits: Mapping[str, pd.DataFrame]) -> list[Line2D]:
    """Legend entries of the measured points and the fitted forms."""
    measured = Line2D([], [], color=INK, marker="o", ls="", label="measured, ±95 % over sequences")
    return [
        measured,
        *(Line2D([], [], label=form_name(form), **form_line(form)) for form in fits),
    ]


def evaluate(form: str, row: Mapping[str, Any], steps: Float[ndarray, " step"]) -> Float[ndarray, " step"] | None:
    """The fitted curve at these steps; None if the parameters or all values of the curve are not finite."""
    from massact.fit import curve_values

    parameters = {name: float(row[name]) for name in FORMS[form].parameters}
    if not all(np.isfinite(value) for value in parameters.values()):
        return None
    with np.errstate(all="ignore"):
        values = np.asarray(curve_values(form, parameters, steps), dtype=float)
    return values if np.isfinite(values).any() else None


def r2_place(r2: float) -> float:
    """Position of an R2 on the axis. Nines are evenly spaced; values above the last tick are drawn at it.

    >>> [round(r2_place(r2), 2) for r2 in (0.0, 0.9, 0.99, 1.0)]
    [0.0, 1.0, 2.0, 4.0]
    """
    return float(0.0 - np.log10(1 - min(r2, R2_TICKS[-1])))  # no minus zero


def form_line(form: str) -> dict[str, Any]:
    """Colour, width, dashes and opacity of a form's lines, as matplotlib takes them."""
    line = FORMS[form].line
    style: dict[str, Any] = {"color": FORMS[form].colour, "lw": line.width}
    if line.dashes:
        style["ls"] = (0, line.dashes)
    if line.opacity < 1:
        style["alpha"] = line.opacity
    return style


def _by_place(rows: pd.DataFrame) -> dict[tuple[int, ...], dict[str, Any]]:
    return {place: rows_of(at_place(rows, place))[0] for place in places_of(rows)}


def _panels(places: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """First, middle and last layer; of their heads, at most 4, or 12 of a single layer."""
    layers = sorted({place[0] for place in places})
    shown = list(dict.fromkeys(layers[at] for at in (0, len(layers) // 2, len(layers) - 1)))
    panels: list[tuple[int, ...]] = []
    for layer in shown:
        of_layer = [place for place in places if place[0] == layer]
        panels += [of_layer[at] for at in spread_layers(len(of_layer), 4 if len(shown) > 1 else 12)]
    return panels


def _columns(panels: Sequence[tuple[int, ...]]) -> int:
    """Panels in a row: one for each layer, or those of one layer if it has several heads."""
    layers = [place[0] for place in panels]
    most = max(layers.count(layer) for layer in layers)
    return len(panels) if most == 1 else min(4, most)


def _place_name(place: Sequence[int]) -> str:
    return ", ".join(f"{axis} {at}" for axis, at in zip(("layer", "head"), place, strict=False))


def _panel(
    upper: Axes, lower: Axes, series: pd.DataFrame, fit_of_form: Mapping[str, dict[str, Any]], *, label: bool = True
) -> None:
    steps, values = numbers(series, "step"), numbers(series, "value")
    half = np.nan_to_num(half_widths(series))
    last, missing, reach = float(steps.max()), [], []
    for form, row in fit_of_form.items():
        grid = step_grid(last)
        curve, at_steps = evaluate(form, row, grid), evaluate(form, row, steps)
        if curve is None or at_steps is None:
            missing.append(form_name(form))
            continue
        style = form_line(form)
        upper.plot(grid, curve, **style)
        lower.plot(steps, values - at_steps, **style)
        reach.append(float(np.nanmax(np.abs(values - at_steps))))
    upper.errorbar(
        steps, values, half, fmt="o", ms=2.4 if len(steps) < 60 else 1.4, color=INK, elinewidth=0.7, zorder=3
    )
    lower.fill_between(steps, -half, half, color=MUTED, alpha=0.2, lw=0)
    lower.axhline(0, color=MUTED, lw=0.6)
    low, high = float((values - half).min()), float((values + half).max())
    pad = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    value_axis(upper, low, high, wide=np.inf)
    value_axis(lower, low, high, wide=np.inf)
    upper.set_ylim(low - pad, high + pad)
    lower.set_ylim(*(np.array([-1.25, 1.25]) * (max(min(reach, default=0.0), float(half.max())) or pad)))
    step_axis(upper, last, label=False)
    step_axis(lower, last, label=label)
    if missing:
        upper.text(0.02, 0.02, "no fit: " + ", ".join(missing), transform=upper.transAxes, color=MUTED, va="bottom")


def _r2_panel(axes: Axes, of_form: Mapping[str, pd.DataFrame]) -> None:
    layers = sorted({layer for rows in of_form.values() for layer in layers_of(rows)})
    width = 0.5 / max(1, len(of_form) - 1)
    for at, (form, rows) in enumerate(of_form.items()):
        shift = (at - (len(of_form) - 1) / 2) * width if len(layers) <= 16 else 0.0
        pairs = zip(numbers(rows, "layer"), numbers(rows, "r2"), strict=True)
        points = [(float(layer) + shift, float(r2)) for layer, r2 in pairs if np.isfinite(r2)]
        inside = [(x, y) for x, y in points if y >= R2_FLOOR]
        below = [x for x, y in points if y < R2_FLOOR]
        style = {"color": FORMS[form].colour, "ls": "", "clip_on": False}
        if inside:  # an empty line that is not clipped has no extent, and the layout fails
            axes.plot([x for x, _ in inside], [r2_place(y) for _, y in inside], marker="o", ms=3.6, **style)
        if below:
            axes.plot(below, [r2_place(R2_FLOOR)] * len(below), marker="v", ms=4, **style)
    places = spread_layers(len(layers), 9)
    axes.set_xticks([layers[at] for at in places])
    axes.set_xlim((layers[0] if layers else 0) - 0.6, (layers[-1] if layers else 0) + 0.6)
    axes.set_yticks([r2_place(tick) for tick in R2_TICKS], [f"{tick:g}" for tick in R2_TICKS])
    axes.set_ylim(r2_place(R2_FLOOR), r2_place(R2_TICKS[-1]))
    axes.set_xlabel("layer")
    axes.grid(axis="x", visible=False)


def _dots(fits: Mapping[str, pd.DataFrame]) -> list[Line2D]:
    return [Line2D([], [], color=FORMS[f].colour, marker="o", ms=4, ls="", label=form_name(f)) for f in fits]
