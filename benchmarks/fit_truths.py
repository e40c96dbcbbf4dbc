"""Synthetic truths for the benchmarks of `massact.fit`: one seed gives one set, and every set is made here."""

from __future__ import annotations

import numpy as np

from massact.fit.forms import FORMS

PYTHIA = np.r_[0, 2.0 ** np.arange(10), np.arange(1000.0, 143001, 1000)]  # the Hub's 154 steps
FORTY = np.r_[0, 2.0 ** np.arange(10), np.linspace(1000, 143000, 29).round()]  # 40 of about the paper's spacing
T = 143000.0
GRIDS = {154: PYTHIA, 40: FORTY}
SEVEN = ("eq9 peak", "eq9 log", "two_exp", "hill", "hill_decay", "bump", "power")


def eq14_parameters(kind: str, rng: np.random.Generator) -> list[float]:
    """A1, A2, beta, tau0, K of a curve of Eq. 14 of one of the paper's two classes, or an awkward one."""
    A1, tau, K = rng.uniform(20, 200), 10 ** rng.uniform(2.0, 4.0), rng.uniform(5, 50)
    low, high = {"early peak": (3, 20), "late peak": (0.5, 2), "log rise": (0.001, 0.3), "fall": (1, 20)}[kind]
    beta = rng.uniform(low, high) / T
    if kind == "fall":
        return [-A1, A1 * np.log(T + tau), beta, tau, K]
    return [A1, A1 * (rng.uniform(0, 1) - np.log(tau)), beta, tau, K]


def regular(count: int, t: np.ndarray, rng: np.random.Generator, noise: tuple[float, float]) -> np.ndarray:
    """`count` noisy curves (curve, step): early and late peaks and log rises, noise in proportion to the curve."""
    kinds = ("early peak", "early peak", "late peak", "log rise")
    rows = [FORMS["eq14"].value(t, *eq14_parameters(kinds[i % 4], rng)) for i in range(count)]
    sigma = rng.uniform(*noise, (count, 1))
    return np.array(rows) * (1 + sigma * rng.standard_normal((count, t.size)))


def awkward(t: np.ndarray, rng: np.random.Generator) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Curves that break fitting programs, eight of each kind: steps and values (curve, step)."""
    few = t[np.unique(np.linspace(0, t.size - 1, 8).round().astype(int))]
    flat = rng.uniform(10, 100, (8, 1)) * (1 + 0.05 * rng.standard_normal((8, t.size)))
    fall = np.array([FORMS["eq14"].value(t, *eq14_parameters("fall", rng)) for _ in range(8)])
    fall *= 1 + 0.05 * rng.standard_normal(fall.shape)
    outlier = regular(8, t, rng, (0.05, 0.05))
    outlier[np.arange(8), rng.integers(5, t.size - 5, 8)] *= 6
    zero = regular(8, t, rng, (0.05, 0.05))
    zero[:, 0] = 0.0
    late = np.array([FORMS["eq14"].value(t, *eq14_parameters("late peak", rng)) for _ in range(8)])
    late *= 1 + 0.05 * rng.standard_normal(late.shape)
    return {
        "flat": (t, flat),
        "monotone fall": (t, fall),
        "one outlier": (t, outlier),
        "8 points": (few, regular(8, few, rng, (0.05, 0.05))),
        "zero at t=0": (t, zero),
        "late peak": (t, late),
    }


def of_form(truth: str, t: np.ndarray, rng: np.random.Generator) -> tuple[str, np.ndarray]:
    """The form and one curve (step,) of one of the `SEVEN` truths, with values between about 5 and 250."""
    K, A = rng.uniform(5, 30), rng.uniform(50, 200)
    if truth == "eq9 peak":
        row = eq14_parameters("early peak", rng)
        return "eq9", FORMS["eq14"].value(t, *row)
    if truth == "eq9 log":
        tau = 10 ** rng.uniform(2.0, 4.0)
        row = [A / np.log1p(T / tau), rng.uniform(0.05, 0.3) / T, tau, K]
        return "log_decay", FORMS["log_decay"].value(t, *row)
    if truth == "two_exp":
        slow = rng.uniform(2, 8) / T
        return truth, FORMS[truth].value(t, A, slow, -A, slow * 10 ** rng.uniform(0.8, 1.6), K)
    if truth == "hill":
        return truth, FORMS[truth].value(t, A, T * 10 ** rng.uniform(-1.5, -0.5), rng.uniform(1.5, 4), K)
    if truth == "hill_decay":
        row = [A, T * 10 ** rng.uniform(-2, -1), rng.uniform(1.5, 4), rng.uniform(1, 4) / T, K]
        return truth, FORMS[truth].value(t, *row)
    if truth == "bump":
        row = [A, T * 10 ** rng.uniform(-1.5, -0.5), rng.uniform(0.5, 1.2), A * rng.uniform(0.02, 0.1), K]
        return truth, FORMS[truth].value(t, *row)
    # n from 2: at n = 1 the curve is Hill's with n = 1, and none could tell them apart.
    return truth, FORMS["power"].value(t, A, 10 ** rng.uniform(2.5, 4), rng.uniform(2, 5), K)
