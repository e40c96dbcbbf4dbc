"""Figures of the measurements: curves over training, and maps of step and layer."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy import ndarray

from massact.extract.magnitudes import DEFAULT
from massact.extract.statistic import Statistic
from massact.plotting import (
    FULL_WIDTH,
    MODEL_COLOURS,
    STYLE,
    half_widths,
    layer_colour,
    new_figure,
    spread_layers,
    step_axis,
    value_axis,
)
from massact.report.frames import at_place, layers_of, numbers, places_of, where
from massact.report.inputs import TrainingRun, labels, of_run, runs_of

RUNS_PER_FIGURE = 4
RUNS_PER_MAP = 6
MOST_BANDS = 8  # bands of more lines of heads would hide them
MOST_LINES = 24  # more lines of heads are thin, with the median over heads of each layer
MOST_HEADS = 16  # of a map with more heads, only layers are labelled


def trajectories_figure(
    trajectories: pd.DataFrame,
    runs: Sequence[TrainingRun] | None = None,
    named: Mapping[TrainingRun, str] | None = None,
    statistic: Statistic = DEFAULT,
) -> Figure:
    """One row per run, one column per quantity, one line per layer. The band is the 95 % interval over sequences.

    A statistic with one number per head has one line per head, in its layer's colour, and beyond 24 heads a thick line
    for the median over the heads of each layer. To see some layers or heads, pass their rows alone.

    Parameters
    ----------
    trajectories
        Schema `massact.trajectories.schemas.trajectories_schema(statistic)`.
    runs
        The runs to draw, all of one recipe. None: all runs in the table. The scales cover all runs of that recipe.
    named
        The names of the runs in the figure. None: the models' names, with seed, recipe and family where runs share a
        name.
    statistic
        The statistic of the table. Quantities that the table lacks are not drawn.
    """
    runs = runs_of(trajectories) if runs is None else runs
    named = labels(runs) if named is None else named
    quantities = _quantities(trajectories, statistic)
    with mpl.rc_context(STYLE):
        figure = new_figure(FULL_WIDTH, 0.5 + 1.9 * len(runs))
        grid = figure.subplots(len(runs), len(quantities), squeeze=False, sharex=True)
        recipe_rows = where(trajectories, recipe=runs[0].recipe)  # all figures of a recipe have the same scales
        last = float(numbers(recipe_rows, "step").max())
        for at, (row, run) in enumerate(zip(grid, runs, strict=True)):
            rows = of_run(trajectories, run)
            layers = layers_of(rows)
            for axes, name in zip(row, quantities, strict=True):
                _curves(axes, where(rows, quantity=name), layers)
                _shared_limits(axes, numbers(where(recipe_rows, quantity=name), "value"))
                step_axis(axes, last, label=at == len(runs) - 1)
                axes.set_ylabel(statistic.quantities[name].label)
            row[0].set_title(_title(named[run], rows))
            row[-1].legend(
                handles=_layer_handles(layers), loc="center left", bbox_to_anchor=(1.02, 0.5), handlelength=1.2
            )
        return figure


def heatmap_figure(
    trajectories: pd.DataFrame,
    runs: Sequence[TrainingRun] | None = None,
    named: Mapping[TrainingRun, str] | None = None,
    statistic: Statistic = DEFAULT,
    quantity: str | None = None,
) -> Figure:
    """A quantity by step and layer, one panel per run, with one colour scale.

    A statistic with one number per head has one row per head, in order of layer, then of head. To see one head over
    layers, or one layer, pass their rows alone.

    Parameters
    ----------
    trajectories, runs, named, statistic
        As in `trajectories_figure`.
    quantity
        None: the ratio of magnitudes, or the first quantity of another statistic.
    """
    name = main_quantity(statistic) if quantity is None else quantity
    rows_of_quantity = where(trajectories, quantity=name)
    runs = runs_of(rows_of_quantity) if runs is None else runs
    named = labels(runs) if named is None else named
    with mpl.rc_context(STYLE):
        columns = min(2, len(runs))
        lines = -(-len(runs) // columns)
        deepest = max(len(places_of(of_run(rows_of_quantity, run))) for run in runs)
        figure = new_figure(FULL_WIDTH * (0.6 if columns == 1 else 1), 0.4 + lines * min(1.4 + 0.12 * deepest, 2.7))
        grid = figure.subplots(lines, columns, squeeze=False).ravel()
        norm = _colour_scale(numbers(rows_of_quantity, "value"))
        mesh: Any = None
        for axes, run in zip(grid, runs, strict=False):
            mesh = _map(axes, of_run(rows_of_quantity, run), norm)
            axes.set_title(named[run])
        for axes in grid[len(runs) :]:
            axes.remove()
        bar = figure.colorbar(
            mesh, ax=list(grid[: len(runs)]), shrink=min(1.0, 0.55 + 0.2 / lines), pad=0.015, aspect=16 * lines
        )
        bar.set_label(statistic.quantities[name].label)
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
        if isinstance(norm, LogNorm):
            value_axis(bar.ax, float(norm.vmin or 1), float(norm.vmax or 1), wide=1.0)
        return figure


def loss_figure(logs: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """Training and validation loss (nats per token) over training, one colour per model."""
    with mpl.rc_context(STYLE):
        figure = new_figure(0.62 * FULL_WIDTH, 2.7)
        axes = figure.subplots()
        last = 1.0
        for at, (model, log) in enumerate(logs.items()):
            steps = [float(row["step"]) for row in log]
            last = max(last, *steps)
            colour = MODEL_COLOURS[at % len(MODEL_COLOURS)]
            axes.plot(steps, [row.get("loss", np.nan) for row in log], color=colour, label=model)
            axes.plot(steps, [row.get("validation_loss", np.nan) for row in log], color=colour, ls=(0, (3, 1.5)))
        step_axis(axes, last)
        axes.set_ylabel("loss (nats per token)")
        handles = [*axes.get_legend_handles_labels()[0], Line2D([], [], color="#7f8790", ls=(0, (3, 1.5)))]
        names = [*logs, "dashed: held-out text"]
        axes.legend(handles, names, loc="center left", bbox_to_anchor=(1.02, 0.5))
        return figure


def step_edges(steps: Float[ndarray, " step"]) -> Float[ndarray, " edge"]:
    """Borders between checkpoints, halfway on the step axis. The first cell begins at the first step.

    >>> step_edges(np.array([0.0, 1.0, 4.0])).round(2).tolist()
    [0.0, 0.5, 2.0, 8.0]
    """
    if len(steps) == 1:
        return np.array([steps[0], max(1.0, 2 * steps[0])])
    place = np.where(steps < 1, steps, 1 + np.log(np.maximum(steps, 1)))
    middle = (place[1:] + place[:-1]) / 2
    edges = np.concatenate([place[:1], middle, [2 * place[-1] - middle[-1]]])
    if len(steps) > 1 and steps[0] < 1:
        edges[1] = 0.5
    return np.where(edges < 1, edges, np.exp(edges - 1))


def chunks(runs: Sequence[TrainingRun], size: int = RUNS_PER_FIGURE) -> list[list[TrainingRun]]:
    """Runs in groups of at most `size`, one group per figure. The groups of a recipe are as equal as possible."""
    groups: list[list[TrainingRun]] = []
    for _, alike in itertools.groupby(runs, key=lambda run: run.recipe):
        left = list(alike)
        for figures in range(-(-len(left) // size), 0, -1):
            count = -(-len(left) // figures)
            groups.append(left[:count])
            left = left[count:]
    return groups


def main_quantity(statistic: Statistic) -> str:
    """The quantity shown where there is room for one: the ratio of magnitudes, or another statistic's first."""
    return "ratio" if statistic.name == DEFAULT.name else next(iter(statistic.quantities))


