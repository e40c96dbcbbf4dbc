"""From the engine's optimum to the parameters of a form, finite and drawable always.

The optimum may be a limit curve (b = 0, tau0 = inf) or, for Eq. 9, need a gamma no double holds. Then the nearest curve
that the parameters can draw takes its place, with its linear parameters fitted again: b = 1e-4 / T and tau0 = 1e4 T for
Eq. 14; for Eq. 9 besides |log gamma| <= 600 and beta (tau0 + t[0]) <= 600, searched again at that bound. The status
says so. Eq. 9's nearest curve is worse by less than 1e-3 of the SSE at the noise of checkpoints, by up to 2 % where
R2 > .9999.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from massact.fit.bases import BASES, LOG_GAMMA_CAP, Box
from massact.fit.engine import Optimum, linear_fit, search_capped
from massact.fit.forms import eq9_from_eq14
from massact.fit.regimes import STATUS_DTYPE, FitStatus


class Drawable(NamedTuple):
    """Parameters (curve, parameter) in the table's order, and how each search ended (curve,), as FitStatus's text."""

    values: np.ndarray
    status: np.ndarray


def drawable(form: str, optimum: Optimum, t: np.ndarray, y: np.ndarray, w: np.ndarray) -> Drawable:
    """The parameters that draw an optimum of `form` on steps t."""
    basis = BASES[form]
    box = basis.box(t)
    status = _status(form, optimum, box)
    p = np.where(optimum.p == 0, box.p[0], optimum.p)
    q = np.where(optimum.q == 0, box.q[0], optimum.q)
    if form == "step2":
        return Drawable(np.stack([optimum.a[:, 0], q, p * (1 + 2 * q)], axis=1), status)
    if form == "eq9":
        q = np.maximum(q, p / LOG_GAMMA_CAP)
    a, _ = linear_fit(basis, t, y, w, p, q)
    if form == "step1":
        return Drawable(np.stack([a[:, 0] / p, 1 / p], axis=1), status)
    values = _eq14(a, p, q, float(t[0]))
    if form == "eq14":
        return Drawable(values, status)
    return _eq9(values, status, t, y, w)


def _eq14(a: np.ndarray, p: np.ndarray, q: np.ndarray, first: float) -> np.ndarray:
    """Eq. 14's parameters from coefficients of `LogDecay`'s columns, whose time begins at step `first`."""
    A1, grown = a[:, 2] / q, np.exp(p * first)
    A2 = A1 * np.log(q) - a[:, 1] / p
    return np.stack([A1 * grown, A2 * grown, p, 1 / q - first, a[:, 0] + a[:, 1] / p], axis=1)


def _eq9(eq14_values: np.ndarray, status: np.ndarray, t: np.ndarray, y: np.ndarray, w: np.ndarray) -> Drawable:
    """Eq. 9's parameters, with those out of a double's reach searched again at the cap of log gamma."""
    out = eq9_from_eq14(*eq14_values.T)
    beyond = ~out.determined | (np.abs(out.log_gamma) > LOG_GAMMA_CAP)
    values = np.stack([out.A, out.lam, out.gamma, out.t0, out.K], axis=1)
    if beyond.any():
        capped, sign = search_capped(t, y[beyond], w)
        A1 = capped.a[:, 1] / LOG_GAMMA_CAP * np.exp(capped.p * t[0])
        again = eq9_from_eq14(A1, A1 * sign * LOG_GAMMA_CAP, capped.p, 1 / capped.q - t[0], capped.a[:, 0])
        values[beyond] = np.stack([again.A, again.lam, again.gamma, again.t0, again.K], axis=1)
        status = np.where(beyond & (status == FitStatus.OK), str(FitStatus.AT_EDGE_GAMMA), status)
    return Drawable(values, status)


def _status(form: str, optimum: Optimum, box: Box) -> np.ndarray:
    """How the search ended (curve,)."""
    near = 1 + 1e-6
    p, q = optimum.p, optimum.q
    slow, fast = p <= box.p[0] * near, p >= box.p[1] / near
    q_low, q_high = q <= box.q[0] * near, q >= box.q[1] / near
    cases = [(slow, FitStatus.AT_EDGE_B_ZERO), (fast, FitStatus.AT_EDGE_B_CEILING)]
    if form in ("eq9", "eq14"):
        cases += [(q_low, FitStatus.AT_EDGE_TAU_INFINITE), (q_high, FitStatus.AT_EDGE_TAU_FLOOR)]
    if form == "step2":
        cases.append((q_low | q_high, FitStatus.AT_EDGE_ZETA))
    out = np.full(p.size, str(FitStatus.OK), dtype=STATUS_DTYPE)
    for where, status in reversed(cases):
        out[where] = str(status)
    return out
