"""The paper's forms as pure functions of the step, each followed by its analytic derivative.

All broadcast. `t` is the raw optimiser step, t >= 0. Eqs. 9 and 14 are those of arXiv 2508.03616: one curve in two
parametrisations. A `_gradient` returns df / d parameter in the order of the arguments.
"""

from __future__ import annotations

import numpy as np

from massact.fit.checks import Numbers, floats

SERIES_BELOW = 0.05  # angle below which sin(x) - x cos(x) is taken from its series


def eq9(t: Numbers, A: Numbers, lam: Numbers, gamma: Numbers, t0: Numbers, K: Numbers) -> np.ndarray:
    """f = A exp(-lam x) log(x) + K with x = gamma t + t0 (Eq. 9, arXiv 2508.03616).

    Limits: f -> K for t -> inf if lam > 0; stationary at x = exp(W(1/lam)), a maximum for A > 0. NaN where x <= 0.
    `lambda` is a Python keyword: the argument is `lam`, the table's column `lambda`.

    >>> float(eq9(0.0, A=2.0, lam=0.5, gamma=0.1, t0=1.0, K=3.0))
    3.0
    """
    t, A, lam, gamma, t0, K = floats(t, A, lam, gamma, t0, K)
    with np.errstate(all="ignore"):
        x = gamma * t + t0
        return np.asarray(A * np.exp(-lam * x) * np.log(np.where(x > 0, x, np.nan)) + K)


def eq9_gradient(
    t: Numbers, A: Numbers, lam: Numbers, gamma: Numbers, t0: Numbers, K: Numbers
) -> tuple[np.ndarray, ...]:
    """With respect to A, lam, gamma, t0, K."""
    t, A, lam, gamma, t0, K = floats(t, A, lam, gamma, t0, K)
    with np.errstate(all="ignore"):
        x = gamma * t + t0
        decay, log = np.exp(-lam * x), np.log(np.where(x > 0, x, np.nan))
        by_x = A * decay * (1 / x - lam * log)
        return floats(decay * log, -A * x * decay * log, by_x * t, by_x, np.ones_like(x + K))


def eq14(t: Numbers, A1: Numbers, A2: Numbers, beta: Numbers, tau0: Numbers, K: Numbers) -> np.ndarray:
    """f = exp(-beta t) (A1 log(t + tau0) + A2) + K (Eq. 14, arXiv 2508.03616), tau0 in steps, beta per step.

    Limits: f -> K for t -> inf if beta > 0; pure log growth at beta = 0; a critically damped step as tau0 -> inf;
    an exponential at A1 = 0. NaN where t + tau0 <= 0.

    >>> float(eq14(1.0, A1=1.0, A2=2.0, beta=0.0, tau0=0.0, K=3.0))
    5.0
    """
    t, A1, A2, beta, tau0, K = floats(t, A1, A2, beta, tau0, K)
    with np.errstate(all="ignore"):
        x = t + tau0
        return np.asarray(np.exp(-beta * t) * (A1 * np.log(np.where(x > 0, x, np.nan)) + A2) + K)


def eq14_gradient(
    t: Numbers, A1: Numbers, A2: Numbers, beta: Numbers, tau0: Numbers, K: Numbers
) -> tuple[np.ndarray, ...]:
    """With respect to A1, A2, beta, tau0, K."""
    t, A1, A2, beta, tau0, K = floats(t, A1, A2, beta, tau0, K)
    with np.errstate(all="ignore"):
        x, decay = t + tau0, np.exp(-beta * t)
        log = np.log(np.where(x > 0, x, np.nan))
        return floats(decay * log, decay, -t * decay * (A1 * log + A2), decay * A1 / x, np.ones_like(x + K))


def step1(t: Numbers, K: Numbers, tau: Numbers) -> np.ndarray:
    """f = K (1 - exp(-t / tau)), the first-order step response; tau in steps.

    Limits: f(0) = 0, so no series that starts elsewhere; f -> K for t -> inf; (K / tau) t for t << tau.

    >>> float(step1(0.0, K=2.0, tau=10.0))
    0.0
    """
    t, K, tau = floats(t, K, tau)
    with np.errstate(all="ignore"):
        return np.asarray(-K * np.expm1(-t / tau))


