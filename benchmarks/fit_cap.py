"""Eq. 9 against Eq. 14, and both against denser searches: the shipped curves, and made-up ones on three sets of steps.

    python benchmarks/fit_cap.py

The two forms are one family, but Eq. 9 can only draw curves whose |log gamma| is at most 600. Where it ends more than
1e-3 above Eq. 14, the nearest curve at that cap is looked for on a dense grid; so the rest of the gap is the cap's.
Made-up truths: sigmoids and bumps in log t, which are not of the family, log rises with and without decay, lines,
exponentials, with noise of .1 to 10 % of the amplitude.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from fit_truths import PYTHIA
from massact.fit import fit_many
from massact.fit.engine.refine import refine
from massact.fit.engine.search import linear_fit, normalised, search
from massact.fit.forms import FORMS
from massact.fit.forms.eq14 import Eq14

WORSE = 1e-3


class DenseEq14(Eq14):
    """Eq. 14 on a scan of ten times as many nodes."""

    per_decade = (30, 12)


def shipped(root: Path) -> tuple[np.ndarray, np.ndarray]:
    from massact.tables import read_table
    from massact.trajectories import RECORDS, aggregate

    table = aggregate(read_table(root / "data/trajectories/nano.parquet", RECORDS))
    curves = table.pivot_table(index=["model", "seed", "layer", "quantity"], columns="step", values="value").dropna()
    return curves.columns.to_numpy(dtype=float), curves.to_numpy()


def truths(t: np.ndarray, count: int, seed: int) -> np.ndarray:
    rng, last, after = np.random.default_rng(seed), t[-1], np.maximum(t, 1e-9)
    rows = []
    for number in range(count):
        size, level, noise = rng.lognormal(3, 1), rng.lognormal(2, 1), 10 ** rng.uniform(-3, -1)
        middle = last * 10 ** rng.uniform(-2.5, -0.3)
        kind = number % 6
        if kind == 0:
            curve = 1 / (1 + (middle / after) ** rng.uniform(1, 8))
        elif kind == 1:
            curve = np.exp(-(np.log(after / middle) ** 2) / 2 / rng.uniform(0.3, 1.5) ** 2)
            curve = curve + 0.2 * np.log1p(t) / np.log1p(last) * rng.integers(2)
        elif kind == 2:
            curve = np.log1p(t / (last * 10 ** rng.uniform(-3, 0))) * np.exp(-t / last * 10 ** rng.uniform(-2, 0.3))
        elif kind == 3:
            curve = np.log1p(t / (last * 10 ** rng.uniform(-3, 0))) + rng.normal() * t / last
        elif kind == 4:
            curve = 1 - np.exp(-t / last * 10 ** rng.uniform(-1, 1.5))
        else:
            curve = np.exp(-t / last * 10 ** rng.uniform(0, 2)) * np.log1p(t / (last * 10 ** rng.uniform(-4, -1)))
        rows.append(level + size * (curve + noise * rng.normal(size=t.size)))
    return np.array(rows)


def at_the_cap(t: np.ndarray, y: np.ndarray) -> float:
    """The least SSE of one curve at the cap of log gamma, from 36,000 nodes of which the best are refined."""
    w, best = np.ones(t.size), np.inf
    for limit in FORMS["eq9"].limits:
        box = limit.box(t)
        axes = np.geomspace(box[0, 0], box[0, 1], 300), np.geomspace(box[1, 0], box[1, 1], 120)
        nodes = limit.clip(box, np.array(np.meshgrid(*axes, indexing="ij")).reshape(2, -1))
        sse = linear_fit(limit, t, np.repeat(y[None], nodes.shape[1], axis=0), w, nodes)[1]
        chosen = np.argsort(sse)[:60:3]
        target = normalised(limit, y[None], w)
        minima = refine(limit, t, w, np.repeat(target.y, chosen.size, axis=0), nodes[:, chosen])
        best = min(best, float(minima.sse.min() * target.size[0, 0] ** 2))
    return best


def line(name: str, t: np.ndarray, y: np.ndarray) -> str:
    nine, fourteen = (fit_many(t, y, form=form, rivals=False)["sse"].to_numpy() for form in ("eq9", "eq14"))
    above = nine / fourteen - 1
    far = np.flatnonzero(above > WORSE)
    lost = [nine[row] / at_the_cap(t, y[row]) - 1 for row in far]
    dense = search("eq14-dense", t, y, np.ones(t.size)).sse
    found = search("eq14", t, y, np.ones(t.size)).sse
    beyond = sum(share > WORSE for share in lost)
    missed = found / np.minimum(dense, found) - 1
    return (
        f"{name}: {len(y)} curves; Eq. 9 above Eq. 14 by more than 1e-3: {len(far)} ({len(far) / len(y):.1%}), "
        f"of these by more than the cap's own share: {beyond} (largest {max([0.0, *lost]):.1e}); "
        f"Eq. 14 above its dense search by more than 1e-3: {int((missed > WORSE).sum())} (largest {missed.max():.1e})"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path(), help="a checkout with the shipped tables")
    parser.add_argument("--count", type=int, default=240, help="made-up curves for each set of steps")
    given = parser.parse_args()
    DenseEq14.name = "eq14-dense"
    FORMS.register(DenseEq14())
    grids = {
        "154 steps of Pythia": PYTHIA,
        "37 steps of the paper": np.r_[0, 2.0 ** np.arange(10), np.linspace(1000, 143000, 26).round()],
        "39 steps, evenly in the logarithm": np.unique(np.r_[0, np.geomspace(1, 2048, 38).round()]),
    }
    sys.stdout.write(line("shipped suite, 44 steps", *shipped(given.root)) + "\n")
    for name, steps in grids.items():
        sys.stdout.write(line(name, steps, truths(steps, given.count, 5)) + "\n")
