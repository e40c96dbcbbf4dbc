"""Joint fits of the layers of one model: the two rates of each curve are shrunk towards those of the other curves.

The method is empirical Bayes. Given the two rates of Eq. 14, its other parameters are linear, and least squares
eliminates them: the likelihood of a curve is a surface over (log beta, log tau0) alone. These two are taken as normally
distributed over the curves of a model, with a common mean or a mean that is linear in covariates such as depth. EM
estimates the mean and the covariance from all surfaces, and each curve gets its posterior. Where a curve determines its
rates, nothing changes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.special import ndtri

from massact.errors import FitError
from massact.fit.checks import Numbers, as_floats, check_sequences, check_steps, check_values, check_weights
from massact.fit.engine.drawable import drawable
from massact.fit.engine.refine import evaluate, project
from massact.fit.engine.scan import make_scan, scan_sse
from massact.fit.engine.search import Optimum, normalised, search
from massact.fit.forms.eq14 import EQ14, ModulatedLog
from massact.fit.judgement.group import describe
from massact.fit.judgement.verdict import judged
from massact.fit.units import Units, parameters_in, squares_back, units_of

PARAMETERS = EQ14.parameters
LEVEL = 0.95
ITERATIONS = 60
SETTLED = 1e-4  # change of the mean and covariance below which EM ends
SHARP = 0.25  # a surface whose log rates have smaller standard errors is replaced by its normal approximation
FIRST_SPREAD = 2.0  # standard deviation of the log rates at the start of EM
PRIOR_LAYERS, PRIOR_SPREAD = 4, 1.0  # the prior counts as so many layers of this deviation: few layers say little
FEWEST = 4  # curves


class _Wide(ModulatedLog):
    """Eq. 14 with a finer grid of rates, to integrate over."""

    per_decade = (12, 12)

    def box(self, t: np.ndarray) -> np.ndarray:
        """Beta from 1e-3 / T upwards; tau0 up to 100 T."""
        box = super().box(t)
        box[:, 0] *= np.array([1.0, 10.0])  # the grid begins at ten times these
        return box


_WIDE = _Wide()


class _Surfaces(NamedTuple):
    """Log likelihoods (curve, node) over log rates (node, 2), and normal approximations where a surface is sharp.

    `known` (curve, 2) says which rates a curve alone determines; its surface is sharp if it determines both.
    """

    nodes: np.ndarray
    log_likelihood: np.ndarray
    known: np.ndarray
    sharp: np.ndarray
    centre: np.ndarray
    covariance: np.ndarray


class _Posterior(NamedTuple):
    """Means (curve, 2) and covariances (curve, 2, 2) of the log rates; bounds (curve, 2) of LEVEL."""

    mean: np.ndarray
    covariance: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


def fit_joint(
    steps: Numbers,
    values: Float[np.ndarray, "curve step"] | Numbers,
    *,
    covariates: Float[np.ndarray, "curve feature"] | Numbers | None = None,
    weights: Numbers | None = None,
    sequences: Float[np.ndarray, "sequence curve step"] | Numbers | None = None,
) -> pd.DataFrame:
    """Fit Eq. 14 to the curves of one model together.

    Parameters
    ----------
    steps, values
        (step,) ascending optimiser steps, and one curve per row, without missing values.
    covariates
        Features in which the mean of the log rates is linear besides a constant, e.g. relative depth and its square.
    weights
        Factors of the residuals (step,).
    sequences
        The series of each input sequence, used only to judge plateaus and peaks.

    Returns
    -------
    DataFrame
        One row per curve: `curve`; `log_beta` and `log_tau0` (posterior means of the natural logarithms, per step and
        in steps) with `_lower`, `_upper` (95 % credible interval) and `_alone` (the curve's own optimum, or the bound
        of the search if it lies there); `beta_determined_alone` and `tau0_determined_alone` (whether the curve alone
        determines it within 25 %); Eq. 14's parameters `A1 A2 beta tau0 K` at the posterior means, with `sse` and
        `sse_alone`; and `regime`, `doubts`, `peak_determined`, `<parameter>_determined` as in `massact.fit.fit_many`.
        Errors are assumed independent between steps: intervals are too narrow for noise that checkpoints share. A
        posterior is only as good as the assumption that the layers are alike. Do not pool different models.

    Raises
    ------
    FitError
        Fewer than four curves, no more points than parameters, missing values, weights that are 0 or differ between
        curves, covariates of the wrong length, or as `massact.fit.fit_many`.
    """
    t = check_steps(steps)
    y = check_values(values, t, "curve")
    if np.isnan(y).any():
        raise FitError(f"{np.isnan(y).sum()} of {y.size} values are missing or infinite", "give complete curves")
    if len(y) < FEWEST or t.size <= 6:
        raise FitError(f"{len(y)} curves of {t.size} points", f"a joint fit needs {FEWEST} curves and 7 points")
    w = check_weights(weights, y.shape)
    if not (w > 0).all() or (w != w[0]).any():
        raise FitError(
            "weights are 0, or differ between curves", "give one weight > 0 per step, and leave steps out of all curves"
        )
    w = w[0]
    by_sequence = None if sequences is None else check_sequences(sequences, y.shape)
    design = _design(covariates, len(y))
    units = units_of("eq14", t, y, w)
    if not units.ordinary:
        by_curve = units.value[:, None]
        scaled = fit_joint(
            t / units.step,
            y / by_curve,
            covariates=covariates,
            weights=w / units.weight,
            sequences=None if by_sequence is None else by_sequence / by_curve,
        )
        return _back(scaled, units)
    alone = search("eq14", t, y, w)
    surfaces = _surfaces(t, y, w, alone)
    posterior = _posterior(surfaces, *_estimated(surfaces, design))
    rates = np.exp(posterior.mean.T)
    rates = EQ14.clip(EQ14.box(t), rates)
    fitted = project([column * w for column in EQ14.columns(t, rates)], y * w)
    shrunk = Optimum(rates, fitted.a, np.vecdot(fitted.residual, fitted.residual))
    parameters, status = drawable("eq14", shrunk, t, y, w)
    own, _ = drawable("eq14", alone, t, y, w)
    judgement = judged(describe("eq14", t, y, w, parameters, status, rates), t, y, sequences=by_sequence)
    # The grid is over q = 1 / (tau0 + t[0]), so that log tau0 is -log q except for the first step.
    return pd.DataFrame(
        {
            "curve": np.arange(len(y)),
            "log_beta": posterior.mean[:, 0],
            "log_beta_lower": posterior.lower[:, 0],
            "log_beta_upper": posterior.upper[:, 0],
            "log_beta_alone": np.log(own[:, 2]),
            "log_tau0": _log_tau(posterior.mean[:, 1], t),
            "log_tau0_lower": _log_tau(posterior.upper[:, 1], t),
            "log_tau0_upper": _log_tau(posterior.lower[:, 1], t),
            "log_tau0_alone": np.log(own[:, 3]),
            "beta_determined_alone": surfaces.known[:, 0],
            "tau0_determined_alone": surfaces.known[:, 1],
            **dict(zip(PARAMETERS, parameters.T, strict=True)),
            **{f"{name}_determined": judgement.determined[:, j] for j, name in enumerate(PARAMETERS)},
            "peak_determined": judgement.peak_determined,
            "regime": pd.Series(judgement.regime.tolist(), dtype=object),
            "doubts": pd.Series(judgement.doubts, dtype=object),
            "sse": shrunk.sse,
            "sse_alone": alone.sse,
        }
    )


def _design(covariates: Numbers | None, count: int) -> np.ndarray:
    """A constant and the covariates (curve, feature)."""
    constant = np.ones((count, 1))
    if covariates is None:
        return constant
    features = as_floats(covariates, "covariates")
    if features.ndim not in (1, 2) or len(features) != count or not np.isfinite(features).all():
        raise FitError(
            f"covariates have shape {features.shape}, or missing values",
            f"give finite numbers of shape ({count}, features)",
        )
    return np.column_stack([constant, features.reshape(count, -1)])


def _back(fits: pd.DataFrame, units: Units) -> pd.DataFrame:
    """Joint fits converted from `units` to the caller's."""
    out = fits.copy()
    for column in fits.filter(like="log_"):
        out[column] = fits[column] + (np.log(units.step) if "tau" in column else -np.log(units.step))
    out[list(PARAMETERS)] = parameters_in("eq14", fits[list(PARAMETERS)].to_numpy(), units, back=True)
    for column in ("sse", "sse_alone"):
        out[column] = squares_back(fits[column].to_numpy(), units)
    return out


