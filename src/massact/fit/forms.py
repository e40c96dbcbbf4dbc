"""The fitted forms, as pure functions of the step and their parameters.

All broadcast. `t` is the raw optimiser step, t >= 0. Eqs. 9 and 14 are those of arXiv 2508.03616; they are one curve in
two parametrisations, and `eq14_from_eq9` and `eq9_from_eq14` go from one to the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from massact.errors import FitError
from massact.fit.checks import Numbers
from massact.fit.table import FORM_PARAMETERS

LARGEST_EXPONENT = 700.0  # exp() of more overflows a double


class Eq9(NamedTuple):
    """Parameters of Eq. 9 as arrays; `determined` is False where gamma is not a number a double can hold."""

    A: np.ndarray
    lam: np.ndarray
    gamma: np.ndarray
    t0: np.ndarray
    K: np.ndarray
    log_gamma: np.ndarray
    determined: np.ndarray


class Eq14(NamedTuple):
    """Parameters of Eq. 14 as arrays."""

    A1: np.ndarray
    A2: np.ndarray
    beta: np.ndarray
    tau0: np.ndarray
    K: np.ndarray


def eq9(t: Numbers, A: Numbers, lam: Numbers, gamma: Numbers, t0: Numbers, K: Numbers) -> np.ndarray:
    """f = A exp(-lam x) log(x) + K with x = gamma t + t0 (Eq. 9, arXiv 2508.03616).

    Limits: f -> K for t -> inf if lam > 0; stationary at x = exp(W(1/lam)), a maximum for A > 0. NaN where x <= 0.
    `lambda` is a Python keyword: the argument is `lam`, the table's column `lambda`.

    >>> float(eq9(0.0, A=2.0, lam=0.5, gamma=0.1, t0=1.0, K=3.0))
    3.0
    """
    t, A, lam, gamma, t0, K = _floats(t, A, lam, gamma, t0, K)
    with np.errstate(all="ignore"):
        x = gamma * t + t0
        return np.asarray(A * np.exp(-lam * x) * np.log(np.where(x > 0, x, np.nan)) + K)


def eq14(t: Numbers, A1: Numbers, A2: Numbers, beta: Numbers, tau0: Numbers, K: Numbers) -> np.ndarray:
    """f = exp(-beta t) (A1 log(t + tau0) + A2) + K (Eq. 14, arXiv 2508.03616), tau0 in steps, beta per step.

    Limits: f -> K for t -> inf if beta > 0; pure log growth at beta = 0; a critically damped step as tau0 -> inf;
    an exponential at A1 = 0. NaN where t + tau0 <= 0.

    >>> float(eq14(1.0, A1=1.0, A2=2.0, beta=0.0, tau0=0.0, K=3.0))
    5.0
    """
    t, A1, A2, beta, tau0, K = _floats(t, A1, A2, beta, tau0, K)
    with np.errstate(all="ignore"):
        x = t + tau0
        return np.asarray(np.exp(-beta * t) * (A1 * np.log(np.where(x > 0, x, np.nan)) + A2) + K)


def step1(t: Numbers, K: Numbers, tau: Numbers) -> np.ndarray:
    """f = K (1 - exp(-t / tau)), the first-order step response; tau in steps.

    Limits: f(0) = 0, so no series that starts elsewhere; f -> K for t -> inf; (K / tau) t for t << tau.

    >>> float(step1(0.0, K=2.0, tau=10.0))
    0.0
    """
    t, K, tau = _floats(t, K, tau)
    with np.errstate(all="ignore"):
        return np.asarray(-K * np.expm1(-t / tau))


def step2(t: Numbers, K: Numbers, zeta: Numbers, omega: Numbers) -> np.ndarray:
    """Second-order step response with damping `zeta` and natural frequency `omega` per step, from rest at 0 to K.

    f = K (1 - exp(-zeta s) (C + zeta s S)), s = omega t, with C = cos(s r), S = sin(s r) / (s r), r = sqrt(1 - zeta^2)
    for zeta < 1, their hyperbolic twins for zeta > 1, and C = S = 1 at zeta = 1: continuous in zeta, and without
    overflow because for zeta > 1 the growing exponential is merged with the decaying one.

    >>> step2(np.ones(1), K=1.0, zeta=1.0, omega=1.0).round(6)
    array([0.264241])
    """
    t, K, zeta, omega = _floats(t, K, zeta, omega)
    with np.errstate(all="ignore"):
        s = omega * t
        under, over = (step_response(s, zeta, under=side)[0] for side in (True, False))
        return np.asarray(K * np.where(zeta < 1, under, over))


def step_response(s: np.ndarray, zeta: np.ndarray, *, under: bool) -> tuple[np.ndarray, np.ndarray]:
    """`step2` of K = 1 at s = omega t, and its derivative d f / d log s, for zeta < 1 (`under`) or zeta >= 1.

    d f / ds is the impulse response s exp(-zeta s) S. Meaningless numbers on the other side of zeta = 1.
    """
    if under:
        angle = np.sqrt(np.maximum(1 - zeta**2, 0.0)) * s
        decay, cosine, sine = np.exp(-zeta * s), np.cos(angle), np.sinc(angle / np.pi)
        return 1 - decay * (cosine + zeta * s * sine), s**2 * decay * sine
    root = np.sqrt(np.maximum(zeta**2 - 1, 0.0))
    fast = 2 * root * s
    small = fast < 1e-8
    fallen = np.expm1(-fast)
    slow, sine = np.exp(-s / (zeta + root)), np.where(small, 1 - fast / 2, -fallen / np.where(small, 1.0, fast))
    return 1 - slow * (1 + fallen / 2 + zeta * s * sine), s**2 * slow * sine


def eq14_from_eq9(A: Numbers, lam: Numbers, gamma: Numbers, t0: Numbers, K: Numbers) -> Eq14:
    """Eq. 14's parameters of the same curve.

    beta = lam gamma, tau0 = t0 / gamma, A1 = A e^{-lam t0}, A2 = A1 log gamma.
    Exact for gamma > 0 (Appendix of arXiv 2508.03616).
    """
    A, lam, gamma, t0, K = _floats(A, lam, gamma, t0, K)
    with np.errstate(all="ignore"):
        A1 = A * np.exp(-lam * t0)
        return Eq14(A1, A1 * np.log(gamma), lam * gamma, t0 / gamma, K)


def eq9_from_eq14(A1: Numbers, A2: Numbers, beta: Numbers, tau0: Numbers, K: Numbers) -> Eq9:
    """Eq. 9's parameters of the same curve.

    log gamma = A2 / A1, lam = beta / gamma, t0 = gamma tau0, A = A1 e^{lam t0}.
    Exact while |A2 / A1| and beta tau0 are at most 700. Beyond, gamma, lam, t0 or A are inf or 0 and Eq. 9 cannot draw
    the curve: `determined` is False there and `log_gamma` still says which way.
    """
    A1, A2, beta, tau0, K = _floats(A1, A2, beta, tau0, K)
    with np.errstate(all="ignore"):
        log_gamma = A2 / A1
        gamma = np.exp(log_gamma)
        out = (A1 * np.exp(beta * tau0), beta * np.exp(-log_gamma), gamma, gamma * tau0, K)
        held = (np.abs(log_gamma) <= LARGEST_EXPONENT) & (np.abs(beta * tau0) <= LARGEST_EXPONENT)
        for value in out:
            held = held & np.isfinite(value)
        return Eq9(*out, log_gamma, held)


@dataclass(frozen=True)
class Form:
    """A form: its name, its parameters in the order of the table and of `function` after t, and its formula."""

    name: str
    function: Callable[..., np.ndarray]
    formula: str

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names as in the table of fits."""
        return FORM_PARAMETERS[self.name]

    @property
    def arguments(self) -> tuple[str, ...]:
        """Names as Python identifiers: `lambda` becomes `lam`."""
        return tuple("lam" if name == "lambda" else name for name in self.parameters)


