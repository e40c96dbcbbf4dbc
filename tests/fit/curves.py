"""Synthetic series like those of real trainings."""

from __future__ import annotations

import numpy as np

from massact.fit.forms.eq14 import eq14

SHORT = np.r_[0, 2.0 ** np.arange(8), np.geomspace(128, 4096, 16).round()[1:]]  # 24 steps, to 128 by doubling
PYTHIA = np.r_[0, 2.0 ** np.arange(10), np.arange(1000.0, 143001, 1000)]  # the 154 steps of the Hub
KINDS = ("early peak", "late peak", "log rise", "fall")


def true_parameters(kind: str, last: float, rng: np.random.Generator) -> tuple[float, float, float, float, float]:
    """(A1, A2, beta, tau0, K) of a random curve of a kind on [0, last]."""
    low, high = {"early peak": (3, 20), "late peak": (0.5, 3), "log rise": (0.001, 0.3), "fall": (0.5, 20)}[kind]
    beta, tau = rng.uniform(low, high) / last, last * 10 ** rng.uniform(-3, -1)
    if kind == "fall":
        A1 = -rng.uniform(20, 100)
        return A1, -A1 * np.log(last + tau), beta, tau, rng.uniform(5, 50)
    A1 = rng.uniform(20, 200)
    return A1, A1 * (rng.uniform(0, 1) - np.log(tau)), beta, tau, rng.uniform(5, 50)


def series(
    t: np.ndarray, count: int, *, noise: float = 0.05, seed: int = 0, kinds: tuple[str, ...] = KINDS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True values and noisy ones (curve, step), and the true parameters of Eq. 14 (curve, 5); kinds alternate."""
    rng = np.random.default_rng(seed)
    parameters = np.array([true_parameters(kinds[i % len(kinds)], t[-1], rng) for i in range(count)])
    truth = eq14(t, *parameters.T[:, :, None])
    return truth, truth * (1 + noise * rng.standard_normal(truth.shape)), parameters
