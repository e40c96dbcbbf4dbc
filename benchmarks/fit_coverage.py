"""Coverage of nominal 95 % intervals: `python benchmarks/fit_coverage.py [data sets a cell]`.

Truths: an early peak whose plateau is reached, a late peak, logarithmic growth. Noise is 5 % of the curve, independent
or correlated over steps, or ten input sequences of 4 % level effect and 8 % correlated noise each.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import pandas as pd

from fit_truths import GRIDS
from massact.fit import fit_many
from massact.fit.forms import FORMS, eq9_from_eq14
from massact.fit.judgement.derived import derived
from massact.fit.schemas import DERIVED

T = 143000.0
TRUTHS = {  # A1, A2, beta, tau0, K
    "early peak, bT = 9.7": [60.0, -350.0, 9.7 / T, 400.0, 20.0],
    "late peak, bT = .97": [60.0, -456.0, 0.97 / T, 2000.0, 15.0],
    "log rise, bT = .2": [40.0, -320.0, 0.2 / T, 3000.0, 10.0],
}
RESAMPLES = 200


def autoregressive(shape: tuple[int, ...], rho: float, rng: np.random.Generator) -> np.ndarray:
    """Unit noise whose correlation between neighbouring steps is rho."""
    noise = rng.standard_normal(shape)
    for i in range(1, shape[-1]):
        noise[..., i] = rho * noise[..., i - 1] + np.sqrt(1 - rho**2) * noise[..., i]
    return noise


def cell(truth: np.ndarray, kind: str, count: int, rng: np.random.Generator) -> dict[str, object]:
    """Arguments of `fit_many` for `count` data sets."""
    n = truth.size
    if kind == "sequences":
        level = 0.04 * rng.standard_normal((10, count, 1))
        sequences = truth * (1 + level + 0.08 * autoregressive((10, count, n), 0.7, rng))
        return {"values": sequences.mean(axis=0), "sequences": sequences}
    rho, how = (0.0, "residuals") if kind == "independent" else (0.5, "blocks")
    return {"values": truth * (1 + 0.05 * autoregressive((count, n), rho, rng)), "intervals": how}


def covered(out: pd.DataFrame, true: dict[str, np.ndarray]) -> dict[str, float]:
    """Share of intervals that hold the truth, by derived quantity; NaN where the truth has none."""
    shares = {}
    for name in DERIVED:
        value = float(true[name][0])
        known = out[f"{name}_lower"].notna()
        inside = (out[f"{name}_lower"] <= value) & (value <= out[f"{name}_upper"])
        shares[name] = float(inside[known].mean()) if np.isfinite(value) and known.mean() > 0.5 else np.nan
    return shares


def raw_parameters(count: int) -> pd.DataFrame:
    """Of Eq. 9's parameters: coverage by standard errors, the share the table quotes, and coverage of these."""
    rows = {}
    for size, t in GRIDS.items():
        for k, (name, parameters) in enumerate(TRUTHS.items()):
            truth, rng, found = FORMS["eq14"].value(t, *parameters), np.random.default_rng([size, k]), {}
            fits = fit_many(t, truth * (1 + 0.05 * rng.standard_normal((count, t.size))), weights=1 / truth)
            true = eq9_from_eq14(*parameters)[:5]
            for parameter, value in zip(("A", "lambda", "gamma", "t0", "K"), true, strict=True):
                near = np.abs(fits[parameter] - float(value)) <= 1.96 * fits[f"{parameter}_stderr"]
                quoted = fits[f"{parameter}_determined"]
                found[parameter] = float(near.mean())
                found[f"{parameter} quoted"] = float(quoted.mean())
                found[f"{parameter} of these"] = float(near[quoted].mean()) if quoted.any() else np.nan
            rows[size, name] = found
    return pd.DataFrame(rows).T


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    print("Raw parameters of Eq. 9, +-1.96 standard errors (no standard error counts as not covering):")
    print(raw_parameters(count).round(3).to_string(), flush=True)
    began, rows = time.perf_counter(), {}
    for size, t in GRIDS.items():
        for name, parameters in TRUTHS.items():
            truth = FORMS["eq14"].value(t, *parameters)
            true = derived("eq14", np.array([parameters]), 0.0, T)
            for kind in ("independent", "AR(.5)", "sequences"):
                rng = np.random.default_rng([size, len(rows)])
                out = fit_many(t, **cell(truth, kind, count, rng), form="eq14", weights=1 / truth, resamples=RESAMPLES)
                rows[size, name, kind] = covered(out, true)
    print(f"\n{count} data sets a cell, {RESAMPLES} resamples; {time.perf_counter() - began:.0f} s")
    print(pd.DataFrame(rows).T.round(3).to_string())


if __name__ == "__main__":
    main()
