"""From the engine's optimum to the parameters of a form, finite and drawable always.

The optimum may be a limit curve (b = 0, tau0 = inf) or, for Eq. 9, need a gamma no double holds. Then the nearest curve
that the parameters can draw takes its place, with its linear parameters fitted again: rates of 0 become the least ones
searched (for Eq. 14 b = 1e-4 / T and tau0 = 1e4 T), and curves beyond the reach of the parameters are searched again in
each of the form's `limits`. The status says so.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from massact.fit.engine.search import EnginePath, Optimum, linear_fit, search_limit
from massact.fit.forms import FORMS
from massact.fit.forms.form import Form
from massact.fit.status import STATUS_DTYPE, FitStatus


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
        values[beyond] = _nearest(chosen, t, y[beyond], w[beyond] if w.ndim == 2 else w, rates[:, beyond], path)
        ended_inside = status[beyond] == str(FitStatus.OK)
        status[beyond] = np.where(ended_inside, str(chosen.limit_status), status[beyond])
    return Drawable(values, status)


def _nearest(
    form: Form, t: np.ndarray, y: np.ndarray, w: np.ndarray, rates: np.ndarray, path: EnginePath
) -> np.ndarray:
    """Parameters (curve, parameter) of the best curves in the limits of a form; `rates` are those of the optimum."""
    best, sse = np.empty((len(y), len(form.parameters))), np.full(len(y), np.inf)
    for limit in form.limits:
        found = search_limit(limit, t, y, w, rates, path=path)
        better = found.sse < sse
        best[better] = limit.parameters_of(found.a[better], found.rates[:, better], float(t[0]))
        sse[better] = found.sse[better]
    return best


def _status(form: Form, optimum: Optimum, box: np.ndarray) -> np.ndarray:
    """How the search ended (curve,)."""
    near = 1 + 1e-6
    at = {"low": optimum.rates <= box[:, :1] * near, "high": optimum.rates >= box[:, 1:] / near}
    out = np.full(optimum.sse.size, str(FitStatus.OK), dtype=STATUS_DTYPE)
    for edge in reversed(form.edges):
        out[at[edge.end][edge.rate]] = str(edge.status)
    return out
