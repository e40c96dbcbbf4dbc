"""The engine's SSE beside that of other methods on synthetic curves: `python benchmarks/fit_accuracy.py [out.npz]`.

Best known is the lowest SSE of any method here, of the engine on a scan three times as fine among them. Methods that
take seconds a curve run on every eighth curve; their row says on how many. A method's SSE is of Eq. 14 with tau0 at
least the engine's floor: below it tau0 fits the single point t = 0 and nothing else.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

import numpy as np
from scipy.optimize import curve_fit, differential_evolution, least_squares

from fit_truths import GRIDS, awkward, regular
from massact.fit import fit_many
from massact.fit.engine.refine import refine
from massact.fit.engine.scan import make_scan, starts
from massact.fit.engine.search import linear_fit, normalised
from massact.fit.forms.eq9 import eq9, eq9_gradient
from massact.fit.forms.eq14 import EQ14, ModulatedLog, eq14, eq14_gradient, tau_floor

SLOW_EVERY = 8


class Fine(ModulatedLog):
    """Eq. 14 on a finer scan."""

    per_decade = (18, 18)


FINE = Fine()


def dense(t: np.ndarray, y: np.ndarray) -> float:
    """Every minimum of a fine scan, all refined."""
    w = np.ones(t.size)
    target = normalised(FINE, y[None], w)
    best = np.inf
    for shift in (1.0, 0.97):
        begun = starts(make_scan(FINE, t, w), target.y)
        found = refine(FINE, t, w, np.repeat(target.y, begun.curve.size, axis=0), begun.rates * shift)
        best = min(best, float(found.sse.min()) * float(target.size[0, 0]) ** 2)
    return best


def lmfit_ten(t: np.ndarray, y: np.ndarray, starts_: int = 10) -> float:
    """lmfit's leastsq on Eq. 9 with positive scales, the best of ten random starts."""
    from lmfit import Model, Parameters

    model, rng, best = Model(eq9, independent_vars=["t"], nan_policy="omit"), np.random.default_rng(0), np.inf
    for _ in range(starts_):
        span, start = 10 ** rng.uniform(-4, 0), Parameters()
        gamma = 1 / (t[-1] * span)
        start.add("A", np.ptp(y) * rng.uniform(0.3, 2))
        start.add("lam", 10 ** rng.uniform(-4, 0), min=1e-12)
        start.add("gamma", gamma, min=1e-15)
        start.add("t0", 10 ** rng.uniform(-2, 0.5), min=1e-9)
        start.add("K", rng.choice([y.min(), y.mean(), y[-1]]))
        try:
            result = model.fit(y, start, t=t)
        except ValueError:
            continue
        p = result.params
        if p["t0"].value / p["gamma"].value >= tau_floor(t):
            best = min(best, float(np.sum((y - eq9(t, *p.valuesdict().values())) ** 2)))
    return best


def paper(t: np.ndarray, y: np.ndarray) -> float:
    """The paper's: curve_fit (TRF) with the analytic Jacobian on normalised steps and values, one start, lambda > 0."""
    low, span = y.min(), np.ptp(y) or 1.0
    floor, z, t = tau_floor(t) / t[-1], (y - low) / span, t / t[-1]
    start = [1.0, 1 / t.std(), 1 / np.ptp(t), 1.0, 0.5]
    try:
        found, _ = curve_fit(
            eq9,
            t,
            z,
            start,
            jac=lambda t, *p: np.stack([np.broadcast_to(part, t.shape) for part in eq9_gradient(t, *p)], axis=1),
            bounds=([-np.inf, 1e-12, 1e-12, 1e-9, -np.inf], np.inf),
            maxfev=10_000,
        )
    except (RuntimeError, ValueError):
        return np.inf
    if found[3] / found[2] < floor:
        return np.inf
    return float(np.sum((z - eq9(t, *found)) ** 2)) * span**2


def varpro(t: np.ndarray, y: np.ndarray) -> float:
    """scipy's least_squares (TRF) on the two rates, five starts."""
    w, box, rng, best = np.ones(t.size), EQ14.box(t), np.random.default_rng(0), np.inf

    def residual(logs: np.ndarray) -> np.ndarray:
        rates = np.exp(logs)[:, None]
        a, _ = linear_fit(EQ14, t, y[None], w, rates)
        return y - sum(a[0, j] * column[0] for j, column in enumerate(EQ14.columns(t, rates)))

    for _ in range(5):
        start = rng.uniform(np.log(10 * box[:, 0]), np.log(box[:, 1]))
        found = least_squares(residual, start, bounds=(np.log(box[:, 0]), np.log(box[:, 1])))
        best = min(best, 2 * float(found.cost))
    return best


