"""The global search: every curve on one scan over the rates, then the best minima refined.

Variable projection (Golub and Pereyra 1973) with Kaufman's Jacobian. One search takes one set of steps and no missing
values: `massact.fit.many` groups the curves first. Eqs. 9 and 14 have a compiled path (numba) that gives the same
answers.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Float

from massact.fit.engine import bins
from massact.fit.engine.refine import FINE, ROUGH, Minima, evaluate, polish, project, refine
from massact.fit.engine.scan import Scan, make_scan, starts
from massact.fit.forms import FORMS
from massact.fit.forms.basis import Basis

EnginePath = Literal["auto", "numba", "numpy"]
PATHS: tuple[EnginePath, ...] = get_args(EnginePath)
CHUNK = 64  # curves scanned together: their arrays stay in the cache
REFINED = 512  # curves refined together by numpy; with fewer, the calls cost more than the work
HELD = 2_000_000  # maximum number of points of all curves refined together, to limit memory
WORTH_COMPILED = 128  # curves from which "auto" uses the compiled path: loading numba takes as long as this many fits
HOPS = (0.5, 0.8, 1.25, 2.0)
FAR_ABOVE, MATTERS_OF_SCAN = 4.0, 0.02  # a start is tried if its SSE is below this multiple of the best, or near it
EDGE_MARGIN = 1e-9  # relative tolerance: an edge is taken if its SSE is no worse


class Optimum(NamedTuple):
    """The best curve of each series.

    Rates (rate, curve), coefficients (curve, j) of the basis's columns, weighted SSE (curve,).
    """

    rates: np.ndarray
    a: np.ndarray
    sse: np.ndarray


class Target(NamedTuple):
    """Weighted curves about their mean and of size 1 (curve, step), their size and their mean (curve, 1)."""

    y: np.ndarray
    size: np.ndarray
    middle: np.ndarray


def search(
    form: str | Basis,
    t: Float[np.ndarray, " step"],
    y: Float[np.ndarray, "curve step"],
    w: Float[np.ndarray, " step"] | Float[np.ndarray, "curve step"],
    *,
    path: EnginePath = "auto",
) -> Optimum:
    """The global optimum of a form or another basis, limit curves included (a rate of 0 names them).

    Steps ascending and not negative, no NaN, weights w > 0 that multiply residuals. `path` is the code that runs: both
    give the same optimum to about 1e-9 of its SSE. Weights that differ between curves cannot share a scan: theirs is of
    the mean weights, and only the refinement uses their own, in numpy. Of more points than
    `bins.EVERY` the scan takes bins, and the refinement on all points begins at the optimum of the bins.
    """
    return _search(_basis(form), t, y, w, path)


def search_from(form: str | Basis, t: np.ndarray, y: np.ndarray, w: np.ndarray, rates: np.ndarray) -> Optimum:
    """The minima next to given rates (rate, curve); w is (step,) or (curve, step)."""
    basis = _basis(form)
    target = normalised(basis, y, w)
    return optimum_of(basis, t, w, target, refine(basis, t, w, target.y, rates))


def linear_fit(
    basis: Basis, t: np.ndarray, y: np.ndarray, w: np.ndarray, rates: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (curve, j) and weighted SSE (curve,) at given rates (rate, curve)."""
    fitted = project([column * w for column in basis.columns(t, rates)], y * w)
    return fitted.a, np.vecdot(fitted.residual, fitted.residual)


def fitted_values(form: str, t: np.ndarray, optimum: Optimum) -> np.ndarray:
    """The curves (curve, step) of an optimum at the steps t of its search."""
    columns = FORMS[form].columns(t, optimum.rates)
    return np.sum([optimum.a[:, j : j + 1] * column for j, column in enumerate(columns)], axis=0)


def takes_compiled(basis: Basis, count: int, path: EnginePath) -> bool:
    """Whether a search of so many curves runs compiled."""
    return basis.kernel is not None and (path == "numba" or (path == "auto" and count >= WORTH_COMPILED))