FORMS: dict[str, Form] = {
    "eq9": Form("eq9", eq9, "A exp(-lambda x) log(x) + K, x = gamma t + t0"),
    "eq14": Form("eq14", eq14, "exp(-beta t) (A1 log(t + tau0) + A2) + K"),
    "step1": Form("step1", step1, "K (1 - exp(-t / tau))"),
    "step2": Form("step2", step2, "second-order step response with K, zeta, omega"),
}


def get_form(name: str) -> Form:
    """The form of that name.

    Raises
    ------
    FitError
        Unknown name; the nearest known one is named.
    """
    if name not in FORMS:
        near = get_close_matches(str(name).lower(), FORMS, n=1, cutoff=0.0)
        raise FitError(f"'{name}' is not a form", f"did you mean '{near[0]}'? known: {', '.join(FORMS)}")
    return FORMS[name]


def curve_values(form: str, parameters: Mapping[str, Any] | pd.Series, t: Numbers) -> np.ndarray:
    """The curve of one row of a table of fits at steps t: an array of t's shape, NaN where the fit failed.

    `parameters` may be the whole row: other keys are ignored. A row's parameters always draw the curve whose `sse` the
    row states, also where the best curve lies at an edge and the parameters are not determined.

    Raises
    ------
    FitError
        Unknown form, or a parameter missing.
    """
    chosen = get_form(form)
    missing = [name for name in chosen.parameters if name not in parameters]
    if missing:
        raise FitError(f"no value for {', '.join(missing)} of form '{form}'", "pass a row of a table of this form")
    return chosen.function(t, *(np.asarray(parameters[name], dtype=float) for name in chosen.parameters))


def _floats(*values: Numbers) -> tuple[np.ndarray, ...]:
    return tuple(np.asarray(value, dtype=float) for value in values)
