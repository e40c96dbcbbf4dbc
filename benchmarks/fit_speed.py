"""Fits per second of the engine and, in the same run, of lmfit and scipy: `python benchmarks/fit_speed.py`.

One core: run with OMP_NUM_THREADS=1. Start-up and compilation are measured in a process of their own and not part of
the rates. Rates are medians over rounds in which every method runs once; ratios are paired within a round.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from fit_accuracy import lmfit_ten, varpro
from fit_truths import GRIDS, PYTHIA, regular
from massact.fit import fit_many
from massact.fit.engine.compiled import search_warm
from massact.fit.engine.search import in_units, normalised, search
from massact.fit.forms.eq14 import EQ14
from massact.fit.judgement.bootstrap import draws, minima_of, refit

ROUNDS = 5
CURVES, RESAMPLES = 582, 1000
W = {size: np.ones(size) for size in GRIDS}
FIRST = """
import time; began = time.perf_counter()
import numpy as np, massact.fit
imported = time.perf_counter()
t = np.r_[0.0, 2.0 ** np.arange(10), np.arange(1000.0, 143001, 1000)]
y = 5 + 3 * np.log1p(t / 300)[None] * np.exp(-t / 4e4)
massact.fit.fit_many(t, y, path="{path}")
print(imported - began, time.perf_counter() - began)
"""


def timed(work: Callable[[], object], count: int) -> float:
    """Fits per second."""
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)


def measured(count: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Curves (curve, step) and ten sequences each (sequence, curve, step), correlated over steps."""
    t, rng = GRIDS[size], np.random.default_rng(seed)
    truth = regular(count, t, rng, (0.0, 0.0))
    noise = 0.04 * rng.standard_normal((10, count, 1)) + 0.08 * rng.standard_normal((10, count, t.size))
    sequences = truth * (1 + noise)
    return sequences.mean(axis=0), sequences


def rates(size: int) -> None:
    t, w = GRIDS[size], W[size]
    y = regular(4096, t, np.random.default_rng(1), (0.03, 0.1))
    few = y[:4]
    mean, sequences = measured(8, size, 2)
    tables = draws(10, RESAMPLES, 0) - 0.1
    found = search("eq14", t, mean, w, path="numba")
    minima = [minima_of("eq14", t, w, mean[i], found.rates[:, i]) for i in range(8)]
    series = [mean[i] + tables @ sequences[:, i] for i in range(8)]

    def warm(i: int, starts: np.ndarray) -> object:
        target = normalised(EQ14, series[i], w)
        return in_units(EQ14, target, *search_warm(EQ14, t, w, target.y, starts, 1e-7))

    methods: dict[str, tuple[Callable[[], object], int]] = {
        "global search, numba": (lambda: search("eq14", t, y, w, path="numba"), len(y)),
        "global search, numpy": (lambda: search("eq14", t, y[:2048], w, path="numpy"), 2048),
        "fit_many table, eq14": (lambda: fit_many(t, y, form="eq14", path="numba"), len(y)),
        "fit_many table, eq9": (lambda: fit_many(t, y, form="eq9", path="numba"), len(y)),
        "warm, one start": (lambda: [warm(i, minima[i][:, :1].T) for i in range(8)], 8 * RESAMPLES),
        "warm, all minima": (lambda: [warm(i, minima[i].T) for i in range(8)], 8 * RESAMPLES),
        "warm with rescue": (lambda: [refit("eq14", t, w, series[i], minima[i]) for i in range(8)], 8 * RESAMPLES),
        "lmfit, ten starts": (lambda: [lmfit_ten(t, curve) for curve in few], len(few)),
        "scipy VarPro, five starts": (lambda: [varpro(t, curve) for curve in few], len(few)),
    }
    for work, _ in methods.values():
        work()
    rounds = [{name: timed(work, count) for name, (work, count) in methods.items()} for _ in range(ROUNDS)]
    print(f"\n{size} points, one core, fits/s (median of {ROUNDS} rounds; range):")
    for name in methods:
        each = [one[name] for one in rounds]
        print(f"  {name:28s} {np.median(each):10,.1f}   ({min(each):,.1f} - {max(each):,.1f})")
    for slow in ("lmfit, ten starts", "scipy VarPro, five starts"):
        ratio = [one["global search, numba"] / one[slow] for one in rounds]
        print(f"  global search / {slow}: {np.median(ratio):,.0f} ({min(ratio):,.0f} - {max(ratio):,.0f})")
    ours = search("eq14", t, few, w, path="numba").sse
    for name, method in (("lmfit", lmfit_ten), ("VarPro", varpro)):
        excess = np.array([method(t, curve) for curve in few]) / ours - 1
        print(f"  SSE of {name} over the engine's - 1: {excess}")


def job(seed: int) -> float:
    """Intervals of the derived quantities of half of the curves."""
    mean, sequences = measured(CURVES // 2, 154, seed)
    fit_many(PYTHIA, mean[:128], form="eq14", path="numba")
    began = time.perf_counter()
    out = fit_many(PYTHIA, mean, form="eq14", sequences=sequences, resamples=RESAMPLES)
    assert np.isfinite(out["f_end_lower"]).all()
    return time.perf_counter() - began


def main() -> None:
    warnings.simplefilter("ignore")
    os.environ["OMP_NUM_THREADS"] = "1"
    for path in ("numpy", "numba", "numba"):
        code = FIRST.format(path=path)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        imported, first = map(float, done.stdout.split())
        print(f"import massact.fit {imported:.2f} s, with a first fit ({path}) {first:.2f} s")
    for size in GRIDS:
        rates(size)
    with ProcessPoolExecutor(2) as pool:
        seconds = list(pool.map(job, (10, 11)))
    print(f"\n{CURVES} curves x {RESAMPLES} resamples with intervals, two processes: {max(seconds):.1f} s")


if __name__ == "__main__":
    main()
