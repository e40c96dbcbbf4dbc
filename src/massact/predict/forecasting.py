"""Answer from the shipped artefact: how the ratio of an architecture not yet trained will grow, with intervals."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

from massact.architecture import Architecture
from massact.errors import ConfigError, MissingInputError
from massact.predict.basis import basis

if TYPE_CHECKING:
    import pandas as pd


def forecast(
    architecture: Architecture,
    *,
    recipe: str = "nano",
    steps: Sequence[int] | None = None,
    level: float = 0.9,
    artefact: dict[str, Any] | None = None,
) -> pd.DataFrame:
    """Forecast the top-1 to median ratio of every layer.

    Parameters
    ----------
    recipe
        How it will be trained; forecasts of one recipe say nothing about another.
    steps
        Optimiser steps to answer for, inside the trained range; None: three, from early to the end.
    level
        Share of new architectures like the measured ones whose curve should lie inside, strictly between 0 and 1.
        Intervals are split-conformal quantiles of held-out residuals of log ratio, widened in proportion to how far
        the architecture lies outside the measured ones.
    artefact
        What `build_artefact` made; None: the shipped one.

    Returns
    -------
    DataFrame with columns recipe, step, tokens, layer, value, lower, upper; `.attrs["caution"]` says when not to
    trust it.

    Raises
    ------
    ConfigError
        An unknown recipe, a step outside the trained range, or a level that is no share.
    """
    import pandas as pd

    if not 0 < level < 1:
        raise ConfigError(f"level = {level} is not a share", "give a number between 0 and 1, e.g. 0.9")
    learned = _learned(recipe, artefact or shipped_artefact())
    anchors = np.array(learned["anchors"])
    wanted = _steps(steps, anchors, recipe)
    layers = np.arange(architecture.n_layers)
    features = basis(architecture, layers)
    x = (features - np.array(learned["centre"])) / np.array(learned["spread"])
    weights = np.array(learned["coefficients"])
    at_anchors = x @ weights[:-1] + weights[-1]
    outside = _outside(features, learned)
    half = np.array([_quantile(residuals, level) for residuals in learned["residuals"]]) * (1 + outside)
    rows = []
    for step in wanted:
        spread = float(np.interp(np.log1p(step), np.log1p(anchors), half))
        for layer in layers:
            value = float(np.interp(np.log1p(step), np.log1p(anchors), at_anchors[layer]))
            bounds = [_exp(value), _exp(value - spread), _exp(value + spread)]
            rows.append((recipe, step, step * learned["tokens_per_step"], int(layer), *bounds))
    table = pd.DataFrame(rows, columns=["recipe", "step", "tokens", "layer", "value", "lower", "upper"])
    table.attrs["caution"] = _caution(learned, outside, level)
    return table


def shipped_artefact() -> dict[str, Any]:
    """The artefact in the package.

    Raises
    ------
    MissingInputError
        When it was not built.
    """
    file = resources.files("massact") / "artefacts" / "forecast.json"
    if not file.is_file():
        raise MissingInputError("the forecast artefact is not in the package", "make it with: dvc repro predict")
    return json.loads(file.read_text(encoding="utf-8"))


def _learned(recipe: str, artefact: dict[str, Any]) -> dict[str, Any]:
    recipes = artefact["recipes"]
    if recipe not in recipes:
        raise ConfigError(f"recipe {recipe} has not been measured", f"known: {', '.join(sorted(recipes))}")
    return recipes[recipe]


def _steps(steps: Sequence[int] | None, anchors: np.ndarray, recipe: str) -> list[int]:
    last = int(anchors[-1])
    if steps is None:
        return [int(anchors[len(anchors) // 2]), int(anchors[-2]), last]
    for step in steps:
        if not 0 <= step <= last:
            raise ConfigError(f"step {step} is outside what recipe {recipe} was measured on", f"give 0 to {last}")
    return sorted({int(step) for step in steps})


def _outside(features: np.ndarray, learned: dict[str, Any]) -> float:
    """How far the architecture lies beyond the measured ones, in their standard deviations, largest over features."""
    beyond = np.maximum(np.array(learned["low"]) - features, features - np.array(learned["high"]))
    own = [0, 1, 2, 3]  # numbers of the architecture; depth is always covered
    return float(np.max(np.maximum(beyond[:, own], 0) / np.array(learned["spread"])[own]))


def _quantile(residuals: Sequence[float], level: float) -> float:
    """Split-conformal quantile: the ceil(level (n + 1))-th smallest; the largest where n is too small."""
    rank = min(len(residuals), math.ceil(level * (len(residuals) + 1)))
    return residuals[rank - 1]


def _exp(value: float) -> float:
    return math.exp(min(value, 700.0))


def _caution(learned: dict[str, Any], outside: float, level: float) -> str:
    n = learned["architectures"]
    said = []
    if n < 30:
        said.append(f"learnt from {n} architectures, so the {level:.0%} intervals are rough")
    if outside > 0.01:
        said.append(
            f"this architecture lies outside them (by {outside:.1f} of their standard deviations): an extrapolation"
        )
    return "; ".join(said)
