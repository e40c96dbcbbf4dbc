"""Intervals of derived quantities from resampled series: whole input sequences, or residuals where there are none."""

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
RESAMPLES = 200  # unless a caller gives a number; conf/fit/base/form.yaml has the same
MOST_UNKNOWN = 0.5  # share of resamples without a quantity above which it has no interval
WARM = 1e-7  # relative decrease of the SSE at which a resample's descent ends
STRIDE = 2  # every second node of each rate is enough to see that another valley is lower
RESCUED = 0.02  # share of the resamples, those that fit worst, searched from the scan in any case
RIVAL = 2.0  # minima with at most this times the lowest SSE are starts of the resamples
MOST_MINIMA = 4
INSIDE = 100.0  # times the first node off an edge
DISTINCT = 0.05  # difference of a log rate above which minima are two
BLOCK = 8  # steps whose residuals are drawn together
Bounds = dict[str, tuple[np.ndarray, np.ndarray]]


def widening(n: int) -> float:
    """Factor by which percentile intervals of a bootstrap over n sequences are widened: 1.217 for ten.

    sqrt(n / (n - 1)) for the resampling variance being (n - 1) / n of the true one, and Student's quantile over the
    normal's for the variance being estimated from n.

    >>> round(widening(10), 3)
    1.217
    """
    return math.sqrt(n / (n - 1)) * student(n - 1)


def student(degrees: int) -> float:
    """Student's quantile over the normal's at LEVEL, for a variance estimated with so many degrees of freedom."""
    upper = (1 + LEVEL) / 2
    return float(stdtrit(degrees, upper) / ndtri(upper))


