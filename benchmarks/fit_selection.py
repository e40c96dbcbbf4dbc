"""How often each criterion finds the form that made a curve: `python benchmarks/fit_selection.py [curves a truth]`."""

from __future__ import annotations

import sys
import time

import numpy as np
import pandas as pd

from fit_truths import GRIDS, SEVEN, of_form
from massact.fit import best_form, compare_forms
from massact.fit.forms import FORMS

NOISE = 0.05


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    began = time.perf_counter()
    for size, t in GRIDS.items():
        rng = np.random.default_rng(7)
        chosen, rates = {}, {}
        for truth in SEVEN:
            made = [of_form(truth, t, rng) for _ in range(count)]
            y = np.array([curve for _, curve in made])
            y = y * (1 + NOISE * rng.standard_normal(y.shape))
            table = compare_forms(t, y, weights="relative")
            family = FORMS[made[0][0]].family
            picks = {name: best_form(table, name) for name in ("bic", "aicc", "tail_error", "r2")}
            rates[truth] = {name: float((pick["family"] == family).mean()) for name, pick in picks.items()}
            chosen[truth] = picks["bic"]["form"].value_counts()
        print(f"\n{size} points, {count} curves a truth, 5 % noise. Share in which the family is found:")
        print(pd.DataFrame(rates).T.assign(mean=None).drop(columns="mean").round(3).to_string())
        print("mean", pd.DataFrame(rates).T.mean().round(3).to_dict())
        print("Chosen by BIC (rows: truth):")
        print(pd.DataFrame(chosen).T.fillna(0).astype(int).to_string())
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
