"""The interface of the compiled search: pads arrays for its loops. Importing this module loads numba."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from massact.fit.engine.kernels import search_rows, warm_rows
from massact.fit.engine.scan import Scan, scan_products
from massact.fit.forms.basis import Basis

SEARCH: Any = search_rows
WARM: Any = warm_rows
LANES = 32  # unrolled loop length: points are padded to a multiple of it, with weight 0


class Optima(NamedTuple):
    """Rates (rate, curve), coefficients (curve, j) and SSE (curve,) of normalised curves."""

    rates: np.ndarray
    a: np.ndarray
    sse: np.ndarray


def search_compiled(
    basis: Basis, t: np.ndarray, w: np.ndarray, target: np.ndarray, scan: Scan, hops: tuple[float, ...]
) -> Optima:
    """The global search for normalised curves (curve, step) with weights (step,)."""
    padded = _padded(t, w, target)
    out = np.empty((len(target), 6))
    p, q = scan.nodes
    box = basis.box(t).ravel()
    SEARCH(*padded, scan_products(scan, target), p, q, box, _sign(basis), np.array(hops), out)
    return _optima(basis, w, out)


def search_warm(
    basis: Basis, t: np.ndarray, w: np.ndarray, target: np.ndarray, starts: np.ndarray, tolerance: float
) -> Optima:
    """The best minimum of each normalised curve (curve, step) from the same starts (start, 2) of rates."""
    out = np.empty((len(target), 6))
    WARM(*_padded(t, w, target), np.ascontiguousarray(starts), basis.box(t).ravel(), _sign(basis), tolerance, out)
    return _optima(basis, w, out)


def _sign(basis: Basis) -> float:
    return basis.kernel or 0.0


def _padded(t: np.ndarray, w: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, ...]:
    """Steps counted from the first one, weights, the unit constant column, and the curves."""
    pad = -t.size % LANES
    weights = np.r_[w, np.zeros(pad)]
    s = np.r_[t - t[0], np.full(pad, t[-1] - t[0])]
    return s, weights, weights / np.sqrt(weights @ weights), np.pad(target, ((0, 0), (0, pad)))


def _optima(basis: Basis, w: np.ndarray, out: np.ndarray) -> Optima:
    out[:, 3] /= np.sqrt(w @ w)
    columns = [3, 5] if _sign(basis) else [3, 4, 5]
    return Optima(np.ascontiguousarray(out[:, :2].T), out[:, columns], out[:, 2])
