"""Two designs side by side: their forecasts, and the interval of their difference."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from massact.architecture import Architecture
from massact.predict.bands import HeldOut
from massact.predict.forecasting import at_steps, recipe_of, recipes_of, steps_in_range
from massact.predict.limits import beyond
from massact.predict.request import architecture_of, level_of, steps_of
from massact.predict.stored import Learned

if TYPE_CHECKING:
    import pandas as pd

DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)  # of a layer: 0 the first, 1 the last


def compare(
    first: Architecture | Mapping[str, Any],
    second: Architecture | Mapping[str, Any],
    *,
    recipe: str | None = None,
    steps: SupportsIndex | Iterable[SupportsIndex] | None = None,
    level: float = 0.9,
    artefact: Mapping[str, Any] | str | Path | None = None,
) -> pd.DataFrame:
    """Forecast the ratio of two architectures at the same relative depths and steps.

    Parameters
    ----------
    first, second
        As in `forecast`.
    recipe, steps, level, artefact
        As in `forecast`.

    Returns
    -------
    DataFrame with columns recipe, step, depth (`DEPTHS`, or NaN for the geometric mean over layers), first, second,
    times (second / first), lower, upper. The interval of `times` comes from the differences between the residuals of
    every two held-out design points of the architectures' layouts: a pair of trainings, one of each design, lies in it
    with probability `level`. It is infinite where there are too few design points. `.attrs["outside"]` has the factors
    of either architecture that lie outside the measured range, with their distances.

    Raises
    ------
    ConfigError, ParseError
        As `forecast`.
    """
    import pandas as pd

    designs = [architecture_of(first), architecture_of(second)]
    level, requested = level_of(level), steps_of(steps)
    recipes = recipes_of(artefact)
    recipe = recipe_of(recipe, recipes)
    learned = recipes[recipe]
    at = np.array(steps_in_range(requested, recipe, recipes))
    one, two = (_at_depths(learned.log_curves(design)) for design in designs)
    outside = [beyond(design, learned) for design in designs]
    far = max((distance for each in outside for distance in each.values()), default=0.0)
    half = _half_widths(learned, designs, level) * (1 + far)
    shape = (len(at), len(DEPTHS) + 1)
    log_one, log_two, spread = (at_steps(values, learned, at).ravel() for values in (one, two, half))
    table = pd.DataFrame(
        {
            "recipe": recipe,
            "step": np.repeat(at, shape[1]),
            "depth": np.tile([*DEPTHS, np.nan], shape[0]),
            "first": np.exp(log_one),
            "second": np.exp(log_two),
            "times": np.exp(log_two - log_one),
            "lower": np.exp(log_two - log_one - spread),
            "upper": np.exp(log_two - log_one + spread),
        }
    )
    table.attrs["outside"] = {**outside[0], **outside[1]}
    return table


def comparison_text(table: pd.DataFrame, level: float) -> str:
    """The comparison as a table for a terminal: a row per step and depth."""
    rows: list[tuple[str, ...]] = [("step", "layer", "first", "second", "second / first", f"{level:.6g} interval")]
    for row in table.to_dict("records"):
        ends = {0.0: "first", 1.0: "last"}
        depth = "mean" if np.isnan(row["depth"]) else ends.get(row["depth"], f"{row['depth']:.0%}")
        values = (f"{row[name]:.3g}" for name in ("first", "second", "times"))
        rows.append((f"{row['step']:,}", depth, *values, f"{row['lower']:.3g} - {row['upper']:.3g}"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    if table.attrs["outside"]:
        names = ", ".join(table.attrs["outside"])
        lines.insert(0, f"Outside the measured range: {names}. The intervals claim no coverage there.")
    return "\n".join(lines)


def _at_depths(log_curves: Float[ndarray, "layer step"]) -> Float[ndarray, "depth step"]:
    """Curves at relative depths, linear between layers, and their mean over layers as the last row."""
    layers = np.linspace(0, 1, len(log_curves)) if len(log_curves) > 1 else np.zeros(1)
    by_step = [np.interp(DEPTHS, layers, column) for column in log_curves.T]
    return np.vstack([np.stack(by_step, axis=1), log_curves.mean(axis=0)])


def _half_widths(learned: Learned, designs: list[Architecture], level: float) -> Float[ndarray, "depth step"]:
    """Quantile of |difference| over pairs of design points, with the rank of a conformal quantile of as many points."""
    first, second = (_of_layout(learned.held_out, design.parallel_residual) for design in designs)
    pairs = [
        np.abs(one - two)
        for (point, one), (other, two) in itertools.product(first.items(), second.items())
        if point != other
    ]
    n = min(len(first), len(second))
    share = np.ceil(level * (n + 1)) / n if n else np.inf
    if share > 1:
        return np.full((len(DEPTHS) + 1, len(learned.steps)), np.inf)
    return np.quantile(np.stack(pairs), share, axis=0, method="inverted_cdf")


def _of_layout(held_out: HeldOut, layout: bool) -> dict[int, Float[ndarray, "depth step"]]:
    """Design point -> residuals at relative depths of one of its trainings (the first seed)."""
    found: dict[int, ndarray] = {}
    for training in np.unique(held_out.training[held_out.layout == layout]):
        rows = held_out.training == training
        found.setdefault(int(held_out.design[rows][0]), _at_depths(held_out.residuals[rows]))
    return found
