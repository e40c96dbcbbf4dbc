"""Intervals of derived quantities from resampled input sequences, or from resampled residuals."""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri, stdtrit

from massact.fit.engine.refine import Minima, refine
from massact.fit.engine.scan import make_scan, scan_sse, starts
from massact.fit.engine.search import (
    Optimum,
    Target,
    in_units,
    linear_fit,
    normalised,
    optimum_of,
    search,
    search_from,
    takes_compiled,
)
from massact.fit.forms import FORMS
from massact.fit.forms.basis import Basis
from massact.fit.judgement.group import Group, derived_of

Resampling = Literal["sequences", "residuals", "blocks"]
RESAMPLINGS: tuple[Resampling, ...] = get_args(Resampling)
LEVEL = 0.95
RESAMPLES = 200  # default; conf/fit/base/form.yaml has the same
MOST_UNKNOWN = 0.5  # a quantity that a larger share of resamples lack has no interval
WARM = 1e-7  # relative decrease of the SSE at which the descent of a resample ends
STRIDE = 2  # every second node of each rate is enough to detect a lower valley
RESCUED = 0.02  # share of the resamples, those with the largest SSE, that is always searched again from a scan
RIVAL = 2.0  # minima with at most this times the lowest SSE are starts for the resamples
MOST_MINIMA = 4
INSIDE = 100.0  # times the first node off an edge
DISTINCT = 0.05  # minima are distinct if a log rate differs by more than this
BLOCK = 8  # consecutive steps whose residuals are drawn together
Bounds = dict[str, tuple[np.ndarray, np.ndarray]]


def widening(n: int) -> float:
    """Factor that widens the percentile intervals of a bootstrap over n sequences: 1.217 for ten.

    It is sqrt(n / (n - 1)), because the resampling variance is (n - 1) / n of the true one, times the ratio of
    Student's quantile to the normal's, because the variance is estimated from n sequences.

    >>> round(widening(10), 3)
    1.217
    """
    return math.sqrt(n / (n - 1)) * student(n - 1)


def student(degrees: int) -> float:
    """The ratio of Student's quantile with these degrees of freedom to the normal's, at LEVEL."""
    upper = (1 + LEVEL) / 2
    return float(stdtrit(degrees, upper) / ndtri(upper))


