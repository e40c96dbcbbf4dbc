"""Learn the model behind `massact forecast`: log curves from the architecture, with held-out residuals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from massact.architecture import Architecture
from massact.errors import TableError
from massact.predict.curve_model import CurveModel
from massact.predict.curves import Curves, curves_of
from massact.predict.factors import SIZES, UNUSED
from massact.predict.features import feature_matrix, layer_columns
from massact.predict.process import Process
from massact.predict.stored import CHOICES, QUANTITY, sealed

if TYPE_CHECKING:
    import pandas as pd


def build_artefact(
    trajectories: pd.DataFrame,
    architectures: Mapping[str, Architecture],
    *,
    tokens_per_step: Mapping[str, int],
    anchors: int,
    rank: int,
) -> dict[str, Any]:
    """Everything `forecast` needs as JSON-serialisable values, one entry per recipe, with a hash.

    The log ratio of each layer is a point in a low-rank basis of training curves. A hierarchical Gaussian process
    predicts each coordinate from the factors of the architecture and the relative depth (`CurveModel`). The bands come
    from the residuals of design points that were held out.

    Parameters
    ----------
    trajectories
        Schema TRAJECTORIES. Only the quantity `ratio` is used.
    architectures
        By model name.
    tokens_per_step
        Tokens per optimiser step, by recipe.
    anchors
        Number of steps to learn at, evenly spaced in log step.
    rank
        Number of basis components.

    Raises
    ------
    TableError
        The trajectories contain no ratio or one that is not positive, a model without an architecture, or a recipe
        without tokens per step.
    """
    ratio: Any = trajectories[trajectories["quantity"] == QUANTITY]
    if ratio.empty:
        raise TableError("the trajectories contain no ratio", "extract a model first")
    recipes = {}
    for recipe, rows in ratio.groupby("recipe"):
        if str(recipe) not in tokens_per_step:
            raise TableError(f"the number of tokens per step of recipe {recipe} is missing", "pass it by recipe")
        curves = curves_of(rows, architectures, steps=_anchors(rows, anchors))
        recipes[str(recipe)] = _learn(curves, architectures, int(tokens_per_step[str(recipe)]), rank)
    return sealed(recipes)


def _anchors(rows: Any, count: int) -> Int[ndarray, " step"]:
    """Steps evenly spaced in log step, over the range that every training covers."""
    ends = rows.groupby(["model", "seed"])["step"].agg(["min", "max"])
    first, last = np.log1p(int(ends["min"].max())), np.log1p(int(ends["max"].min()))
    return np.unique(np.round(np.expm1(np.linspace(first, last, count))).astype(int))


def _learn(
    curves: Curves, architectures: Mapping[str, Architecture], tokens_per_step: int, rank: int
) -> dict[str, Any]:
    x, names = feature_matrix(curves.rows, "design")
    model = CurveModel(rank=rank, layer=layer_columns(names)).fit(x, curves)
    measured = {architectures[str(name)] for name in curves.rows["model"].unique()}
    rows = model.processes[0].fits_[0].rows
    fits = [process.fits_[0] for process in model.processes]
    factors = x[:, fits[0].columns]
    residuals = curves.log_values - model.held_out(curves.design)
    return {
        "tokens_per_step": tokens_per_step,
        "steps": curves.steps.tolist(),
        "architectures": len(measured),
        "trainings": len(np.unique(curves.training)),
        "ranges": {name: [take(getattr(a, name) for a in measured) for take in (min, max)] for name in SIZES},
        "choices": {name: sorted({getattr(a, name) for a in measured}) for name in CHOICES},
        "unused": {name: sorted({getattr(a, name) for a in measured}) for name in UNUSED},
        "centre": _rounded(fits[0].centre[fits[0].columns], 9),
        "spread": _rounded(fits[0].spread[fits[0].columns], 9),
        "low": _rounded(factors.min(axis=0), 9),
        "high": _rounded(factors.max(axis=0), 9),
        "mean": _rounded(model.basis.mean),
        "components": [_rounded(row) for row in model.basis.components],
        "x": [_rounded(row) for row in rows.architecture],
        "depth": [_rounded(row) for row in rows.layer],
        "processes": [_process(fit.process) for fit in fits],
        "residuals": [np.round(row, 3).tolist() for row in residuals],
        "training": curves.training.tolist(),
        "design": curves.design.tolist(),
        "parallel": [bool(value) for value in curves.rows["parallel_residual"]],
    }


def _process(process: Process) -> dict[str, Any]:
    kernels = process.kernels
    return {
        "architecture": _rounded(kernels.architecture),
        "layer": _rounded(kernels.layer),
        "product": _rounded(kernels.product),
        "amplitudes": _rounded(kernels.amplitudes),
        "alpha": _rounded(process.alpha),
        "mean": float(f"{process.mean:.6g}"),
        "unit": float(f"{process.unit:.6g}"),
    }


def _rounded(values: ndarray, digits: int = 6) -> list[float]:
    return [float(f"{value:.{digits}g}") for value in values]
