"""Make tests/data/certified_fits.json: least-squares optima to 15 digits, by Newton's method in 60-digit arithmetic.

`python benchmarks/fit_certified.py`. The engine only gives the start; the digits are mpmath's.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np

from massact.fit import FORMS, fit_many

OUT = Path(__file__).parents[1] / "tests" / "data" / "certified_fits.json"
SHORT = np.r_[0, 2.0 ** np.arange(8), np.geomspace(128, 4096, 16).round()[1:]]
LONG = np.r_[0, 2.0 ** np.arange(10), np.arange(1000.0, 143001, 4000)]
CURVES: dict[str, Callable[..., Any]] = {
    "eq14": lambda t, A1, A2, beta, tau0, K: mp.exp(-beta * t) * (A1 * mp.log(t + tau0) + A2) + K,
    "log": lambda t, A, tau, K: A * mp.log(1 + t / tau) + K,
    "two_exp": lambda t, A1, b1, A2, b2, K: A1 * mp.exp(-b1 * t) + A2 * mp.exp(-b2 * t) + K,
    "hill": lambda t, A, h, n, K: A / (1 + (h / t) ** n) + K if t else K,
    "bump": lambda t, A, h, s, B, K: (A * mp.exp(-((mp.log(t / h) / s) ** 2) / 2) if t else 0) + B * mp.log(1 + t) + K,
    "step1": lambda t, K, tau: K * (1 - mp.exp(-t / tau)),
}
TRUTHS = [
    ("eq14, early peak", "eq14", SHORT, [60.0, -150.0, 3e-3, 30.0, 25.0], 0.02),
    ("eq14, early peak, no step 0", "eq14", SHORT[1:], [60.0, -150.0, 3e-3, 30.0, 25.0], 0.05),
    ("eq14, plateau seen", "eq14", LONG, [70.0, -330.0, 7e-5, 400.0, 20.0], 0.03),
    ("eq14, late peak", "eq14", LONG, [70.0, -400.0, 1e-5, 800.0, 20.0], 0.01),
    ("logarithm", "log", SHORT, [9.0, 40.0, 5.0], 0.03),
    ("two exponentials", "two_exp", LONG, [80.0, 2e-5, -70.0, 3e-4, 10.0], 0.02),
    ("Hill", "hill", LONG, [60.0, 2e4, 2.0, 10.0], 0.03),
    ("bump", "bump", LONG, [80.0, 2e4, 0.8, 3.0, 10.0], 0.03),
    ("first-order step", "step1", SHORT, [40.0, 300.0], 0.05),
]


def certify(form: str, t: np.ndarray, y: np.ndarray, start: list[float]) -> tuple[list[Any], Any]:
    """Parameters and SSE where the gradient of the sum of squares vanishes, in multiples of the start."""
    curve = CURVES[form]

    def sse(*share: Any) -> Any:
        p = [s * v for s, v in zip(share, start, strict=True)]
        return mp.fsum((mp.mpf(v) - curve(mp.mpf(x), *p)) ** 2 for x, v in zip(t.tolist(), y.tolist(), strict=True))

    size = len(start)
    x, h = mp.matrix([1] * size), mp.mpf(10) ** -15
    for _ in range(12):
        gradient, hessian = mp.matrix(size, 1), mp.matrix(size, size)

        def at(moved: dict[int, int], point: Any = x) -> Any:
            return sse(*[point[i] + h * moved.get(i, 0) for i in range(size)])

        middle = sse(*x)
        for i in range(size):
            up, down = at({i: 1}), at({i: -1})
            gradient[i] = (up - down) / (2 * h)
            hessian[i, i] = (up - 2 * middle + down) / h**2
            for j in range(i):
                cross = at({i: 1, j: 1}) - at({i: 1, j: -1}) - at({i: -1, j: 1}) + at({i: -1, j: -1})
                hessian[i, j] = hessian[j, i] = cross / (4 * h**2)
        step = mp.lu_solve(hessian, -gradient)
        x += step
        if max(abs(s) for s in step) < mp.mpf(10) ** -20:
            return [a * b for a, b in zip(x, start, strict=True)], sse(*x)
    raise ArithmeticError(f"{form}: no convergence")


def main() -> None:
    mp.mp.dps = 60
    rng, cases = np.random.default_rng(42), []
    for name, form, t, row, noise in TRUTHS:
        truth = FORMS[form].value(t, *row)
        y = (truth * (1 + noise * rng.standard_normal(t.size))).round(4)
        fit = fit_many(t, y[None], form=form).iloc[0]
        parameters, sse = certify(form, t, y, [float(fit[p]) for p in FORMS[form].parameters])
        cases.append(
            {
                "name": name,
                "form": form,
                "steps": t.tolist(),
                "values": y.tolist(),
                "parameters": {p: mp.nstr(v, 15) for p, v in zip(FORMS[form].parameters, parameters, strict=True)},
                "sse": mp.nstr(sse, 15),
            }
        )
        print(name, {p: float(fit[p]) / float(v) - 1 for p, v in zip(FORMS[form].parameters, parameters, strict=True)})
    OUT.write_text(json.dumps(cases, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