def step1_gradient(t: Numbers, K: Numbers, tau: Numbers) -> tuple[np.ndarray, ...]:
    """With respect to K, tau."""
    t, K, tau = floats(t, K, tau)
    with np.errstate(all="ignore"):
        return floats(-np.expm1(-t / tau), -K * t / tau**2 * np.exp(-t / tau))


def step2(t: Numbers, K: Numbers, zeta: Numbers, omega: Numbers) -> np.ndarray:
    """Second-order step response with damping `zeta` and natural frequency `omega` per step, from rest at 0 to K.

    f = K (1 - exp(-zeta s) (C + zeta s S)), s = omega t, with C = cos(s r), S = sin(s r) / (s r), r = sqrt(1 - zeta^2)
    for zeta < 1, their hyperbolic twins for zeta > 1, and C = S = 1 at zeta = 1: continuous in zeta, and without
    overflow because for zeta > 1 the growing exponential is merged with the decaying one.

    >>> step2(np.ones(1), K=1.0, zeta=1.0, omega=1.0).round(6)
    array([0.264241])
    """
    t, K, zeta, omega = floats(t, K, zeta, omega)
    with np.errstate(all="ignore"):
        s = np.asarray(omega * t)
        under, over = (step_response(s, zeta, under=side)[0] for side in (True, False))
        return np.asarray(K * np.where(zeta < 1, under, over))


def step2_gradient(t: Numbers, K: Numbers, zeta: Numbers, omega: Numbers) -> tuple[np.ndarray, ...]:
    """With respect to K, zeta, omega."""
    t, K, zeta, omega = floats(t, K, zeta, omega)
    with np.errstate(all="ignore"):
        s = np.asarray(omega * t)
        under, over = (step_response(s, zeta, under=side) for side in (True, False))
        response, slope = (np.where(zeta < 1, a, b) for a, b in zip(under, over, strict=True))
        return floats(response, K * step_response_by_zeta(s, zeta), K * slope / omega)


def step_response(s: np.ndarray, zeta: np.ndarray, *, under: bool) -> tuple[np.ndarray, ...]:
    """`step2` of K = 1 at s = omega t, and its derivative d f / d log s, for zeta < 1 (`under`) or zeta >= 1.

    d f / ds is the impulse response s exp(-zeta s) S. Meaningless numbers on the other side of zeta = 1.
    """
    if under:
        angle = np.sqrt(np.maximum(1 - zeta**2, 0.0)) * s
        decay, cosine, sine = np.exp(-zeta * s), np.cos(angle), np.sinc(angle / np.pi)
        return floats(1 - decay * (cosine + zeta * s * sine), s**2 * decay * sine)
    root = np.sqrt(np.maximum(zeta**2 - 1, 0.0))
    fast = 2 * root * s
    small = fast < 1e-8
    fallen = np.expm1(-fast)
    slow, sine = np.exp(-s / (zeta + root)), np.where(small, 1 - fast / 2, -fallen / np.where(small, 1.0, fast))
    return floats(1 - slow * (1 + fallen / 2 + zeta * s * sine), s**2 * slow * sine)


def step_response_by_zeta(s: np.ndarray, zeta: np.ndarray) -> np.ndarray:
    """D f / d zeta of `step2` of K = 1 at s = omega t: -s^3 exp(-zeta s) E.

    E = (S - C) / x^2 for zeta < 1 and (C - S) / x^2 for zeta > 1, with C, S of `step2` at the angle x; 1/3 at zeta = 1.
    """
    with np.errstate(all="ignore"):
        angle = np.sqrt(np.abs(1 - zeta**2)) * s
        square = np.where(zeta < 1, -(angle**2), angle**2)
        series = 1 / 3 + square / 30 + square**2 / 840
        safe = np.where(angle < SERIES_BELOW, 1.0, angle)
        under = (np.sin(safe) / safe - np.cos(safe)) / safe**2
        fallen = np.exp(-2 * safe)
        over = ((1 + fallen) - (1 - fallen) / safe) / (2 * safe**2)
        # For zeta > 1, C and S are given without their factor exp(x).
        growth = np.where((zeta > 1) & (angle >= SERIES_BELOW), angle, 0.0)
        root = np.sqrt(np.maximum(zeta**2 - 1, 0.0))
        slow = np.where(growth > 0, np.exp(-s / (zeta + root)), np.exp(-zeta * s))
        return np.asarray(-(s**3) * slow * np.where(angle < SERIES_BELOW, series, np.where(zeta < 1, under, over)))