def normalised(basis: Basis, y: np.ndarray, w: np.ndarray) -> Target:
    """The curves as the search takes them."""
    squares = np.broadcast_to(w**2, y.shape)
    middle = np.zeros((len(y), 1))
    if basis.constant:
        middle = (np.vecdot(y, squares) / squares.sum(axis=1))[:, None]
    size = np.abs(y - middle).max(axis=1, keepdims=True)
    size = np.where(size > 0, size, 1.0)
    return Target((y - middle) / size * w, size, middle)


def optimum_of(basis: Basis, t: np.ndarray, w: np.ndarray, target: Target, minima: Minima) -> Optimum:
    """Minima of the search in the units of the curves."""
    a = project([column * w for column in basis.columns(t, minima.rates)], target.y).a
    return in_units(basis, target, minima.rates, a, minima.sse)


def in_units(basis: Basis, target: Target, rates: np.ndarray, a: np.ndarray, sse: np.ndarray) -> Optimum:
    """Coefficients and SSE of normalised curves in the units of the curves."""
    a = a * target.size
    if basis.constant:
        a[:, 0] += target.middle[:, 0]
    return Optimum(rates, a, sse * target.size[:, 0] ** 2)


def _basis(form: str | Basis) -> Basis:
    return FORMS[form] if isinstance(form, str) else form


def _search(basis: Basis, t: np.ndarray, y: np.ndarray, w: np.ndarray, path: EnginePath) -> Optimum:
    edges = bins.bins_of(t)
    if edges is None:
        return _search_every(basis, t, y, w, path)
    means = bins.mean_values(y, w, edges), bins.weights_of_bins(w, edges)
    optimum = _search_every(basis, bins.mean_steps(t, edges), *means, path)
    return _refined(basis, t, y, w, optimum.rates)


