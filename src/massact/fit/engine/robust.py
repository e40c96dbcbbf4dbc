"""Fits that outliers hardly affect (Huber 1964), and weights for noise in proportion to the curve."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from massact.fit.engine.search import EnginePath, Optimum, fitted_values, search, search_from

Loss = Literal["squares", "huber"]
LOSSES: tuple[Loss, ...] = get_args(Loss)
HUBER = 1.345  # deviations beyond which a residual counts linearly: 95 % efficiency on normal noise
NORMAL_MAD = 1.4826  # standard deviation of normal noise over its median absolute deviation
SEARCHES, STEPS = 3, 15
LEAST_SHARE = 0.05  # relative weights take |f| to be at least this share of its largest value


def huber(
    form: str, t: np.ndarray, y: np.ndarray, w: np.ndarray, optimum: Optimum, path: EnginePath
) -> tuple[Optimum, np.ndarray]:
    """The optimum under Huber's loss, given that of least squares, and the final weights (curve, step).

    Global searches on curves whose residuals are cut at `HUBER` deviations come first; they share one scan. Reweighted
    least squares then leads to the minimum. The deviation of a curve is estimated from its median absolute residual.
    """
    for _ in range(SEARCHES):
        curve = fitted_values(form, t, optimum)
        residual = (y - curve) * w
        cut = HUBER * _deviation(residual)
        optimum = search(form, t, curve + np.clip(residual, -cut, cut) / w, w, path=path)
    weights = np.broadcast_to(w, y.shape)
    for _ in range(STEPS):
        residual = (y - fitted_values(form, t, optimum)) * w
        with np.errstate(all="ignore"):
            share = np.minimum(1.0, HUBER * _deviation(residual) / np.abs(residual))
        weights = w * np.sqrt(np.where(np.isfinite(share), share, 1.0))
        optimum = search_from(form, t, y, weights, optimum.rates)
    return optimum, weights


def relative_weights(form: str, t: np.ndarray, y: np.ndarray, path: EnginePath) -> np.ndarray:
    """Weights (curve, step) of 1 / |f| with f from the unweighted fit, for noise in proportion to the curve.

    They come from the fit because weights from the values would favour points that noise made small. |f| is taken to be
    at least 5 % of its largest value. The weights of each curve are scaled to a mean square of 1.
    """
    curve = np.abs(fitted_values(form, t, search(form, t, y, np.ones(t.size), path=path)))
    weights = 1 / np.maximum(curve, LEAST_SHARE * curve.max(axis=1, keepdims=True))
    return weights / np.sqrt(np.mean(weights**2, axis=1, keepdims=True))


def _deviation(residual: np.ndarray) -> np.ndarray:
    return NORMAL_MAD * np.median(np.abs(residual), axis=1, keepdims=True)