def evolution(t: np.ndarray, y: np.ndarray) -> float:
    """scipy's differential evolution on Eq. 14's five parameters, polished by TRF."""
    box, span = EQ14.box(t), np.ptp(y) or 1.0
    bounds = [
        (-20 * span, 20 * span),
        (-200 * span, 200 * span),
        tuple(np.log(box[0])),
        (np.log(tau_floor(t)), np.log(1e4 * t[-1])),
        (y.min() - 20 * span, y.max() + 20 * span),
    ]

    def split(x: np.ndarray) -> list[float]:
        return [x[0], x[1], np.exp(x[2]), np.exp(x[3]), x[4]]

    def cost(x: np.ndarray) -> float:
        return float(np.sum((y - eq14(t, *split(x))) ** 2))

    def jacobian(x: np.ndarray) -> np.ndarray:
        p = split(x)
        by = [np.broadcast_to(part, t.shape) for part in eq14_gradient(t, *p)]
        return -np.stack([by[0], by[1], by[2] * p[2], by[3] * p[3], by[4]], axis=1)

    found = differential_evolution(cost, bounds, seed=0, maxiter=300, tol=1e-8, polish=False)
    low, high = np.array(bounds).T
    again = least_squares(
        lambda x: y - eq14(t, *split(x)), np.clip(found.x, low, high), jac=jacobian, bounds=(low, high), x_scale="jac"
    )
    return min(float(found.fun), 2 * float(again.cost))


def engine(t: np.ndarray, y: np.ndarray, path: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """SSE, status and regime (curve,) of `fit_many`."""
    out = fit_many(t, y, form="eq14", path=path)
    return tuple(out[name].to_numpy() for name in ("sse", "status", "regime"))


SLOW: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "lmfit, ten starts": lmfit_ten,
    "scipy differential evolution": evolution,
}
QUICK: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "the paper's curve_fit, one start": paper,
    "scipy VarPro, five starts": varpro,
}


def sets() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Steps and curves by the name of their kind."""
    out = {}
    for size, t in GRIDS.items():
        rng = np.random.default_rng(size)
        out[f"regular, {size}"] = (t, regular(104, t, rng, (0.03, 0.1)))
        out |= {f"{name}, {size}": curves for name, curves in awkward(t, rng).items()}
    return out


def main() -> None:
    warnings.simplefilter("ignore")
    rows: dict[str, list[tuple[float, bool, bool, bool]]] = {}
    seconds: dict[str, float] = {}
    number = 0
    for kind, (t, y) in sets().items():
        regular_ = kind.startswith("regular")
        results = {f"massact, {path}": engine(t, y, path) for path in ("numba", "numpy")}
        for i, curve in enumerate(y):
            sse = {name: float(result[0][i]) for name, result in results.items()}
            for result in results.values():
                assert np.isfinite(result[0][i]) and result[2][i] in (
                    "plateau_seen", "peak_without_plateau", "log_rise", "flat"
                )  # fmt: skip
            methods = QUICK | (SLOW if number % SLOW_EVERY == 0 else {})
            for name, method in methods.items():
                began = time.perf_counter()
                sse[name] = method(t, curve)
                seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - began
            best = min([dense(t, curve), *(value for value in sse.values() if np.isfinite(value))])
            scale = best + 1e-12 * np.var(curve) * t.size
            interior = results["massact, numba"][1][i] == "ok"
            for name, value in sse.items():
                excess = (value - best) / scale
                rows.setdefault(name, []).append((excess, regular_, interior, "8 points" in kind or "zero" in kind))
            number += 1
    print(f"{number} curves. Share within 1e-3 of the best SSE known, and within 1e-6 at interior optima:")
    print(
        f"{'method':34s} {'curves':>6s} {'regular':>8s} {'awkward':>8s} {'interior':>9s} {'none':>6s} {'s/curve':>8s}"
    )
    for name, found in rows.items():
        excess = np.array([row[0] for row in found])
        kind = np.array([row[1] for row in found])
        inside = np.array([row[2] for row in found])
        within = excess <= 1e-3
        print(
            f"{name:34s} {len(found):6d} {within[kind].mean():8.3f} {within[~kind].mean():8.3f} "
            f"{(excess[inside] <= 1e-6).mean():9.3f} {np.mean(~np.isfinite(excess)):6.3f} "
            f"{seconds.get(name, np.nan) / len(found):8.3f}"
        )
        if name.startswith("massact"):
            print(f"    worst excess: regular {excess[kind].max():.1e}, awkward {excess[~kind].max():.1e}")
            print(f"    regular and interior: {(excess[kind & inside] <= 1e-6).mean():.4f} of {np.sum(kind & inside)}")


if __name__ == "__main__":
    main()
