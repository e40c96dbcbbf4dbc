"""What the compiled search takes and gives: arrays padded for its loops, and numba's loading kept out of `import`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from massact.fit.engine.kernels import search_rows, warm_rows
from massact.fit.engine.scan import Scan, scan_products
from massact.fit.forms.basis import Basis

SEARCH: Any = search_rows
WARM: Any = warm_rows
LANES = 32  # loops are unrolled so far: points are padded to a multiple, with weight 0


class Found(NamedTuple):
    """Rates (rate, curve), coefficients (curve, j) and SSE (curve,) of normalised curves."""

    rates: np.ndarray
    a: np.ndarray
    sse: np.ndarray


def search_compiled(
    basis: Basis, t: np.ndarray, w: np.ndarray, target: np.ndarray, scan: Scan, hops: tuple[float, ...]
) -> Found:
    """The global search of normalised curves (curve, step), weights (step,)."""
    padded = _padded(t, w, target)
    out = np.empty((len(target), 6))
    p, q = scan.nodes
    box = basis.box(t).ravel()
    SEARCH(*padded, scan_products(scan, target), p, q, box, _sign(basis), np.array(hops), out)
    return _found(basis, w, out)


def search_warm(
    basis: Basis, t: np.ndarray, w: np.ndarray, target: np.ndarray, starts: np.ndarray, tolerance: float
) -> Found:
    """The best minimum of each normalised curve (curve, step) from the same starts (start, 2) of rates."""
    out = np.empty((len(target), 6))
    WARM(*_padded(t, w, target), np.ascontiguousarray(starts), basis.box(t).ravel(), _sign(basis), tolerance, out)
    return _found(basis, w, out)


def _sign(basis: Basis) -> float:
    return basis.kernel or 0.0


def _padded(t: np.ndarray, w: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, ...]:
    """Times from the first step, weights, the constant column's direction, and the curves."""
    pad = -t.size % LANES
    weights = np.r_[w, np.zeros(pad)]
    s = np.r_[t - t[0], np.full(pad, t[-1] - t[0])]
    return s, weights, weights / np.sqrt(weights @ weights), np.pad(target, ((0, 0), (0, pad)))


def _found(basis: Basis, w: np.ndarray, out: np.ndarray) -> Found:
    out[:, 3] /= np.sqrt(w @ w)
    columns = [3, 5] if _sign(basis) else [3, 4, 5]
    return Found(np.ascontiguousarray(out[:, :2].T), out[:, columns], out[:, 2])