def draws(count: int, resamples: int, seed: int) -> Float[np.ndarray, "resample sequence"]:
    """The weight of each of `count` sequences in each resample; rows sum to 1."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(count, np.full(count, 1 / count), size=resamples) / count


def resampled_sequences(
    y: Float[np.ndarray, " step"], sequences: Float[np.ndarray, "sequence step"], *, resamples: int, seed: int
) -> Float[np.ndarray, "resample step"]:
    """Series of resampled sequences: y plus the resampled mean minus the mean, so that y may be any aggregate."""
    count = len(sequences)
    return y + (draws(count, resamples, seed) - 1 / count) @ sequences


def resampled_residuals(
    y: np.ndarray, curve: np.ndarray, w: np.ndarray, k: int, *, block: int, resamples: int, seed: int
) -> Float[np.ndarray, "resample step"]:
    """The curve plus residuals drawn in circular blocks and widened by sqrt(n / (n - k)) for k parameters.

    The draws are of weighted residuals, so the noise may differ between steps as the weights say.
    """
    n = y.size
    block = min(block, n)
    rng = np.random.default_rng(seed)
    first = rng.integers(0, n, (resamples, -(-n // block), 1))
    index = ((first + np.arange(block)) % n).reshape(resamples, -1)[:, :n]
    residual = (y - curve) * w * math.sqrt(n / (n - k))
    return curve + (residual - residual.mean())[index] / w


def refit(
    form: str,
    t: Float[np.ndarray, " step"],
    w: Float[np.ndarray, " step"],
    series: Float[np.ndarray, "resample step"],
    minima: Float[np.ndarray, "rate minimum"],
) -> Optimum:
    """Fits of resampled series, started at the `minima` of the series itself.

    A global search follows for the fits that a coarse scan shows to be in the wrong valley, and for the share `RESCUED`
    with the largest SSE. All resamples of a falling curve are searched globally, because its valley has minima that
    only some resamples have.
    """
    basis = FORMS[form]
    if basis.valley and falls(basis, t, w, series.mean(axis=0), minima[:, 0]):
        return search(form, t, series, w)
    target = normalised(basis, series, w)
    if takes_compiled(basis, len(series), "auto"):
        from massact.fit.engine.compiled import search_warm

        optimum = in_units(basis, target, *search_warm(basis, t, w, target.y, minima.T, WARM))
    else:
        best = refine(basis, t, w, target.y, np.repeat(minima[:, :1], len(series), axis=1), tolerance=WARM)
        for other in minima.T[1:]:
            best = _better(best, basis, t, w, target.y, np.repeat(other[:, None], len(series), axis=1))
        optimum = optimum_of(basis, t, w, target, best)
    suspects = _suspects(basis, t, w, target, optimum.sse)
    if suspects.size:
        rescue = search(form, t, series[suspects], w)
        better = rescue.sse < optimum.sse[suspects]
        rows = suspects[better]
        optimum.rates[:, rows], optimum.a[rows] = rescue.rates[:, better], rescue.a[better]
        optimum.sse[rows] = rescue.sse[better]
    return optimum


def minima_of(
    form: str, t: np.ndarray, w: np.ndarray, y: Float[np.ndarray, " step"], rates: np.ndarray
) -> Float[np.ndarray, "rate minimum"]:
    """The optimum of a series, whose rates are given, and then other minima that a resample of it may prefer."""
    basis = FORMS[form]
    target = normalised(basis, y[None], w)
    nodes = starts(make_scan(basis, t, w), target.y)
    minima = refine(basis, t, w, np.repeat(target.y, nodes.curve.size, axis=0), nodes.rates, tolerance=WARM)
    lowest = refine(basis, t, w, target.y, rates[:, None]).sse[0]
    distinct = [rates]
    for row in np.argsort(minima.sse, kind="stable"):
        if minima.sse[row] > RIVAL * lowest or len(distinct) == MOST_MINIMA:
            break
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = np.abs(np.log(minima.rates[:, row] / np.stack(distinct)))
        same = (distance < DISTINCT) | ((minima.rates[:, row] == 0) & (np.stack(distinct) == 0))
        if not same.all(axis=1).any():
            distinct.append(minima.rates[:, row])
    return np.stack(distinct, axis=1)


def falls(basis: Basis, t: np.ndarray, w: np.ndarray, y: np.ndarray, rates: np.ndarray) -> bool:
    """Whether the logarithm has a negative coefficient in the fit of one series."""
    return bool(linear_fit(basis, t, y[None], w, rates[:, None])[0][0, -1] < 0)


def _better(best: Minima, basis: Basis, t: np.ndarray, w: np.ndarray, y: np.ndarray, rates: np.ndarray) -> Minima:
    """The better of the best minima and those from other starts."""
    other = refine(basis, t, w, y, rates, tolerance=WARM, best=best)
    better = other.sse < best.sse
    return Minima(np.where(better, other.rates, best.rates), np.where(better, other.sse, best.sse))


def _suspects(basis: Basis, t: np.ndarray, w: np.ndarray, target: Target, sse: np.ndarray) -> np.ndarray:
    """Resamples whose warm fit may have missed the lowest valley."""
    coarse = scan_sse(make_scan(basis, t, w, stride=STRIDE), target.y).min(axis=1) * target.size[:, 0] ** 2
    worst = np.argsort(-sse, kind="stable")[: math.ceil(RESCUED * len(sse))]
    return np.union1d(np.flatnonzero(coarse < sse), worst)


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    """The order statistics between which a new value would lie with probability LEVEL."""
    ordered, tail = np.sort(values), (1 - LEVEL) / 2 * (values.size + 1)
    return float(ordered[max(math.floor(tail) - 1, 0)]), float(
        ordered[min(math.ceil(values.size + 1 - tail), values.size) - 1]
    )


def intervals_of(
    group: Group,
    row: int,
    t: np.ndarray,
    w: np.ndarray,
    y: np.ndarray,
    series: Float[np.ndarray, "resample step"],
    factor: float,
) -> dict[str, tuple[float, float]]:
    """95 % intervals of the derived quantities of one curve, from resampled series: percentiles widened by `factor`.

    An interval is (nan, nan) where the curve or most resamples lack the quantity. An upper bound of inf for `peak_step`
    says that the data allow a curve without a peak in range.
    """
    optimum = refit(group.form, t, w, series, minima_of(group.form, t, w, y, group.rates[:, row]))
    replicates = derived_of(group.form, t, series, w, optimum)
    # The curve that the parameters draw may differ from the optimum (Eq. 9 at its cap). The spread of the resamples is
    # about the optimum, so it is moved to the estimate.
    own = search_from(group.form, t, y[None], w, group.rates[:, row : row + 1])
    centre = derived_of(group.form, t, y[None], w, own)
    limits = {"peak_step": (t[0], np.inf), "half_rise_step": (t[0], t[-1]), "decay_share": (0.0, 1.0)}
    out = {}
    for name, estimates in group.derived.items():
        value, values, middle = float(estimates[row]), replicates[name], float(centre[name][0])
        if np.isfinite(value) and np.isfinite(middle):
            values = values + (value - middle)
        if name == "peak_step":
            values = np.where(np.isnan(values), np.where(replicates["end_slope"] > 0, np.inf, -np.inf), values)
        numbers = values[~np.isnan(values)]
        if not np.isfinite(value) or numbers.size < (1 - MOST_UNKNOWN) * len(series):
            out[name] = (math.nan, math.nan)
            continue
        low, high = _percentiles(numbers)
        least, most = limits.get(name, (-np.inf, np.inf))
        lower = max(value - factor * max(value - low, 0.0), least)
        upper = min(value + factor * max(high - value, 0.0), most)
        out[name] = (float(lower), float(upper))
    return out
