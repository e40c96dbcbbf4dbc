"""Goodness of fit, and standard errors by the delta method from the full Jacobian."""

from __future__ import annotations

import numpy as np

from massact.fit.bases import LOG_DECAY
from massact.fit.derived import slowest_rate
from massact.fit.forms import FORMS, eq14_from_eq9
from massact.fit.regimes import PLATEAU, FitStatus, may_quote, meaningless, regime_of

SINGULAR = 1e-13  # ratio of diagonal entries of R below which the Jacobian is singular
SETTLED = PLATEAU * np.exp(-PLATEAU)  # end slope over range at which a form without a rate of decay has its plateau
LOG_RATES = {"p": 3, "q": 4}  # columns of the Jacobian of Eqs. 9 and 14
FIXED_AT: dict[str, str] = {
    FitStatus.AT_EDGE_B_ZERO: "p",
    FitStatus.AT_EDGE_B_CEILING: "p",
    FitStatus.AT_EDGE_TAU_INFINITE: "q",
    FitStatus.AT_EDGE_TAU_FLOOR: "q",
}


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
    residual = (y - FORMS[form].function(t, *(column[:, None] for column in values.T))) * w
    squares = np.broadcast_to(w**2, y.shape)
    about = (y - (np.vecdot(y, squares) / squares.sum(axis=1))[:, None]) * w
    return np.vecdot(residual, residual), np.vecdot(about, about)


def standard_errors(
    form: str, values: np.ndarray, t: np.ndarray, w: np.ndarray, sse: np.ndarray, status: np.ndarray
) -> np.ndarray:
    """Standard errors (curve, parameter), the residual variance being sse / (n - k).

    At an edge they are conditional on the rate held there, and NaN for parameters without a meaning there. NaN where
    the Jacobian is singular. Linear theory: on log-rise curves they are far too small for gamma, t0, lambda and K.
    """
    jacobian, rows = (_log_decay if form in ("eq9", "eq14") else _by_parameter)(form, values, t)
    jacobian = jacobian * w[..., None]
    sigma = np.sqrt(sse / (t.size - values.shape[1])) if t.size > values.shape[1] else np.full(sse.shape, np.nan)
    out = np.full(values.shape, np.nan)
    for ending in np.unique(status).tolist():
        here = np.flatnonzero(status == ending)
        fixed = LOG_RATES[FIXED_AT[ending]] if ending in FIXED_AT and form in ("eq9", "eq14") else None
        kept = [j for j in range(jacobian.shape[2]) if j != fixed]
        out[here] = _delta(jacobian[here][:, :, kept], rows[here][:, :, kept]) * sigma[here, None]
        unusable = meaningless(form, str(ending))
        for j, name in enumerate(FORMS[form].parameters):
            if name in unusable:
                out[here, j] = np.nan
    with np.errstate(all="ignore"):
        out = out * np.where(_relative(form), np.abs(values), 1.0)
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
    """Regimes (curve,) and whether each parameter may be quoted (curve, parameter)."""
    k = values.shape[1]
    scale = quantities["peak_value"] - np.minimum(quantities["f_start"], quantities["f_end"])
    with np.errstate(all="ignore"):
        flat = n * np.log(total / sse) <= (k - 1) * np.log(n)
        bT = slowest_rate(form, values) * last
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


def _relative(form: str) -> np.ndarray:
    """Which parameters' rows are relative to the parameter, so that an extreme gamma does not overflow."""
    if form == "eq9":
        return np.array([True, True, True, True, False])
    if form == "step1" or form == "step2":
        return np.array([False] + [True] * (len(FORMS[form].parameters) - 1))
    return np.array(FORMS[form].scales)


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


def _log_decay(form: str, values: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Jacobian (curve, step, 5) in (a0, a1, a2, log p, log q) of `LogDecay`, and the parameters' rows (curve, 5, 5)."""
    A1, A2, b, tau, K = eq14_from_eq9(*values.T) if form == "eq9" else values.T
    first = float(t[0])
    with np.errstate(all="ignore"):
        grown, shifted = np.exp(b * first), tau + first  # the columns' time begins at the first step
        B1, B2 = A1 / grown, A2 / grown
        q, log_q = 1 / shifted, -np.log(shifted)
        a1 = -b * (B2 - B1 * log_q)
        a = np.stack([K - a1 / b, a1, B1 * q], axis=1)
        rates = np.stack([b, q])
        columns = LOG_DECAY.columns(t, rates)
        slopes = LOG_DECAY.slopes(t, rates, columns, a)
        shape = (len(values), t.size)
        jacobian = np.stack([np.broadcast_to(column, shape) for column in (*columns, *slopes)], axis=2)
        zero, one = np.zeros_like(b), np.ones_like(b)
        by_b, by_q = (np.stack([zero] * j + [one] + [zero] * (4 - j), axis=1) for j in (3, 4))
        row_B1 = np.stack([zero, zero, shifted, zero, -B1], axis=1)
        row_B2 = np.stack([zero, -1 / b, log_q * shifted, a1 / b, B1 * (1 - log_q)], axis=1)
        row_K = np.stack([one, 1 / b, zero, -a1 / b, zero], axis=1)
        row_tau = -(shifted / tau)[:, None] * by_q
        if form == "eq14":
            row_A1, row_A2 = (
                grown[:, None] * row + (A * b * first)[:, None] * by_b for row, A in ((row_B1, A1), (row_B2, A2))
            )
            return jacobian, np.stack([row_A1, row_A2, by_b, row_tau, row_K], axis=1)
        row_c = (row_B2 - (B2 / B1)[:, None] * row_B1) / B1[:, None]
        row_A = row_B1 / B1[:, None] + (b * shifted)[:, None] * (by_b - by_q)
        return jacobian, np.stack([row_A, by_b - row_c, row_c, row_c + row_tau, row_K], axis=1)


def _by_parameter(form: str, values: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Jacobian in the parameters, or the logarithm where they are `_relative`; rows are the identity."""
    scale = np.where(_relative(form), values, 1.0)
    gradient = FORMS[form].gradient(t, *values.T[:, :, None])
    shape = (len(values), t.size)
    jacobian = np.stack([np.broadcast_to(part, shape) for part in gradient], axis=2) * scale[:, None, :]
    size = values.shape[1]
    return jacobian, np.broadcast_to(np.eye(size), (len(values), size, size))
