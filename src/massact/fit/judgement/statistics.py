"""Goodness of fit, and standard errors from the full Jacobian by the delta method."""

from __future__ import annotations

import numpy as np

from massact.fit.forms import FORMS
from massact.fit.judgement.regimes import PLATEAU, may_quote, regime_of
from massact.fit.status import FitStatus

SINGULAR = 1e-13  # ratio of diagonal entries of R below which the Jacobian is singular
SETTLED = PLATEAU * np.exp(-PLATEAU)  # end slope over range below which a form without a decay has settled


def information(sse: np.ndarray, n: int, k: int) -> dict[str, np.ndarray]:
    """`aic` n log(sse/n) + 2k, `aicc` with 2k(k+1)/(n-k-1) (NaN for n <= k + 1), `bic` n log(sse/n) + k log n.

    k counts the form's parameters, not the noise variance. NaN where sse is 0.
    """
    with np.errstate(all="ignore"):
        base = n * np.log(np.where(sse > 0, sse, np.nan) / max(n, 1))
    aic = base + 2 * k
    return {
        "aic": aic,
        "aicc": aic + 2 * k * (k + 1) / (n - k - 1) if n > k + 1 else np.full_like(aic, np.nan),
        "bic": base + k * np.log(max(n, 1)),
    }


def sums_of_squares(
    form: str, values: np.ndarray, t: np.ndarray, y: np.ndarray, w: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted sums of squares (curve,): of the residuals of the drawn curve, and about the weighted mean."""
    residual = (y - FORMS[form].value(t, *(column[:, None] for column in values.T))) * w
    squares = np.broadcast_to(w**2, y.shape)
    about = (y - (np.vecdot(y, squares) / squares.sum(axis=1))[:, None]) * w
    return np.vecdot(residual, residual), np.vecdot(about, about)


def standard_errors(
    form: str, values: np.ndarray, t: np.ndarray, w: np.ndarray, sse: np.ndarray, status: np.ndarray
) -> np.ndarray:
    """Standard errors (curve, parameter), the residual variance being sse / (n - k).

    At an edge they are conditional on the rate that is fixed there, and NaN for parameters without a meaning there.
    They are NaN where the Jacobian is singular. They assume a model that is linear near the optimum: on log-rise curves
    they are far too small for gamma, t0, lambda and K.
    """
    chosen = FORMS[form]
    jacobian, rows = chosen.jacobian(values, t)
    jacobian = jacobian * w[..., None]
    sigma = np.sqrt(sse / (t.size - values.shape[1])) if t.size > values.shape[1] else np.full(sse.shape, np.nan)
    out = np.full(values.shape, np.nan)
    for ending in np.unique(status).tolist():
        curves = np.flatnonzero(status == ending)
        fixed = chosen.fixed_at.get(ending)
        free = [j for j in range(jacobian.shape[2]) if j != fixed]
        out[curves] = _delta(jacobian[curves][:, :, free], rows[curves][:, :, free]) * sigma[curves, None]
        meaningless = chosen.meaningless.get(ending, frozenset())
        for j, name in enumerate(chosen.parameters):
            if name in meaningless:
                out[curves, j] = np.nan
    with np.errstate(all="ignore"):
        out = out * np.where(chosen.relative, np.abs(values), 1.0)
    return np.where(np.isfinite(out), out, np.nan)


def judge(
    form: str,
    values: np.ndarray,
    stderr: np.ndarray,
    quantities: dict[str, np.ndarray],
    sse: np.ndarray,
    total: np.ndarray,
    n: int,
    last: float,
    status: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Regimes (curve,), and whether each parameter (curve, parameter) may be quoted."""
    k = values.shape[1]
    scale = quantities["peak_value"] - np.minimum(quantities["f_start"], quantities["f_end"])
    with np.errstate(all="ignore"):
        flat = n * np.log(total / sse) <= (k - 1) * np.log(n)
        bT = FORMS[form].slowest_rate(values) * last
        settled = np.abs(quantities["end_slope"]) <= SETTLED * scale
    bT = np.where(np.isnan(bT), np.where(settled, 2 * PLATEAU, 0.0), bT)
    constant = (status == FitStatus.CONSTANT) | (total == 0)
    peak, end = quantities["peak_value"], quantities["f_end"]
    regimes = regime_of(
        bT=bT,
        peaked=np.isfinite(quantities["peak_step"]),
        drop=peak - end,
        sigma=np.sqrt(sse / max(n - k, 1)),
        flat=flat | constant,
        at_b_zero=status == FitStatus.AT_EDGE_B_ZERO,
    )
    quoted = may_quote(form, values, stderr, scale=scale, bT=bT, regime=regimes, status=status)
    return regimes, quoted


def _delta(jacobian: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """|row R^-1| for J = QR (curve, parameter): standard errors at unit residual variance."""
    lengths = np.sqrt(np.sum(jacobian**2, axis=1))
    usable = np.all(np.isfinite(lengths) & (lengths > 0), axis=1)
    scaled = jacobian / np.where(usable[:, None], lengths, 1.0)[:, None, :]
    upper = np.asarray(np.linalg.qr(np.where(usable[:, None, None], scaled, 0.0), mode="r"))
    diagonal = np.abs(np.diagonal(upper, axis1=1, axis2=2))
    usable &= diagonal.min(axis=1) > SINGULAR * diagonal.max(axis=1)
    upper[~usable] = np.eye(upper.shape[1])
    with np.errstate(all="ignore"):
        out = np.linalg.norm(
            (rows / np.where(usable[:, None], lengths, 1.0)[:, None, :]) @ np.linalg.inv(upper), axis=2
        )
    return np.where(usable[:, None], out, np.nan)
