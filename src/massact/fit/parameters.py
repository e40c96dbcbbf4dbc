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

from massact.fit.bases import LOG_GAMMA_CAP
from massact.fit.engine import BASES, Optimum, Path, linear_fit, search_capped
from massact.fit.forms import eq9_from_eq14
from massact.fit.regimes import STATUS_DTYPE, FitStatus

SLOW_RATE = {"log_decay": 0, "hill_decay": 2}  # which rate of a form beyond the paper is a decay that may be 0


class Drawable(NamedTuple):
    """Parameters (curve, parameter) in the table's order, and how each search ended (curve,), as FitStatus's text."""

    values: np.ndarray
    status: np.ndarray


def drawable(
    form: str, optimum: Optimum, t: np.ndarray, y: np.ndarray, w: np.ndarray, *, path: Path = "auto"
) -> Drawable:
    """The parameters that draw an optimum of `form` on steps t; w is (step,) or (curve, step)."""
    basis = BASES[form]
    box = basis.box(t)
    status = _status(form, optimum, box)
    rates = np.where(optimum.rates == 0, box[:, :1], optimum.rates)
    if form == "eq9":
        rates[1] = np.maximum(rates[1], rates[0] / LOG_GAMMA_CAP)
    moved = (rates != optimum.rates).any(axis=0)
    a = optimum.a.copy()
    if moved.any():
        weights = w[moved] if w.ndim == 2 else w
        a[moved] = linear_fit(basis, t, y[moved], weights, rates[:, moved])[0]
    if form not in ("eq9", "eq14"):
        return Drawable(np.stack(_values(form, a.T, rates), axis=1), status)
    values = _eq14(a, rates[0], rates[1], float(t[0]))
    if form == "eq14":
        return Drawable(values, status)
    return _eq9(values, status, t, y, w, path)


def _values(form: str, a: np.ndarray, rates: np.ndarray) -> list[np.ndarray]:
    """Parameters of a form from coefficients (j, curve) of its basis's columns and its rates (rate, curve)."""
    p = rates[0]
    if form == "step1":
        return [a[0] / p, 1 / p]
    if form == "step2":
        return [a[0], rates[1], p * (1 + 2 * rates[1])]
    if form == "log":
        return [a[1] / p, 1 / p, a[0]]
    if form == "log_decay":
        return [a[1] / rates[1], p, 1 / rates[1], a[0]]
    if form == "two_exp":
        fast = p * rates[1]
        return [-a[1] / p, p, -a[2] / fast, fast, a[0] + a[1] / p + a[2] / fast]
    if form == "hill":
        return [a[1], 1 / p, rates[1], a[0]]
    if form == "hill_decay":
        return [a[1], 1 / p, rates[1], rates[2], a[0]]
    if form == "bump":
        return [a[1], 1 / p, rates[1], a[2], a[0]]
    return [a[1] / rates[1], 1 / p, rates[1], a[0]]  # power


def _eq14(a: np.ndarray, p: np.ndarray, q: np.ndarray, first: float) -> np.ndarray:
    """Eq. 14's parameters from coefficients of `LogDecay`'s columns, whose time begins at step `first`."""
    A1, grown = a[:, 2] / q, np.exp(p * first)
    A2 = A1 * np.log(q) - a[:, 1] / p
    return np.stack([A1 * grown, A2 * grown, p, 1 / q - first, a[:, 0] + a[:, 1] / p], axis=1)


def _eq9(
    eq14_values: np.ndarray, status: np.ndarray, t: np.ndarray, y: np.ndarray, w: np.ndarray, path: Path
) -> Drawable:
    """Eq. 9's parameters, with those out of a double's reach searched again at the cap of log gamma."""
    out = eq9_from_eq14(*eq14_values.T)
    beyond = np.flatnonzero(~out.determined | (np.abs(out.log_gamma) > LOG_GAMMA_CAP))
    values = np.stack([out.A, out.lam, out.gamma, out.t0, out.K], axis=1)
    if beyond.size:
        common = w.mean(axis=0) if w.ndim == 2 else w
        sign = np.where(out.log_gamma[beyond] >= 0, 1, -1)
        capped = search_capped(t, y[beyond], common, sign, path=path)
        p, q = capped.rates
        A1 = capped.a[:, 1] / LOG_GAMMA_CAP * np.exp(p * t[0])
        again = eq9_from_eq14(A1, A1 * sign * LOG_GAMMA_CAP, p, 1 / q - t[0], capped.a[:, 0])
        values[beyond] = np.stack([again.A, again.lam, again.gamma, again.t0, again.K], axis=1)
        status[beyond] = np.where(status[beyond] == str(FitStatus.OK), str(FitStatus.AT_EDGE_GAMMA), status[beyond])
    return Drawable(values, status)


def _status(form: str, optimum: Optimum, box: np.ndarray) -> np.ndarray:
    """How the search ended (curve,)."""
    near = 1 + 1e-6
    low = optimum.rates <= box[:, :1] * near
    high = optimum.rates >= box[:, 1:] / near
    if form in ("eq9", "eq14", "step1", "step2"):
        cases = [(low[0], FitStatus.AT_EDGE_B_ZERO), (high[0], FitStatus.AT_EDGE_B_CEILING)]
        if form in ("eq9", "eq14"):
            cases += [(low[1], FitStatus.AT_EDGE_TAU_INFINITE), (high[1], FitStatus.AT_EDGE_TAU_FLOOR)]
        if form == "step2":
            cases.append((low[1] | high[1], FitStatus.AT_EDGE_ZETA))
    else:
        slow = SLOW_RATE.get(form)
        other = (low | high).any(axis=0)
        if slow is not None:
            other = np.delete(low, slow, axis=0).any(axis=0) | high.any(axis=0)
        cases = [(other, FitStatus.AT_EDGE_RATE)]
        if slow is not None:
            cases.append((low[slow], FitStatus.AT_EDGE_B_ZERO))
    out = np.full(optimum.sse.size, str(FitStatus.OK), dtype=STATUS_DTYPE)
    for where, status in reversed(cases):
        out[where] = str(status)
    return out
