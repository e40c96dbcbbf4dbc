"""Joint fits against fits of single curves on families with known rates: `python benchmarks/fit_joint.py [families]`.

A family is a model of 24 layers whose log beta and log tau0 are normal about a mean, of which two thirds of the layers
see little of their decay. Undetermined are the rates that a curve alone does not know within 25 %.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd

from fit_truths import GRIDS
from massact.fit.forms import FORMS
from massact.fit.joint import fit_joint

T, LAYERS = 143000.0, 24


def family(t: np.ndarray, rng: np.random.Generator, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Noisy curves (curve, step) and their true log beta and log tau0 (curve, 2)."""
    centre = np.log([rng.uniform(0.3, 1.5) / T, 10 ** rng.uniform(2.5, 3.7)])
    logs = centre + spread * rng.standard_normal((LAYERS, 2))
    rows = []
    for log_beta, log_tau in logs:
        A1, K = rng.uniform(20, 100), rng.uniform(5, 30)
        rows.append(
            FORMS["eq14"].value(t, A1, A1 * (rng.uniform(0, 1) - log_tau), np.exp(log_beta), np.exp(log_tau), K)
        )
    truth = np.array(rows)
    return truth * (1 + 0.05 * rng.standard_normal(truth.shape)), logs


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    for size, t in GRIDS.items():
        for spread in (0.15, 0.3, 0.6):
            rng, parts = np.random.default_rng([size, int(100 * spread)]), []
            for _ in range(count):
                y, logs = family(t, rng, spread)
                out = fit_joint(t, y, weights=1 / y.mean(axis=0))
                parts.append(out.assign(true_beta=logs[:, 0], true_tau0=logs[:, 1]))
            table = pd.concat(parts)
            for name in ("beta", "tau0"):
                unknown = ~table[f"{name}_determined_alone"]
                for which, rows in (("undetermined", table[unknown]), ("all", table)):
                    true = rows[f"true_{name}"]
                    alone, joint = (
                        float(np.sqrt(np.mean((rows[column] - true) ** 2)))
                        for column in (f"log_{name}_alone", f"log_{name}")
                    )
                    inside = (rows[f"log_{name}_lower"] <= true) & (true <= rows[f"log_{name}_upper"])
                    print(
                        f"{size:3d} points, spread {spread}, log {name:4s} {which:12s} ({len(rows):4d} curves): "
                        f"RMSE {alone:.2f} -> {joint:.2f} ({joint / alone:.2f}), coverage {inside.mean():.3f}"
                    )


if __name__ == "__main__":
    main()
