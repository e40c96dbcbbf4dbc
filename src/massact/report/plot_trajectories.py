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
from massact.report.frames import layers_of, numbers, where
from massact.report.inputs import TrainingRun, of_run

RUNS_PER_FIGURE = 4
RUNS_PER_MAP = 6
QUANTITY_LABELS = {name: quantity.label for name, quantity in DEFAULT.quantities.items()}


def trajectories_figure(
    trajectories: pd.DataFrame,
    runs: Sequence[TrainingRun],
    named: Mapping[TrainingRun, str],
    statistic: Statistic = DEFAULT,
) -> Figure:
    """One row a run, one column a quantity, one line a layer; the band is the 95 % interval over sequences.

    Of a statistic with one number a head there is one line a head, in its layer's colour. The runs are of one recipe,
    whose other runs in the table widen the scales.
    """
    with mpl.rc_context(STYLE):
        figure = new_figure(FULL_WIDTH, 0.5 + 1.9 * len(runs))
        grid = figure.subplots(len(runs), len(statistic.quantities), squeeze=False, sharex=True)
        recipe_rows = where(trajectories, recipe=runs[0].recipe)  # all figures of a recipe have the same scales
        last = float(numbers(recipe_rows, "step").max())
        for at, (row, run) in enumerate(zip(grid, runs, strict=True)):
            rows = of_run(trajectories, run)
            layers = layers_of(rows)
            for axes, (name, quantity) in zip(row, statistic.quantities.items(), strict=True):
                _curves(axes, where(rows, quantity=name), layers)
                _shared_limits(axes, numbers(where(recipe_rows, quantity=name), "value"))
                step_axis(axes, last, label=at == len(runs) - 1)
                axes.set_ylabel(quantity.label)
            row[0].set_title(named[run])
            row[-1].legend(
                handles=_layer_handles(layers), loc="center left", bbox_to_anchor=(1.02, 0.5), handlelength=1.2
            )
        return figure


def heatmap_figure(trajectories: pd.DataFrame, runs: Sequence[TrainingRun], named: Mapping[TrainingRun, str]) -> Figure:
    """Ratio by step and layer, one panel per run, with one colour scale."""
    with mpl.rc_context(STYLE):
        ratios = where(trajectories, quantity="ratio")
        columns = min(2, len(runs))
        lines = -(-len(runs) // columns)
        deepest = max(len(layers_of(of_run(ratios, run))) for run in runs)
        figure = new_figure(FULL_WIDTH * (0.6 if columns == 1 else 1), 0.4 + lines * min(1.4 + 0.12 * deepest, 2.7))
        grid = figure.subplots(lines, columns, squeeze=False).ravel()
        norm = _colour_scale(numbers(ratios, "value"))
        mesh: Any = None
        for axes, run in zip(grid, runs, strict=False):
            rows = of_run(ratios, run)
            table = rows.pivot_table(index="layer", columns="step", values="value")
            steps, layers = table.columns.to_numpy(dtype=float), table.index.to_numpy(dtype=int)
            mesh = axes.pcolormesh(
                step_edges(steps),
                np.arange(len(layers) + 1) - 0.5,
                table.to_numpy(),
                norm=norm,
                cmap="viridis",
                rasterized=True,
            )
            step_axis(axes, float(steps.max()))
            axes.set_xlim(*step_edges(steps)[[0, -1]])
            places = spread_layers(len(layers), 9)
            axes.set_yticks(places, [str(layers[at]) for at in places])
            axes.set_ylabel("layer")
            axes.set_title(named[run])
            axes.grid(False)
        for axes in grid[len(runs) :]:
            axes.remove()
        bar = figure.colorbar(
            mesh, ax=list(grid[: len(runs)]), shrink=min(1.0, 0.55 + 0.2 / lines), pad=0.015, aspect=16 * lines
        )
        bar.set_label(QUANTITY_LABELS["ratio"])
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


def _curves(axes: Axes, rows: pd.DataFrame, layers: Sequence[int]) -> None:
    for at, layer in enumerate(layers):
        of_layer = where(rows, layer=layer).sort_values("step")
        heads = sorted(set(of_layer["head"])) if "head" in of_layer else []
        for series in [where(of_layer, head=head) for head in heads] or [of_layer]:
            steps, values = numbers(series, "step"), numbers(series, "value")
            half, colour = half_widths(series), layer_colour(at, len(layers))
            if np.isfinite(half).any():
                low = np.maximum(values - half, 0.02 * values)
                axes.fill_between(steps, low, values + half, color=colour, alpha=0.18, lw=0)
            marked = len(steps) < 40 and len(layers) <= 8
            axes.plot(steps, values, color=colour, marker="o" if marked else None, markersize=2)


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
