"""From the engine's optimum to the parameters of a form, finite and drawable always.

The optimum may be a limit curve (b = 0, tau0 = inf) or, for Eq. 9, need a gamma no double holds. Then the nearest curve
that the parameters can draw takes its place, with its linear parameters fitted again: rates of 0 become the least ones
searched (for Eq. 14 b = 1e-4 / T and tau0 = 1e4 T). Curves beyond the reach of the parameters are searched again in the
form's `limits`: first next to the optimum, then, if that ends above it, everywhere. The status says so.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from massact.fit.engine.search import EnginePath, Optimum, linear_fit, search, search_from
from massact.fit.forms import FORMS
from massact.fit.forms.basis import Limit
from massact.fit.forms.form import Form
from massact.fit.status import STATUS_DTYPE, FitStatus

CLOSE = 5e-4  # a curve at a limit whose SSE is at most this share above the optimum is good enough


class Drawable(NamedTuple):
    """Parameters (curve, parameter) in the table's order, and how each search ended (curve,), as FitStatus's text."""

    values: np.ndarray
    status: np.ndarray


def drawable(
    form: str, optimum: Optimum, t: np.ndarray, y: np.ndarray, w: np.ndarray, *, path: EnginePath = "auto"
) -> Drawable:
    """The parameters that draw an optimum of `form` on steps t; w is (step,) or (curve, step)."""
    chosen = FORMS[form]
    box = chosen.box(t)
    status = _status(chosen, optimum, box)
    rates = chosen.within_reach(np.where(optimum.rates == 0, box[:, :1], optimum.rates))
    moved = (rates != optimum.rates).any(axis=0)
    a = optimum.a.copy()
    if moved.any():
        weights = w[moved] if w.ndim == 2 else w
        a[moved] = linear_fit(chosen, t, y[moved], weights, rates[:, moved])[0]
    with np.errstate(all="ignore"):
        values = chosen.parameters_of(a, rates, float(t[0]))
    beyond = np.flatnonzero(~chosen.drawable(values))
    if beyond.size and chosen.limits:
        free = Optimum(rates[:, beyond], a[beyond], optimum.sse[beyond])
        values[beyond] = _nearest(chosen, t, y[beyond], w[beyond] if w.ndim == 2 else w, free, path)
        ended_inside = status[beyond] == str(FitStatus.OK)
        status[beyond] = np.where(ended_inside, str(chosen.limit_status), status[beyond])
    return Drawable(values, status)


def _nearest(form: Form, t: np.ndarray, y: np.ndarray, w: np.ndarray, free: Optimum, path: EnginePath) -> np.ndarray:
    """Parameters (curve, parameter) of the best curves in the limits of a form; `free` is its optimum."""
    best, sse = np.empty((len(y), len(form.parameters))), np.full(len(y), np.inf)

    def keep(limit: Limit, rows: np.ndarray, optimum: Optimum) -> None:
        better = optimum.sse < sse[rows]
        chosen = rows[better]
        best[chosen] = limit.parameters_of(optimum.a[better], optimum.rates[:, better], float(t[0]))
        sse[chosen] = optimum.sse[better]

    for limit in form.limits:
        near = limit.near(free.a, free.rates)
        rows = np.flatnonzero(np.isfinite(near).all(axis=0))
        starts = limit.clip(limit.box(t), near[:, rows])
        keep(limit, rows, search_from(limit, t, y[rows], w[rows] if w.ndim == 2 else w, starts))
    far = np.flatnonzero(sse > free.sse * (1 + CLOSE))
    if far.size:
        for limit in form.limits:
            keep(limit, far, search(limit, t, y[far], w[far] if w.ndim == 2 else w, path=path))
    return best


def _status(form: Form, optimum: Optimum, box: np.ndarray) -> np.ndarray:
    """How the search ended (curve,)."""
    near = 1 + 1e-6
    at = {"low": optimum.rates <= box[:, :1] * near, "high": optimum.rates >= box[:, 1:] / near}
    out = np.full(optimum.sse.size, str(FitStatus.OK), dtype=STATUS_DTYPE)
    for edge in reversed(form.edges):
        out[at[edge.end][edge.rate]] = str(edge.status)
    return out