def _quantities(trajectories: pd.DataFrame, statistic: Statistic) -> list[str]:
    present = set(trajectories["quantity"])
    return [name for name in statistic.quantities if name in present]


def _title(name: str, rows: pd.DataFrame) -> str:
    places, layers = places_of(rows), layers_of(rows)
    if len(places) == len(layers):
        return name
    return f"{name}, one line per head" + (" (thick: median)" if len(places) > MOST_LINES else "")


def _map(axes: Axes, rows: pd.DataFrame, norm: Normalize) -> Any:
    """One panel of a map. Returns the mesh."""
    places = places_of(rows)
    index = ["layer", "head"] if "head" in rows else ["layer"]
    table = rows.pivot_table(index=index, columns="step", values="value")
    steps = table.columns.to_numpy(dtype=float)
    mesh = axes.pcolormesh(
        step_edges(steps),
        np.arange(len(places) + 1) - 0.5,
        table.to_numpy(),
        norm=norm,
        cmap="viridis",
        rasterized=True,
    )
    step_axis(axes, float(steps.max()))
    axes.set_xlim(*step_edges(steps)[[0, -1]])
    _label_rows(axes, places)
    axes.grid(False)
    return mesh


def _label_rows(axes: Axes, places: Sequence[tuple[int, ...]]) -> None:
    """Label the rows of a map: layers, heads as layer.head, or of many heads the layer in their middle."""
    layers = [place[0] for place in places]
    starts = [layers.index(layer) for layer in dict.fromkeys(layers)]
    for start in starts[1:] if len(starts) < len(places) else ():
        axes.axhline(start - 0.5, color="white", lw=0.7)
    if len(starts) == len(places):
        shown = spread_layers(len(places), 9)
        heads = {place[1] for place in places if len(place) > 1}
        axes.set_yticks(shown, [str(layers[at]) for at in shown])
        axes.set_ylabel(f"layer (head {heads.pop()})" if len(heads) == 1 else "layer")
    elif len(places) <= MOST_HEADS:
        axes.set_yticks(range(len(places)), [".".join(map(str, place)) for place in places])
        axes.set_ylabel("layer.head")
    else:
        ends = [*starts[1:], len(places)]
        shown = spread_layers(len(starts), 9)
        axes.set_yticks([(starts[at] + ends[at] - 1) / 2 for at in shown], [str(layers[starts[at]]) for at in shown])
        axes.set_ylabel("layer, one row per head")


