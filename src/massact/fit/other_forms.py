"""Forms beyond the paper, as pure functions of the step, each followed by its analytic derivative.

All broadcast; `t` is the raw optimiser step, t >= 0. Candidates for the same curves, from the usual vocabulary of
growth and response: none is fitted by the paper. A `_gradient` returns df / d parameter in the order of the arguments.
"""

from __future__ import annotations

import numpy as np

from massact.fit.checks import Numbers, floats


def log(t: Numbers, A: Numbers, tau: Numbers, K: Numbers) -> np.ndarray:
    """f = A log(1 + t / tau) + K: logarithmic growth from K, tau in steps.

    Limits: the line K + (A / tau) t for t << tau. Never settles: no extrapolation of it is bounded. Eq. 14 at beta = 0.

    >>> float(log(0.0, A=2.0, tau=10.0, K=3.0))
    3.0
    """
    t, A, tau, K = floats(t, A, tau, K)
    with np.errstate(all="ignore"):
        return np.asarray(A * np.log1p(t / tau) + K)


def log_gradient(t: Numbers, A: Numbers, tau: Numbers, K: Numbers) -> tuple[np.ndarray, ...]:
    """With respect to A, tau, K."""
    t, A, tau, K = floats(t, A, tau, K)
    with np.errstate(all="ignore"):
        return floats(np.log1p(t / tau), -A * t / (tau * (tau + t)), np.ones_like(t + K))


def log_decay(t: Numbers, A: Numbers, beta: Numbers, tau0: Numbers, K: Numbers) -> np.ndarray:
    """f = A exp(-beta t) log(1 + t / tau0) + K: logarithmic growth that decays back to where it began.

    Limits: f(0) = K and f -> K for t -> inf; `log` at beta = 0. Eq. 14 with A2 = -A1 log(tau0), four parameters.

    >>> float(log_decay(0.0, A=2.0, beta=0.1, tau0=10.0, K=3.0))
    3.0
    """
    t, A, beta, tau0, K = floats(t, A, beta, tau0, K)
    with np.errstate(all="ignore"):
        return np.asarray(A * np.exp(-beta * t) * np.log1p(t / tau0) + K)


def log_decay_gradient(t: Numbers, A: Numbers, beta: Numbers, tau0: Numbers, K: Numbers) -> tuple[np.ndarray, ...]:
    """With respect to A, beta, tau0, K."""
    t, A, beta, tau0, K = floats(t, A, beta, tau0, K)
    with np.errstate(all="ignore"):
        decay, growth = np.exp(-beta * t), np.log1p(t / tau0)
        shape = decay * growth
        return floats(shape, -A * t * shape, -A * decay * t / (tau0 * (tau0 + t)), np.ones_like(shape + K))


def two_exp(t: Numbers, A1: Numbers, beta1: Numbers, A2: Numbers, beta2: Numbers, K: Numbers) -> np.ndarray:
    """f = A1 exp(-beta1 t) + A2 exp(-beta2 t) + K: two relaxations, beta1 the slower, per step.

    Limits: f -> K for t -> inf; a critically damped step as beta2 -> beta1; an exponential and a line at beta1 = 0.

    >>> float(two_exp(0.0, A1=2.0, beta1=0.1, A2=-1.0, beta2=1.0, K=3.0))
    4.0
    """
    t, A1, beta1, A2, beta2, K = floats(t, A1, beta1, A2, beta2, K)
    with np.errstate(all="ignore"):
        return np.asarray(A1 * np.exp(-beta1 * t) + A2 * np.exp(-beta2 * t) + K)


def two_exp_gradient(
    t: Numbers, A1: Numbers, beta1: Numbers, A2: Numbers, beta2: Numbers, K: Numbers
) -> tuple[np.ndarray, ...]:
    """With respect to A1, beta1, A2, beta2, K."""
    t, A1, beta1, A2, beta2, K = floats(t, A1, beta1, A2, beta2, K)
    with np.errstate(all="ignore"):
        slow, fast = np.exp(-beta1 * t), np.exp(-beta2 * t)
        return floats(slow, -A1 * t * slow, fast, -A2 * t * fast, np.ones_like(slow + fast + K))


def hill(t: Numbers, A: Numbers, t_half: Numbers, n: Numbers, K: Numbers) -> np.ndarray:
    """f = A / (1 + (t_half / t)^n) + K: Hill's curve, a logistic in log t; t_half in steps (Hill 1910).

    Limits: f(0) = K, f -> A + K for t -> inf, halfway at t_half; a jump there as n -> inf.

    >>> float(hill(7.0, A=2.0, t_half=7.0, n=3.0, K=1.0))
    2.0
    """
    t, A, t_half, n, K = floats(t, A, t_half, n, K)
    return np.asarray(A * _hill(t, t_half, n)[0] + K)


