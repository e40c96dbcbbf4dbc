"""The fitted forms by name, and the exact conversion between the paper's two parametrisations of one curve.

The functions and their derivatives are in `paper_forms` and `other_forms`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from massact.errors import FitError
from massact.fit import other_forms as other
from massact.fit import paper_forms as paper
from massact.fit.checks import Numbers, as_floats, floats
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


def eq14_from_eq9(A: Numbers, lam: Numbers, gamma: Numbers, t0: Numbers, K: Numbers) -> Eq14:
    """Eq. 14's parameters of the same curve.

    beta = lam gamma, tau0 = t0 / gamma, A1 = A e^{-lam t0}, A2 = A1 log gamma.
    Exact for gamma > 0 (Appendix of arXiv 2508.03616).
    """
    A, lam, gamma, t0, K = floats(A, lam, gamma, t0, K)
    with np.errstate(all="ignore"):
        A1 = A * np.exp(-lam * t0)
        return Eq14(A1, A1 * np.log(gamma), lam * gamma, t0 / gamma, K)


def eq9_from_eq14(A1: Numbers, A2: Numbers, beta: Numbers, tau0: Numbers, K: Numbers) -> Eq9:
    """Eq. 9's parameters of the same curve.

    log gamma = A2 / A1, lam = beta / gamma, t0 = gamma tau0, A = A1 e^{lam t0}.
    Exact while |A2 / A1| and beta tau0 are at most 700. Beyond, gamma, lam, t0 or A are inf or 0 and Eq. 9 cannot draw
    the curve: `determined` is False there and `log_gamma` still says which way.
    """
    A1, A2, beta, tau0, K = floats(A1, A2, beta, tau0, K)
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
    """A form: its name, its parameters in the order of the table and of `function` after t, and its formula.

    `gradient` takes what `function` takes and returns the derivative with respect to each parameter. `shift` says that
    a constant is one of its curves, `signed` which parameters may be negative: the others are scales.
    """

    name: str
    function: Callable[..., np.ndarray]
    gradient: Callable[..., tuple[np.ndarray, ...]]
    formula: str
    shift: bool = True

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names as in the table of fits."""
        return FORM_PARAMETERS[self.name]

    @property
    def arguments(self) -> tuple[str, ...]:
        """Names as Python identifiers: `lambda` becomes `lam`."""
        return tuple("lam" if name == "lambda" else name for name in self.parameters)

    @property
    def scales(self) -> tuple[bool, ...]:
        """Whether each parameter is positive and compared by ratios."""
        return tuple(name not in SIGNED for name in self.parameters)


SIGNED = frozenset({"A", "A1", "A2", "B", "K"})
FORMS: dict[str, Form] = {
    form.name: form
    for form in (
        Form("eq9", paper.eq9, paper.eq9_gradient, "A exp(-lambda x) log(x) + K, x = gamma t + t0"),
        Form("eq14", paper.eq14, paper.eq14_gradient, "exp(-beta t) (A1 log(t + tau0) + A2) + K"),
        Form("step1", paper.step1, paper.step1_gradient, "K (1 - exp(-t / tau))", shift=False),
        Form("step2", paper.step2, paper.step2_gradient, "second-order step response with K, zeta, omega", shift=False),
        Form("log", other.log, other.log_gradient, "A log(1 + t / tau) + K"),
        Form("log_decay", other.log_decay, other.log_decay_gradient, "A exp(-beta t) log(1 + t / tau0) + K"),
        Form("two_exp", other.two_exp, other.two_exp_gradient, "A1 exp(-beta1 t) + A2 exp(-beta2 t) + K"),
        Form("hill", other.hill, other.hill_gradient, "A / (1 + (t_half / t)^n) + K"),
        Form("hill_decay", other.hill_decay, other.hill_decay_gradient, "A exp(-beta t) / (1 + (t_half / t)^n) + K"),
        Form("bump", other.bump, other.bump_gradient, "A exp(-log(t / t_bump)^2 / (2 width^2)) + B log(1 + t) + K"),
        Form("power", other.power, other.power_gradient, "A (1 - (1 + t / tau)^-n) + K"),
    )
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
        Unknown form, a parameter missing, or what is no number.
    """
    chosen = get_form(form)
    missing = [name for name in chosen.parameters if name not in parameters]
    if missing:
        raise FitError(f"no value for {', '.join(missing)} of form '{form}'", "pass a row of a table of this form")
    given = (as_floats(parameters[name], f"parameter {name}") for name in chosen.parameters)
    return chosen.function(as_floats(t, "t"), *given)
