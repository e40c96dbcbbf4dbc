"""Forecasts from the artefact: how the ratio of an architecture will grow, with bands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from massact.architecture import Architecture
from massact.errors import ConfigError
from massact.names import choice
from massact.predict.bands import HOLDS, POINT, HeldOut
from massact.predict.limits import beyond, caution_text, unused_text
from massact.predict.request import architecture_of, level_of, steps_of
from massact.predict.stored import Learned, learned_by_recipe, read_artefact, shipped_artefact

if TYPE_CHECKING:
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs]

__all__ = ["forecast", "shipped_artefact"]
_LARGEST_LOG = 700.0  # its exponential is still finite


def forecast(
    architecture: Architecture | Mapping[str, Any],
    *,
    recipe: str | None = None,
    steps: SupportsIndex | Iterable[SupportsIndex] | None = None,
    level: float = 0.9,
    holds: str = POINT,
    artefact: Mapping[str, Any] | str | Path | None = None,
) -> pd.DataFrame:
    """Forecast the top-1 to median ratio of every layer.

    It uses depth, width, heads, the width of the MLP, the rotary share and the residual layout. `.attrs["unused"]`
    names the numbers it ignores.

    Parameters
    ----------
    architecture
        An Architecture, or a mapping of its numbers.
    recipe
        The training recipe, one of the artefact's. A forecast for one recipe says nothing about another. None: the
        recipe learnt from the most architectures. In the shipped artefact that is `grid`, the recipe of the designed
        suite; the other is `nano`, of the pocket family (5).
    steps
        Optimiser steps to forecast, inside the trained range. None: three, from the middle to the end of it.
    level
        The probability that a band holds what `holds` names, for a new architecture drawn like the measured ones.
        Strictly between 0 and 1.
    holds
        `point`: the value of one layer at one step. `curve`: all steps of one layer at once. `training`: all layers
        and steps of one training at once. Bands are conformal quantiles of the residuals of held-out design points of
        the same residual layout, each design point weighing the same (`massact.predict.bands`). Outside the measured
        range they widen in proportion to the distance and claim no coverage. The largest value is never below the
        median, so the log ratio is cut at 0: value, lower and upper are at least 1.
    artefact
        The result of `build_artefact`, or the file it was written to. None: the shipped one.

    Returns
    -------
    DataFrame with columns recipe, step, tokens, layer, value, lower, upper. `upper` is infinite and `lower` is 1 where
    there are too few architectures for the level. `.attrs["caution"]` says what the forecast was learnt from and when
    not to trust it. `.attrs["outside"]` maps each factor that lies outside the measured range to its distance, in
    standard deviations. `.attrs["unused"]` names the numbers of the architecture it ignores.

    Raises
    ------
    ConfigError
        An invalid architecture, an unknown recipe, a step outside the trained range, a level outside (0, 1), or an
        unknown `holds`.
    ParseError
        The artefact is damaged, or is not a forecast artefact.
    """
    architecture, level, requested_steps = architecture_of(architecture), level_of(level), steps_of(steps)
    choice("holds", holds, HOLDS)
    recipes = recipes_of(artefact)
    recipe = recipe_of(recipe, recipes)
    learned = recipes[recipe]
    at = np.array(steps_in_range(requested_steps, recipe, recipes))
    outside = beyond(architecture, learned)
    half = half_widths(learned.held_out, level, holds, architecture) * (1 + max(outside.values(), default=0.0))
    table = band_table(learned, recipe, at, learned.log_curves(architecture), half)
    banded = bool(np.isfinite(half).all())
    table.attrs["caution"] = caution_text(architecture, recipe, learned, outside, level=level, banded=banded)
    table.attrs["outside"] = outside
    table.attrs["unused"] = unused_text(architecture, learned)
    return table


def band_table(
    learned: Learned,
    recipe: str,
    steps: ndarray,
    log_curves: Float[ndarray, "layer step"],
    half: Float[ndarray, " step"],
) -> pd.DataFrame:
    """The forecast's table: log curves at the model's steps, and half-widths there, read at other steps."""
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs]

    middle, half = at_steps(log_curves, learned, steps), at_steps(half[None], learned, steps)
    n_layers = len(log_curves)
    return pd.DataFrame(
        {
            "recipe": recipe,
            "step": np.repeat(steps, n_layers),
            "tokens": np.repeat(steps * learned.tokens_per_step, n_layers),
            "layer": np.tile(np.arange(n_layers), len(steps)),
            "value": _ratio(middle),
            "lower": _ratio(middle - half),
            "upper": np.where(np.isfinite(half + 0 * middle).ravel(), _ratio(middle + half), np.inf),
        }
    )


def half_widths(held_out: HeldOut, level: float, holds: str, architecture: Architecture) -> Float[ndarray, " step"]:
    """Those of the architecture's residual layout; of both layouts if it has too few design points; else infinite."""
    own = held_out.half_widths(level, holds, architecture.parallel_residual)
    return own if np.isfinite(own).all() else held_out.pooled().half_widths(level, holds, True)


def recipes_of(artefact: Mapping[str, Any] | str | Path | None) -> dict[str, Learned]:
    """The models of an artefact, of a file with one, or of the shipped one, by recipe."""
    if artefact is None:
        return learned_by_recipe(shipped_artefact())
    if isinstance(artefact, str | Path):
        return learned_by_recipe(read_artefact(artefact))
    return learned_by_recipe(artefact)


def recipe_of(recipe: object, recipes: Mapping[str, Learned]) -> str:
    """The recipe itself, or for None the one learnt from the most architectures."""
    if recipe is None:
        return min(recipes, key=lambda name: (-recipes[name].architectures, name))
    if not isinstance(recipe, str) or recipe not in recipes:
        known = ", ".join(f"{name} ({recipes[name].architectures} architectures)" for name in sorted(recipes))
        raise ConfigError(f"recipe {str(recipe)[:60]!r} has not been measured", f"known: {known}")
    return recipe


def _default_steps(learned: Learned) -> list[int]:
    steps = learned.steps.tolist()
    return sorted({steps[len(steps) // 2], steps[-3] if len(steps) > 2 else steps[0], steps[-1]})


def steps_in_range(steps: list[int] | None, recipe: str, recipes: Mapping[str, Learned]) -> list[int]:
    """The steps, or for None three of the recipe's. ConfigError if the recipe's range does not contain them all."""
    if steps is None:
        return _default_steps(recipes[recipe])
    ends = {name: (int(learned.steps[0]), int(learned.steps[-1])) for name, learned in recipes.items()}
    first, last = ends[recipe]
    for step in steps:
        if not first <= step <= last:
            others = [
                f"recipe {name}: {low} to {high}" for name, (low, high) in sorted(ends.items()) if low <= step <= high
            ]
            raise ConfigError(
                f"step {str(step)[:30]} is outside what recipe {recipe} was measured on",
                "; ".join([f"give {first} to {last}", *others]),
            )
    return steps


def at_steps(rows: Float[ndarray, "row known"], learned: Learned, steps: ndarray) -> Float[ndarray, "step row"]:
    """The values at these steps, interpolated in log step."""
    at, known = np.log1p(steps), np.log1p(learned.steps)
    by_row: list[ndarray] = [
        np.interp(at, known, row) if np.isfinite(row).all() else np.full(len(at), np.inf) for row in rows
    ]
    return np.stack(by_row, axis=1)


def _ratio(log_ratio: Float[ndarray, "step layer"]) -> Float[ndarray, " row"]:
    return np.exp(np.clip(log_ratio, 0.0, _LARGEST_LOG)).ravel()
