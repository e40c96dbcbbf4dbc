"""The paper's published fits, `params/layer_fit_params_<quantity>.json` of its dataset, read and compared with ours.

A file is a list over layers. In each layer the hypothesis `original` is Eq. 9 with t as the raw step:
{"param_names": ["A", "λ", "γ", "t0", "K"], "popt": [...], "pcov": [[...]], "r2": ..., "aic": ..., "residuals": [...]}.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from massact.errors import FitError, ParseError
from massact.fit.checks import Numbers, check_steps, check_values
from massact.fit.forms.eq9 import eq9
from massact.fit.many import fit_many

HYPOTHESIS = "original"
NAMES = {"A": "A", "λ": "lambda", "lambda": "lambda", "γ": "gamma", "gamma": "gamma", "t0": "t0", "K": "K"}
ORDER = ("A", "lambda", "gamma", "t0", "K")
_REMEDY = "download the file again from the dataset"


@dataclass(frozen=True)
class PublishedFit:
    """One layer's published fit of Eq. 9.

    Attributes
    ----------
    layer
        0-based layer.
    parameters
        Values keyed by the names in the table of fits; NaN where the file has none.
    covariance
        (parameter, parameter) in the order A, lambda, gamma, t0, K; None where the file has none.
    r2, aic
        As in the file.
    residuals
        (step,) as in the file; None where it has none.
    """

    layer: int
    parameters: dict[str, float]
    covariance: np.ndarray | None = field(repr=False)
    r2: float
    aic: float
    residuals: np.ndarray | None = field(repr=False)

    def curve(self, steps: Numbers) -> np.ndarray:
        """Eq. 9 with these parameters at the given raw steps."""
        return eq9(steps, *(self.parameters[name] for name in ORDER))


def parse_params(text: str) -> list[PublishedFit]:
    """Read one file of published parameters: one fit per layer.

    Raises
    ------
    ParseError
        Text that is not JSON or not a list over layers, no `original` hypothesis, parameters other than Eq. 9's,
        entries that are not numbers, or a covariance of the wrong size. The message names the layer.
    """
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise ParseError(f"line {error.lineno}: not JSON ({error.msg})", _REMEDY) from None
    if not isinstance(content, list) or not content:
        raise ParseError("published parameters are not a list over layers", _REMEDY)
    return [_fit(layer, entry) for layer, entry in enumerate(content)]


def compare_with_published(
    steps: Numbers, values: Float[np.ndarray, "layer step"] | Numbers, published: Sequence[PublishedFit]
) -> pd.DataFrame:
    """Our fits beside the published ones, one row per layer.

    Columns are `layer`, `sse_published` (of the published curve on these values), `sse_residuals` (of the published
    residuals, NaN where there are none), `sse` (of our fit of Eq. 14, which draws every curve of Eq. 9),
    `kept_published`, `r2_published`, `r2`, `regime` and `status`. Where `kept_published` is true, the published curve
    is better than ours and `sse` is that of the published curve. This happens where its tau0 = t0 / gamma is below our
    floor and fits the single value at step 0.

    Raises
    ------
    FitError
        A number of layers that differs, or as `fit_many`.
    """
    t = check_steps(steps)
    y = check_values(values, t, "layer")
    if len(y) != len(published):
        raise FitError(f"{len(y)} layers of values and {len(published)} published fits", "give one fit per layer")
    ours = fit_many(t, y, form="eq14")
    curves = np.array([fit.curve(t) for fit in published]).reshape(y.shape)
    theirs = np.nansum((y - curves) ** 2, axis=1)
    theirs[~np.isfinite(curves).any(axis=1)] = np.nan
    better = theirs < ours["sse"].to_numpy()
    total = np.nansum((y - np.nanmean(y, axis=1, keepdims=True)) ** 2, axis=1)
    sse = np.where(better, theirs, ours["sse"])
    return pd.DataFrame(
        {
            "layer": [fit.layer for fit in published],
            "sse_published": theirs,
            "sse_residuals": [_squares(fit.residuals) for fit in published],
            "sse": sse,
            "kept_published": better,
            "r2_published": [fit.r2 for fit in published],
            "r2": 1 - sse / np.where(total > 0, total, np.nan),
            "regime": ours["regime"],
            "status": ours["status"],
        }
    )


def _squares(residuals: np.ndarray | None) -> float:
    return math.nan if residuals is None else float(np.sum(residuals**2))


def _fit(layer: int, entry: Any) -> PublishedFit:
    where = f"layer {layer}"
    if not isinstance(entry, dict) or not isinstance(entry.get(HYPOTHESIS), dict):
        raise ParseError(f"{where}: no hypothesis '{HYPOTHESIS}'", _REMEDY)
    fit = entry[HYPOTHESIS]
    names = fit.get("param_names")
    if not isinstance(names, list) or sorted(NAMES.get(str(name), "") for name in names) != sorted(ORDER):
        raise ParseError(f"{where}: param_names are {names}, not those of Eq. 9", _REMEDY)
    places = [[NAMES[name] for name in names].index(name) for name in ORDER]
    if fit.get("popt") is None:  # the published fit failed
        popt = np.full(len(ORDER), np.nan)
    else:
        popt = _numbers(fit["popt"], f"{where}: popt", (len(ORDER),))[places]
    covariance = None
    if fit.get("pcov") is not None:
        covariance = _numbers(fit["pcov"], f"{where}: pcov", (len(ORDER), len(ORDER)))[np.ix_(places, places)]
    residuals = None if fit.get("residuals") is None else _numbers(fit["residuals"], f"{where}: residuals", None)
    r2, aic = (_numbers(fit.get(name, math.nan), f"{where}: {name}", ()).item() for name in ("r2", "aic"))
    parameters: dict[str, float] = dict(zip(ORDER, popt.tolist(), strict=True))
    return PublishedFit(layer, parameters, covariance, r2, aic, residuals)


def _numbers(value: Any, where: str, shape: tuple[int, ...] | None) -> np.ndarray:
    """The value as an array of the given shape (None: one axis), with NaN for null."""
    try:
        out = np.array(value, dtype=float)
    except (TypeError, ValueError):
        raise ParseError(f"{where} does not consist of numbers", _REMEDY) from None
    if shape is not None and out.shape != shape:
        raise ParseError(f"{where} has shape {out.shape} instead of {shape}", _REMEDY)
    if shape is None and out.ndim != 1:
        raise ParseError(f"{where} has shape {out.shape} instead of one axis", _REMEDY)
    return out