def draws(count: int, resamples: int, seed: int) -> Float[np.ndarray, "resample sequence"]:
    """The weight of each of `count` sequences in each resample; rows sum to 1."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(count, np.full(count, 1 / count), size=resamples) / count


def resampled_sequences(
    y: Float[np.ndarray, " step"], sequences: Float[np.ndarray, "sequence step"], *, resamples: int, seed: int
) -> Float[np.ndarray, "resample step"]:
    """Series of resampled sequences: y plus the resampled mean less the mean, so y may be another aggregate."""
    count = len(sequences)
    return y + (draws(count, resamples, seed) - 1 / count) @ sequences


def resampled_residuals(
    y: np.ndarray, curve: np.ndarray, w: np.ndarray, k: int, *, block: int, resamples: int, seed: int
) -> Float[np.ndarray, "resample step"]:
    """The curve plus residuals drawn in blocks that go round the end, widened by sqrt(n / (n - k)) for k parameters.

    Weighted residuals are drawn, so noise may differ between steps as the weights say.
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

    Those that a coarse scan shows in the wrong valley, and the `RESCUED` that fit worst, are searched again globally;
    so are all of a falling curve, whose valley has minima that only some resamples know.
    """
    basis = FORMS[form]
    if basis.valley and falls(basis, t, w, series.mean(axis=0), minima[:, 0]):
        return search(form, t, series, w)
    target = normalised(basis, series, w)
    if takes_compiled(basis, len(series), "auto"):
        from massact.fit.engine.compiled import search_warm

        found = in_units(basis, target, *search_warm(basis, t, w, target.y, minima.T, WARM))
    else:
        best = refine(basis, t, w, target.y, np.repeat(minima[:, :1], len(series), axis=1), tolerance=WARM)
        for other in minima.T[1:]:
            best = _better(best, basis, t, w, target.y, np.repeat(other[:, None], len(series), axis=1))
        found = optimum_of(basis, t, w, target, best)
    lost = _lost(basis, t, w, target, found.sse)
    if lost.size:
        again = search(form, t, series[lost], w)
        better = again.sse < found.sse[lost]
        won = lost[better]
        found.rates[:, won], found.a[won], found.sse[won] = again.rates[:, better], again.a[better], again.sse[better]
    return found


def minima_of(
    form: str, t: np.ndarray, w: np.ndarray, y: Float[np.ndarray, " step"], rates: np.ndarray
) -> Float[np.ndarray, "rate minimum"]:
    """The optimum of a series, given first, and the other minima that a resample of it may prefer."""
    basis = FORMS[form]
    target = normalised(basis, y[None], w)
    begun = starts(make_scan(basis, t, w), target.y)
    found = refine(basis, t, w, np.repeat(target.y, begun.curve.size, axis=0), begun.rates, tolerance=WARM)
    lowest = refine(basis, t, w, target.y, rates[:, None]).sse[0]
    kept = [rates]
    for row in np.argsort(found.sse, kind="stable")[: found.sse.size]:
        if found.sse[row] > RIVAL * lowest or len(kept) == MOST_MINIMA:
            break
        with np.errstate(divide="ignore", invalid="ignore"):
            far = np.abs(np.log(found.rates[:, row] / np.stack(kept)))
        same = (far < DISTINCT) | ((found.rates[:, row] == 0) & (np.stack(kept) == 0))
        if not same.all(axis=1).any():
            kept.append(found.rates[:, row])
    return np.stack(kept, axis=1)


def falls(basis: Basis, t: np.ndarray, w: np.ndarray, y: np.ndarray, rates: np.ndarray) -> bool:
    """Whether the logarithm of the fit of one series has a negative coefficient."""
    return bool(linear_fit(basis, t, y[None], w, rates[:, None])[0][0, -1] < 0)


def _better(best: Minima, basis: Basis, t: np.ndarray, w: np.ndarray, y: np.ndarray, rates: np.ndarray) -> Minima:
    """The better of the best minima and those from other starts."""
    other = refine(basis, t, w, y, rates, tolerance=WARM, best=best)
    won = other.sse < best.sse
    return Minima(np.where(won, other.rates, best.rates), np.where(won, other.sse, best.sse))


def _lost(basis: Basis, t: np.ndarray, w: np.ndarray, target: Target, sse: np.ndarray) -> np.ndarray:
    """Resamples whose warm fit is not to be trusted."""
    coarse = scan_sse(make_scan(basis, t, w, stride=STRIDE), target.y).min(axis=1) * target.size[:, 0] ** 2
    worst = np.argsort(-sse, kind="stable")[: math.ceil(RESCUED * len(sse))]
    return np.union1d(np.flatnonzero(coarse < sse), worst)


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    """The order statistics between which another value would lie with probability LEVEL."""
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
    """95 % intervals of one curve's derived quantities y from resampled series: percentiles, widened by `factor`.

    Without an estimate, or where most resamples have none, there is (nan, nan). An upper bound of inf for `peak_step`
    says that the data allow a curve without a peak in range.
    """
    found = refit(group.form, t, w, series, minima_of(group.form, t, w, y, group.rates[:, row]))
    replicates = derived_of(group.form, t, series, w, found)
    # What the parameters draw may differ from the optimum (Eq. 9 at its cap): the spread is moved to the estimate.
    same = search_from(group.form, t, y[None], w, group.rates[:, row : row + 1])
    centre = derived_of(group.form, t, y[None], w, same)
    limits = {"peak_step": (t[0], np.inf), "half_rise_step": (t[0], t[-1]), "decay_share": (0.0, 1.0)}
    out = {}
    for name, estimates in group.derived.items():
        value, values, middle = float(estimates[row]), replicates[name], float(centre[name][0])
        if np.isfinite(value) and np.isfinite(middle):
            values = values + (value - middle)
        if name == "peak_step":
            values = np.where(np.isnan(values), np.where(replicates["end_slope"] > 0, np.inf, -np.inf), values)
        known = values[~np.isnan(values)]
        if not np.isfinite(value) or known.size < (1 - MOST_UNKNOWN) * len(series):
            out[name] = (math.nan, math.nan)
            continue
        low, high = _percentiles(known)
        least, most = limits.get(name, (-np.inf, np.inf))
        lower = max(value - factor * max(value - low, 0.0), least)
        upper = min(value + factor * max(high - value, 0.0), most)
        out[name] = (float(lower), float(upper))
    return out