def _refined(basis: Basis, t: np.ndarray, y: np.ndarray, w: np.ndarray, rates: np.ndarray) -> Optimum:
    """The optimum on all points next to that of bins, and on the other side of an edge that it is near."""
    parts, nodes = [], basis.grid(t)
    together = max(1, min(REFINED, HELD // t.size))
    for start in range(0, len(y), together):
        rows = slice(start, start + together)
        weights = w[rows] if w.ndim == 2 else w
        target = normalised(basis, y[rows], weights)
        best = refine(basis, t, weights, target.y, rates[:, rows], tolerance=FINE)
        best = _bettered(basis, t, weights, target.y, best, *_across_edges(nodes, best))
        parts.append(optimum_of(basis, t, weights, target, polish(basis, t, weights, target.y, best)))
    return _joined(parts)


def _search_every(basis: Basis, t: np.ndarray, y: np.ndarray, w: np.ndarray, path: EnginePath) -> Optimum:
    compiled = w.ndim == 1 and takes_compiled(basis, len(y), path)
    common = np.sqrt(np.mean(w**2, axis=0)) if w.ndim == 2 else w
    scan, parts = make_scan(basis, t, common), []
    together = CHUNK if compiled else REFINED
    for start in range(0, len(y), together):
        rows = slice(start, start + together)
        weights = w[rows] if w.ndim == 2 else w
        target = normalised(basis, y[rows], weights)
        if compiled:
            from massact.fit.engine.compiled import search_compiled

            parts.append(in_units(basis, target, *search_compiled(basis, t, w, target.y, scan, HOPS)))
        else:
            scanned = target.y if w.ndim == 1 else normalised(basis, y[rows], common).y
            minima = _searched(basis, t, weights, target.y, scanned, scan)
            parts.append(optimum_of(basis, t, weights, target, polish(basis, t, weights, target.y, minima)))
    return _joined(parts)


def _joined(parts: list[Optimum]) -> Optimum:
    rates, a, sse = zip(*parts, strict=True)
    return Optimum(np.concatenate(rates, axis=1), np.concatenate(a), np.concatenate(sse))


def _searched(
    basis: Basis, t: np.ndarray, w: np.ndarray, target: np.ndarray, scanned: np.ndarray, scan: Scan
) -> Minima:
    """The best minimum of each curve: its lowest start refined, then what other starts and the edges can better."""
    firsts = range(0, len(target), CHUNK)
    parts = [starts(scan, scanned[first : first + CHUNK]) for first in firsts]
    curve = np.concatenate([part.curve + first for part, first in zip(parts, firsts, strict=True)])
    height = np.concatenate([part.sse for part in parts])
    order = np.lexsort((height, curve))
    curve, height = curve[order], height[order]
    rates = np.concatenate([part.rates for part in parts], axis=1)[:, order]
    first = np.searchsorted(curve, np.arange(len(target)))
    best = refine(basis, t, w, target, rates[:, first], tolerance=ROUGH)
    others = np.setdiff1d(np.arange(curve.size), first)
    others = others[_worth(scan, curve[others], rates[:, others], height[others], best, target, rates[:, first])]
    best = _bettered(basis, t, w, target, best, curve[others], rates[:, others])
    if basis.valley:
        best = _bettered(basis, t, w, target, best, *_nearby(basis, t, w, target, best))
    best = refine(basis, t, w, target, best.rates, tolerance=FINE)
    return _bettered(basis, t, w, target, best, *_across_edges(scan.nodes, best))


def _worth(
    scan: Scan,
    curve: np.ndarray,
    rates: np.ndarray,
    height: np.ndarray,
    best: Minima,
    target: np.ndarray,
    taken: np.ndarray,
) -> np.ndarray:
    """Which further starts can better the best minimum: those on an edge, and those neither far above it nor next to
    the start that led there."""
    total = np.vecdot(target, target)[curve]
    low = height <= FAR_ABOVE * best.sse[curve] + MATTERS_OF_SCAN * total
    with np.errstate(divide="ignore", invalid="ignore"):
        far = np.abs(np.log(rates / taken[:, curve]))
    step = np.array([np.log(nodes[-1] / nodes[-2]) for nodes in scan.nodes])
    near = (far <= 0.5 * step[:, None]) | ((rates == 0) & (taken[:, curve] == 0))
    return (low | (rates == 0).any(axis=0)) & ~near.all(axis=0)


def _bettered(
    basis: Basis, t: np.ndarray, w: np.ndarray, y: np.ndarray, best: Minima, curve: np.ndarray, rates: np.ndarray
) -> Minima:
    """The better of the best minimum and those from further starts of `curve` (problem,); an edge wins a tie."""
    if not curve.size:
        return best
    goal = Minima(best.rates[:, curve], best.sse[curve])
    minima = refine(basis, t, w[curve] if w.ndim == 2 else w, y[curve], rates, tolerance=ROUGH, best=goal)
    every = np.arange(len(y))
    curve, rates = np.r_[every, curve], np.concatenate([best.rates, minima.rates], axis=1)
    sse = np.r_[best.sse, minima.sse]
    rank = sse * np.where((rates == 0).any(axis=0), 1 - EDGE_MARGIN, 1.0)
    order = np.lexsort((rank, curve))
    chosen = order[np.searchsorted(curve[order], every)]
    return Minima(rates[:, chosen], sse[chosen])


def _nearby(basis: Basis, t: np.ndarray, w: np.ndarray, y: np.ndarray, best: Minima) -> tuple[np.ndarray, np.ndarray]:
    """Starts at either side of falling curves, whose valley can hold two minima closer than the scan's nodes."""
    falling = np.flatnonzero((evaluate(basis, t, w, y, best.rates).a[:, -1] < 0) & (best.rates > 0).all(axis=0))
    p, q = best.rates[:, falling]
    return np.tile(falling, len(HOPS)), np.stack([np.tile(p, len(HOPS)), np.concatenate([q * hop for hop in HOPS])])


def _across_edges(grid: list[np.ndarray], best: Minima) -> tuple[np.ndarray, np.ndarray]:
    """Starts inside for curves that ended on an edge, and on the edge for those that ended near it."""
    curves, moved = [np.zeros(0, dtype=int)], [np.zeros((len(best.rates), 0))]
    for axis, nodes in enumerate(grid):
        if nodes[0] != 0:
            continue
        rate = best.rates[axis]
        chosen = np.flatnonzero(rate < 3 * nodes[1])
        rates = best.rates[:, chosen].copy()
        rates[axis] = np.where(rate[chosen] == 0, nodes[1], 0.0)
        curves.append(chosen)
        moved.append(rates)
    return np.concatenate(curves), np.concatenate(moved, axis=1)