def _log_tau(log_q: np.ndarray, t: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(np.exp(-log_q) - t[0], 1e-12))


def _surfaces(t: np.ndarray, y: np.ndarray, w: np.ndarray, alone: Optimum) -> _Surfaces:
    scan = make_scan(_WIDE, t, w)
    target = normalised(_WIDE, y, w)
    inner = [nodes[1:] for nodes in scan.nodes]
    shape = [nodes.size for nodes in scan.nodes]
    sse = scan_sse(scan, target.y).reshape(len(y), *shape)[:, 1:, 1:].reshape(len(y), -1)
    lowest = alone.sse / target.size[:, 0] ** 2
    sse = np.maximum(sse, lowest[:, None]) + 1e-14
    degrees = t.size - 5
    nodes = np.stack([grid.ravel() for grid in np.meshgrid(*map(np.log, inner), indexing="ij")], axis=1)
    optimum = evaluate(EQ14, t, w, target.y, alone.rates)
    normal = np.moveaxis(optimum.normal, 2, 0)
    with np.errstate(all="ignore"):
        determinant = normal[:, 0, 0] * normal[:, 1, 1] - normal[:, 0, 1] ** 2
        inverse = np.stack(
            [
                np.stack([normal[:, 1, 1], -normal[:, 0, 1]], axis=1),
                np.stack([-normal[:, 0, 1], normal[:, 0, 0]], axis=1),
            ],
            axis=1,
        )
        covariance = inverse / determinant[:, None, None] * (optimum.sse / degrees)[:, None, None]
        errors = np.sqrt(np.stack([covariance[:, 0, 0], covariance[:, 1, 1]], axis=1))
        centre = np.log(alone.rates.T)
    known = (errors < SHARP) & np.isfinite(centre)
    sharp = np.asarray(known.all(axis=1))
    return _Surfaces(nodes, -degrees / 2 * np.log(sse), known, sharp, centre, covariance)


