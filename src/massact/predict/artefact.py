"""Train the model behind `massact forecast`: ridge on a few numbers of the architecture, with held-out residuals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from massact.architecture import Architecture
from massact.errors import TableError
from massact.predict.basis import SIZES, UNUSED, basis
from massact.predict.stored import QUANTITY, sealed


def build_artefact(
    trajectories: pd.DataFrame,
    architectures: Mapping[str, Architecture],
    *,
    tokens_per_step: Mapping[str, int],
    anchors: int,
    penalty: float,
) -> dict[str, Any]:
    """Everything `forecast` needs as JSON-serialisable values, one entry per recipe, with a hash.

    At a few steps, ridge regresses the log of each layer's ratio on the features of `massact.predict.basis`. The
    intervals come from the residuals of architectures that were held out.

    Parameters
    ----------
    trajectories
        Schema TRAJECTORIES. Only the quantity `ratio` is used.
    architectures
        By model name.
    tokens_per_step
        Tokens per optimiser step, by recipe.
    anchors
        Number of steps to regress at, evenly spaced in log step.
    penalty
        Ridge penalty on standardised features.

    Raises
    ------
    TableError
        The trajectories contain no ratio or one that is not positive, a model without an architecture, or a recipe
        without tokens per step.
    """
    ratio: Any = trajectories[trajectories["quantity"] == QUANTITY]
    _check(ratio, architectures, tokens_per_step)
    return sealed(
        {
            str(recipe): _learn(rows, architectures, int(tokens_per_step[str(recipe)]), anchors, penalty)
            for recipe, rows in ratio.groupby("recipe")
        }
    )


def _check(ratio: Any, architectures: Mapping[str, Architecture], tokens_per_step: Mapping[str, int]) -> None:
    if ratio.empty:
        raise TableError("the trajectories contain no ratio", "extract a model first")
    values = ratio["value"].to_numpy(dtype=np.float64)
    wrong = ratio[~(np.isfinite(values) & (values > 0))]
    if len(wrong):
        row = wrong.iloc[0]
        raise TableError(
            f"model {row['model']}, step {row['step']}, layer {row['layer']}: ratio {row['value']}",
            "a forecast needs positive ratios: leave that checkpoint out",
        )
    for column, known, known_as in (
        ("model", architectures, "architecture"),
        ("recipe", tokens_per_step, "tokens per step"),
    ):
        unknown = sorted(set(ratio[column].astype(str)) - set(known))
        if unknown:
            raise TableError(
                f"{column} {', '.join(unknown[:3])}: its {known_as} is missing", f"pass the {known_as} of each {column}"
            )


def _learn(
    rows: pd.DataFrame, architectures: Mapping[str, Architecture], tokens_per_step: int, count: int, penalty: float
) -> dict[str, Any]:
    table: Any = rows  # pandas' stubs know no column types
    last = int(table.groupby(["model", "seed"])["step"].max().min())
    anchors = np.unique(np.round(np.expm1(np.linspace(0, np.log1p(last), count)))).astype(int)
    curves, x, groups = [], [], []
    measured = {architectures[str(model)] for model in table["model"].unique()}
    for (model, _, layer), curve in table.groupby(["model", "seed", "layer"]):
        ordered = curve.sort_values("step")
        at = np.log1p(ordered["step"].to_numpy(dtype=np.float64))
        curves.append(np.interp(np.log1p(anchors), at, np.log(ordered["value"].to_numpy(dtype=np.float64))))
        architecture = architectures[str(model)]
        x.append(basis(architecture, np.array([int(str(layer))]))[0])
        groups.append(tuple(architecture.as_dict().items()))
    features, values = np.array(x), np.array(curves)
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    group_of_row = np.array([numbers[group] for group in groups])
    centre, spread = features.mean(axis=0), np.where(features.std(axis=0) > 1e-12, features.std(axis=0), 1.0)
    standard = (features - centre) / spread
    return {
        "tokens_per_step": tokens_per_step,
        "anchors": anchors.tolist(),
        "architectures": len(numbers),
        "ranges": {name: [take(getattr(a, name) for a in measured) for take in (min, max)] for name in SIZES},
        "unused": {name: sorted({getattr(a, name) for a in measured}) for name in UNUSED},
        "centre": _rounded(centre),
        "spread": _rounded(spread),
        "low": _rounded(features.min(axis=0)),
        "high": _rounded(features.max(axis=0)),
        "coefficients": [_rounded(row) for row in _ridge(standard, values, penalty)],
        "residuals": [
            _rounded(np.sort(np.abs(column))) for column in _residuals(standard, values, group_of_row, penalty).T
        ],
    }


def _ridge(
    x: Float[ndarray, "row feature"], y: Float[ndarray, "row anchor"], penalty: float
) -> Float[ndarray, "feature_and_1 anchor"]:
    """Coefficients with the intercept last. It is not penalised, as features are centred."""
    mean = y.mean(axis=0)
    weights = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ (y - mean))
    return np.vstack([weights, mean - x.mean(axis=0) @ weights])


def _residuals(
    x: Float[ndarray, "row feature"], y: Float[ndarray, "row anchor"], groups: ndarray, penalty: float
) -> Float[ndarray, "row anchor"]:
    """Residual of each row with its whole architecture held out. With one architecture: from the mean."""
    from sklearn.model_selection import LeaveOneGroupOut

    residual = y - y.mean(axis=0)
    if len(np.unique(groups)) > 1:
        for train, test in LeaveOneGroupOut().split(x, groups=groups):
            learned = _ridge(x[train], y[train], penalty)
            residual[test] = y[test] - (x[test] @ learned[:-1] + learned[-1])
    return residual


def _rounded(values: ndarray) -> list[float]:
    return [float(f"{value:.6g}") for value in values]
