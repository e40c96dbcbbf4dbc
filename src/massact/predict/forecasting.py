"""Forecasts from the artefact: how the ratio of an untrained architecture will grow, with intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from massact.architecture import Architecture
from massact.errors import ConfigError
from massact.predict.basis import basis
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
    artefact: Mapping[str, Any] | str | Path | None = None,
) -> pd.DataFrame:
    """Forecast the top-1 to median ratio of every layer.

    It uses depth, width, heads and the width of the MLP only. `.attrs["unused"]` names the numbers it ignores.

    Parameters
    ----------
    architecture
        An Architecture, or a mapping of its numbers.
    recipe
        The training recipe, one of the artefact's. A forecast for one recipe says nothing about another. None: the
        recipe learnt from the most architectures. In the shipped artefact that is `grid`, the recipe of the designed
        suite (48 architectures); the other is `nano`, of the pocket family (5).
    steps
        Optimiser steps to forecast, inside the trained range. None: three, from the middle to the end of it.
    level
        The share of new architectures, similar to the measured ones, whose curve should lie inside the interval.
        Strictly between 0 and 1. Intervals are split-conformal quantiles of held-out residuals of the log ratio. They
        widen in proportion to the distance of the architecture from the measured ones. The largest value is never
        below the median, so the log ratio is cut at 0: value, lower and upper are at least 1.
    artefact
        The result of `build_artefact`, or the file it was written to. None: the shipped one.

    Returns
    -------
    DataFrame with columns recipe, step, tokens, layer, value, lower, upper. `.attrs["caution"]` says what the forecast
    was learnt from and when not to trust it. `.attrs["unused"]` names the numbers of the architecture it ignores.

    Raises
    ------
    ConfigError
        An invalid architecture, an unknown recipe, a step outside the trained range, or a level outside (0, 1).
    ParseError
        The artefact is damaged, or is not a forecast artefact.
    """
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs]

    architecture, level, requested_steps = architecture_of(architecture), level_of(level), steps_of(steps)
    recipes = _recipes(artefact)
    recipe = _recipe(recipe, recipes)
    learned = recipes[recipe]
    at = np.array(_default_steps(learned) if requested_steps is None else _in_range(requested_steps, recipe, recipes))
    features = basis(architecture, np.arange(architecture.n_layers))
    outside = beyond(features, learned)
    middle = _at_steps(_log_ratio(features, learned), learned, at)
    half = np.array([_quantile(row, level) for row in learned.residuals]) * (1 + max(outside.values(), default=0.0))
    half = _at_steps(half[None], learned, at)
    n_layers = architecture.n_layers
    table = pd.DataFrame(
        {
            "recipe": recipe,
            "step": np.repeat(at, n_layers),
            "tokens": np.repeat(at * learned.tokens_per_step, n_layers),
            "layer": np.tile(np.arange(n_layers), len(at)),
            "value": _ratio(middle),
            "lower": _ratio(middle - half),
            "upper": _ratio(middle + half),
        }
    )
    table.attrs["caution"] = caution_text(architecture, recipe, learned, outside, level)
    table.attrs["unused"] = unused_text(architecture, learned)
    return table


def _recipes(artefact: Mapping[str, Any] | str | Path | None) -> dict[str, Learned]:
    if artefact is None:
        return learned_by_recipe(shipped_artefact())
    if isinstance(artefact, str | Path):
        return learned_by_recipe(read_artefact(artefact))
    return learned_by_recipe(artefact)


def _recipe(recipe: object, recipes: Mapping[str, Learned]) -> str:
    """The recipe itself, or for None the one learnt from the most architectures."""
    if recipe is None:
        return min(recipes, key=lambda name: (-recipes[name].architectures, name))
    if not isinstance(recipe, str) or recipe not in recipes:
        known = ", ".join(f"{name} ({recipes[name].architectures} architectures)" for name in sorted(recipes))
        raise ConfigError(f"recipe {str(recipe)[:60]!r} has not been measured", f"known: {known}")
    return recipe


def _default_steps(learned: Learned) -> list[int]:
    anchors = learned.anchors.tolist()
    return sorted({anchors[len(anchors) // 2], *anchors[-2:]})


def _in_range(steps: list[int], recipe: str, recipes: Mapping[str, Learned]) -> list[int]:
    """The steps, if a recipe was measured over a range that contains them all; otherwise ConfigError."""
    last = {name: int(learned.anchors[-1]) for name, learned in recipes.items()}
    for step in steps:
        if not 0 <= step <= last[recipe]:
            longer = [f"recipe {name}: 0 to {last[name]}" for name in sorted(last) if 0 <= step <= last[name]]
            raise ConfigError(
                f"step {str(step)[:30]} is outside what recipe {recipe} was measured on",
                "; ".join([f"give 0 to {last[recipe]}", *longer]),
            )
    return steps


def _log_ratio(features: Float[ndarray, "layer feature"], learned: Learned) -> Float[ndarray, "layer anchor"]:
    x = (features - learned.centre) / learned.spread
    return x @ learned.coefficients[:-1] + learned.coefficients[-1]


def _at_steps(rows: Float[ndarray, "row anchor"], learned: Learned, steps: ndarray) -> Float[ndarray, "step row"]:
    """The values at these steps, interpolated in log step."""
    at, anchors = np.log1p(steps), np.log1p(learned.anchors)
    by_row: list[ndarray] = [np.interp(at, anchors, row) for row in rows]
    return np.stack(by_row, axis=1)


def _quantile(residuals: Float[ndarray, " row"], level: float) -> float:
    """Split-conformal quantile: the ceil(level (n + 1))-th smallest, or the largest if n is too small."""
    rank = min(len(residuals), math.ceil(level * (len(residuals) + 1)))
    return float(residuals[rank - 1])


def _ratio(log_ratio: Float[ndarray, "step layer"]) -> Float[ndarray, " row"]:
    return np.exp(np.clip(log_ratio, 0.0, _LARGEST_LOG)).ravel()