def hill_gradient(t: Numbers, A: Numbers, t_half: Numbers, n: Numbers, K: Numbers) -> tuple[np.ndarray, ...]:
    """With respect to A, t_half, n, K."""
    t, A, t_half, n, K = floats(t, A, t_half, n, K)
    share, by_log, by_n = _hill(t, t_half, n)
    return floats(share, -A * n / t_half * by_log, A * by_n, np.ones_like(share + K))


def hill_decay(t: Numbers, A: Numbers, t_half: Numbers, n: Numbers, beta: Numbers, K: Numbers) -> np.ndarray:
    """f = A exp(-beta t) / (1 + (t_half / t)^n) + K: emergence as `hill`, then decay at rate beta per step.

    Limits: f(0) = K and f -> K for t -> inf; `hill` at beta = 0.

    >>> float(hill_decay(7.0, A=2.0, t_half=7.0, n=3.0, beta=0.0, K=1.0))
    2.0
    """
    t, A, t_half, n, beta, K = floats(t, A, t_half, n, beta, K)
    with np.errstate(all="ignore"):
        return np.asarray(A * np.exp(-beta * t) * _hill(t, t_half, n)[0] + K)


def hill_decay_gradient(
    t: Numbers, A: Numbers, t_half: Numbers, n: Numbers, beta: Numbers, K: Numbers
) -> tuple[np.ndarray, ...]:
    """With respect to A, t_half, n, beta, K."""
    t, A, t_half, n, beta, K = floats(t, A, t_half, n, beta, K)
    share, by_log, by_n = _hill(t, t_half, n)
    with np.errstate(all="ignore"):
        decay = np.exp(-beta * t)
        return floats(
            decay * share,
            -A * n / t_half * decay * by_log,
            A * decay * by_n,
            -A * t * decay * share,
            np.ones_like(decay * share + K),
        )


def bump(t: Numbers, A: Numbers, t_bump: Numbers, width: Numbers, B: Numbers, K: Numbers) -> np.ndarray:
    """f = A exp(-log(t / t_bump)^2 / (2 width^2)) + B log(1 + t) + K: a lognormal bump on logarithmic growth.

    t_bump in steps, width in e-folds of the step. Limits: f(0) = K; log growth alone far from t_bump.

    >>> float(bump(7.0, A=2.0, t_bump=7.0, width=1.0, B=0.0, K=1.0))
    3.0
    """
    t, A, t_bump, width, B, K = floats(t, A, t_bump, width, B, K)
    return np.asarray(A * _bump(t, t_bump, width)[0] + B * np.log1p(t) + K)


def bump_gradient(
    t: Numbers, A: Numbers, t_bump: Numbers, width: Numbers, B: Numbers, K: Numbers
) -> tuple[np.ndarray, ...]:
    """With respect to A, t_bump, width, B, K."""
    t, A, t_bump, width, B, K = floats(t, A, t_bump, width, B, K)
    shape, z = _bump(t, t_bump, width)
    one = np.ones_like(shape + B + K)
    return floats(shape, A * shape * z / (width * t_bump), A * shape * z**2 / width, np.log1p(t) * one, one)


def power(t: Numbers, A: Numbers, tau: Numbers, n: Numbers, K: Numbers) -> np.ndarray:
    """f = A (1 - (1 + t / tau)^-n) + K: saturation by a power law, tau in steps.

    Limits: f(0) = K, f -> A + K for t -> inf as t^-n; `log` as n -> 0; an exponential as n, tau -> inf together.

    >>> float(power(10.0, A=2.0, tau=10.0, n=1.0, K=1.0))
    2.0
    """
    t, A, tau, n, K = floats(t, A, tau, n, K)
    with np.errstate(all="ignore"):
        return np.asarray(-A * np.expm1(-n * np.log1p(t / tau)) + K)


def power_gradient(t: Numbers, A: Numbers, tau: Numbers, n: Numbers, K: Numbers) -> tuple[np.ndarray, ...]:
    """With respect to A, tau, n, K."""
    t, A, tau, n, K = floats(t, A, tau, n, K)
    with np.errstate(all="ignore"):
        growth = np.log1p(t / tau)
        left = np.exp(-n * growth)
        return floats(1 - left, -A * n * left * t / (tau * (tau + t)), A * left * growth, np.ones_like(left + K))


def _hill(t: np.ndarray, t_half: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, ...]:
    """Hill's share h, h (1 - h) = dh / d(n log t), and dh / dn; their limits at t = 0."""
    with np.errstate(all="ignore"):
        z = np.log(t / t_half)
        share = 1 / (1 + np.exp(-n * z))
        slope = share / (1 + np.exp(n * z))
        return floats(share, slope, np.where(slope > 0, z, 0.0) * slope)


def _bump(t: np.ndarray, t_bump: np.ndarray, width: np.ndarray) -> tuple[np.ndarray, ...]:
    """exp(-z^2 / 2) and z = log(t / t_bump) / width, 0 for both at t = 0."""
    with np.errstate(all="ignore"):
        z = np.log(t / t_bump) / width
        shape = np.exp(-(z**2) / 2)
        return floats(shape, np.where(shape > 0, z, 0.0))