def _estimated(surfaces: _Surfaces, design: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means (curve, 2) and covariance (2, 2) of the log rates over curves, by EM."""
    reliable = surfaces.sharp if surfaces.sharp.any() else np.ones(len(surfaces.sharp), dtype=bool)
    peak = surfaces.nodes[surfaces.log_likelihood.argmax(axis=1)]
    start = np.where(surfaces.sharp[:, None], surfaces.centre, peak)
    mean = np.tile(np.median(start[reliable], axis=0), (len(design), 1))
    covariance = np.eye(2) * FIRST_SPREAD**2
    for _ in range(ITERATIONS):
        posterior = _posterior(surfaces, mean, covariance)
        weights, *_ = np.linalg.lstsq(design, posterior.mean, rcond=None)
        new_mean = design @ weights
        off = posterior.mean - new_mean
        scatter = posterior.covariance.sum(axis=0) + off.T @ off + np.eye(2) * PRIOR_LAYERS * PRIOR_SPREAD**2
        new = scatter / (max(len(design) - design.shape[1], 1) + PRIOR_LAYERS)
        moved = max(float(np.abs(new_mean - mean).max()), float(np.abs(new - covariance).max()))
        mean, covariance = new_mean, new
        if moved < SETTLED:
            break
    return mean, covariance


def _posterior(surfaces: _Surfaces, mean: np.ndarray, covariance: np.ndarray) -> _Posterior:
    precision = np.linalg.inv(covariance)
    count = len(mean)
    out = _Posterior(np.empty((count, 2)), np.empty((count, 2, 2)), np.empty((count, 2)), np.empty((count, 2)))
    reach = ndtri((1 + LEVEL) / 2)
    for i in range(count):
        if surfaces.sharp[i]:
            own = np.linalg.inv(surfaces.covariance[i])
            out.covariance[i] = np.linalg.inv(own + precision)
            out.mean[i] = out.covariance[i] @ (own @ surfaces.centre[i] + precision @ mean[i])
            half = reach * np.sqrt(np.diag(out.covariance[i]))
            out.lower[i], out.upper[i] = out.mean[i] - half, out.mean[i] + half
            continue
        off = surfaces.nodes - mean[i]
        log = surfaces.log_likelihood[i] - 0.5 * np.einsum("ni,ij,nj->n", off, precision, off)
        share = np.exp(log - log.max())
        share /= share.sum()
        out.mean[i] = share @ surfaces.nodes
        about = surfaces.nodes - out.mean[i]
        out.covariance[i] = (share[:, None] * about).T @ about
        for j in range(2):
            out.lower[i, j], out.upper[i, j] = _quantiles(surfaces.nodes[:, j], share)
    return out


def _quantiles(x: np.ndarray, share: np.ndarray) -> tuple[float, float]:
    """The quantiles of weighted nodes that bound LEVEL, interpolated linearly between nodes."""
    places, index = np.unique(x, return_inverse=True)
    mass = np.bincount(index, weights=share)
    middle = np.cumsum(mass) - mass / 2
    tail = (1 - LEVEL) / 2
    return float(np.interp(tail, middle, places)), float(np.interp(1 - tail, middle, places))
