"""Figure of out-of-sample predictions against fitted values, with both splits side by side."""

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

from massact.plotting import FULL_WIDTH, MODEL_COLOURS, MODEL_MARKERS, MUTED, STYLE, new_figure, value_axis
from massact.predict.schemas import SPLITS
from massact.report.formats import fixed, spaced, target_name
from massact.report.frames import distinct, numbers, rows_of, where
from massact.report.inputs import BASELINES

MOST_NAMED = len(MODEL_COLOURS)  # models; with more, colours would repeat
SPLIT_NAMES = {"random": "random split", "architecture": "architectures held out"}


def best_regressors(scores: pd.DataFrame) -> dict[tuple[str, str], tuple[str, float]]:
    """For each (target, split) of one slice's scores, the trained regressor with the highest R2, and that R2."""
    best: dict[tuple[str, str], tuple[str, float]] = {}
    for row in rows_of(scores):
        key, r2 = (str(row["target"]), str(row["split"])), float(row["r2"])
        if row["regressor"] not in BASELINES and np.isfinite(r2) and (key not in best or r2 > best[key][1]):
            best[key] = (str(row["regressor"]), r2)
    return best


def predictions_figure(predictions: pd.DataFrame, scores: pd.DataFrame) -> Figure:
    """A pair of panels per target (random split, architectures held out), each for its best regressor.

    More than `MOST_NAMED` models share one symbol. Both tables hold one slice. Targets without a finite score in either
    split are omitted.
    """
    best = best_regressors(scores)
    targets = [t for t in distinct(scores, "target") if any((t, split) in best for split in SPLITS)]
    models = sorted(distinct(predictions, "model"))
    with mpl.rc_context(STYLE):
        pairs = 2 if len(targets) > 1 else 1
        lines = -(-len(targets) // pairs)
        figure = new_figure(FULL_WIDTH * pairs / 2, 0.6 + 2.15 * lines)
        halves = figure.subfigures(lines, pairs, squeeze=False).ravel()
        for half, target in zip(halves, targets, strict=False):
            half.set_facecolor("none")
            grid = half.subplots(1, 2, squeeze=False)[0]
            rows = where(predictions, target=target)
            limits = _limits(numbers(rows, "actual"))
            for axes, split in zip(grid, SPLITS, strict=True):
                leader = best.get((target, split))
                _panel(axes, rows, split, leader, models, limits)
                name = "not scored" if leader is None else f"{spaced(leader[0])}, R² {fixed(leader[1])}"
                axes.set_title(f"{SPLIT_NAMES[split]}\n{name}", fontsize=7.5, fontweight="normal")
            grid[0].set_ylabel(f"predicted {target_name(target)}")
        figure.legend(handles=_handles(models), loc="outside upper left", ncols=min(6, max(1, len(models))))
        return figure


def _panel(
    axes: Axes,
    rows: pd.DataFrame,
    split: str,
    leader: tuple[str, float] | None,
    models: Sequence[str],
    limits: tuple[float, float],
) -> None:
    low, high = limits
    value_axis(axes, low, high, which="x", wide=20.0, most=5)
    value_axis(axes, low, high, which="y", wide=20.0, most=6)
    axes.plot(limits, limits, color=MUTED, lw=0.8)
    if leader is not None:
        predictions = where(rows, split=split, regressor=leader[0])
        for model, style in _styles(models).items() if len(models) <= MOST_NAMED else [(None, _symbol(0))]:
            points = predictions if model is None else where(predictions, model=model)
            x, y = numbers(points, "actual"), numbers(points, "predicted")
            outside = (y < low) | (y > high)
            axes.plot(x[~outside], y[~outside], **style)
            if outside.any():
                axes.plot(x[outside], np.clip(y[outside], low, high), **{**style, "marker": "x", "clip_on": False})
    axes.set_xlim(*limits)
    axes.set_ylim(*limits)
    axes.set_box_aspect(1)
    axes.set_xlabel(f"fitted {target_name(str(rows['target'].iloc[0]))}" if len(rows) else "fitted")
    axes.locator_params(nbins=4) if axes.get_xscale() == "linear" else None


def _limits(actual: Float[ndarray, " row"]) -> tuple[float, float]:
    """Axis limits from the fitted values only, so that one extreme prediction does not compress the rest."""
    finite = actual[np.isfinite(actual)]
    if not len(finite):
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    if low > 0 and high / low > 20:
        return low / 2, high * 2
    pad = 0.25 * (high - low) or 0.5 * abs(high) or 1.0
    return low - pad, high + pad


def _styles(models: Sequence[str]) -> Mapping[str, dict[str, Any]]:
    return {model: _symbol(at) for at, model in enumerate(models)}


def _symbol(at: int) -> dict[str, Any]:
    return {
        "color": MODEL_COLOURS[at % len(MODEL_COLOURS)],
        "marker": MODEL_MARKERS[at % len(MODEL_MARKERS)],
        "ls": "",
        "ms": 4,
        "alpha": 0.85,
        "mew": 0.8,
    }


def _handles(models: Sequence[str]) -> list[Line2D]:
    if len(models) > MOST_NAMED:
        return [Line2D([], [], label=f"a layer of one of {len(models)} models", **_symbol(0))]
    return [Line2D([], [], label=model, **style) for model, style in _styles(models).items()]