def _curves(axes: Axes, rows: pd.DataFrame, layers: Sequence[int]) -> None:
    places = places_of(rows)
    by_head, many = len(places) > len(layers), len(places) > MOST_LINES
    colours = {layer: layer_colour(at, len(layers)) for at, layer in enumerate(layers)}
    for place in places:
        series = at_place(rows, place).sort_values("step")
        steps, values = numbers(series, "step"), numbers(series, "value")
        half, colour = half_widths(series), colours[place[0]]
        if np.isfinite(half).any() and not (by_head and len(places) > MOST_BANDS):
            low = np.maximum(values - half, 0.02 * values)
            axes.fill_between(steps, low, values + half, color=colour, alpha=0.18, lw=0)
        marked = len(steps) < 40 and len(places) <= 8
        style: dict[str, Any] = {"lw": 0.5, "alpha": 0.3} if by_head and many else {"lw": 0.9} if by_head else {}
        axes.plot(steps, values, color=colour, marker="o" if marked else None, markersize=2, **style)
    for layer in layers if by_head and many else ():
        median = where(rows, layer=layer).groupby("step")["value"].median()
        axes.plot(median.index.to_numpy(float), median.to_numpy(), color=colours[layer], lw=1.8)


def _shared_limits(axes: Axes, values: Float[ndarray, " row"]) -> None:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return
    low, high = float(finite.min()), float(finite.max())
    value_axis(axes, low, high)
    if axes.get_yscale() == "log":
        axes.set_ylim(low / 1.15, high * 1.25)
    else:
        pad = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
        axes.set_ylim(min(0.0, low) if low < 0.5 * high else low - pad, high + pad)


def _layer_handles(layers: Sequence[int]) -> list[Line2D]:
    return [
        Line2D([], [], color=layer_colour(at, len(layers)), label=f"layer {layers[at]}")
        for at in spread_layers(len(layers), 8)
    ]


def _colour_scale(values: Float[ndarray, " row"]) -> Normalize:
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (1.0, 2.0)
    if low > 0 and high > low:
        return LogNorm(low, high)
    return Normalize(low, high if high > low else low + 1)
