"""Seconds and memory of one fit by the number of its points: `python benchmarks/fit_size.py`.

A plateau curve with noise of 1 %, steps of equal distance to 143,000, Eq. 14; the forms that judge its words are fitted
too. Medians of processor time over rounds; compilation and imports are excluded. With `--compare` also the largest
relative difference of any number between a search in bins and one over all points, at sizes where both are quick.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time

import numpy as np

from massact.fit import fit_many, fit_series


def curve(points: int) -> tuple[np.ndarray, np.ndarray]:
    t = np.linspace(0, 143_000, points)
    y = 30 * (1 - np.exp(-t / 9_000)) + 2
    return t, y * (1 + 0.01 * np.random.default_rng(points).standard_normal(points))


def seconds(act, rounds: int) -> float:
    took = []
    for _ in range(rounds):
        began = time.process_time()
        act()
        took.append(time.process_time() - began)
    return statistics.median(took)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, nargs="+", default=[256, 1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compare", type=int, nargs="*", default=[])
    args = parser.parse_args()
    fit_series(*curve(60), form="eq14")
    fit_many(curve(60)[0], curve(60)[1][None], form="eq14")
    print("| points | fit_series, s | fit_many, s | largest process, MB |\n|---|---|---|---|")
    for points in args.points:
        t, y = curve(points)
        one = seconds(lambda t=t, y=y: fit_series(t, y, form="eq14"), args.rounds)
        many = seconds(lambda t=t, y=y: fit_many(t, y[None], form="eq14"), args.rounds)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"| {points:,} | {one:.2f} | {many:.2f} | {peak:.0f} |", flush=True)
    for points in args.compare:
        print(f"{points} points: {difference(points):.1e}")


def difference(points: int) -> float:
    """Largest relative difference of any number of the table, with and without bins."""
    import massact.fit.engine.bins as bins

    t, y = curve(points)
    binned, limit = fit_many(t, y[None], form="eq14"), bins.EVERY
    bins.EVERY = points
    whole = fit_many(t, y[None], form="eq14")
    bins.EVERY = limit
    numbers = binned.select_dtypes("number").columns
    a, b = (table[numbers].to_numpy(dtype=float) for table in (binned, whole))
    return float(np.nanmax(np.abs(a - b) / np.maximum(np.abs(b), 1e-300)))


if __name__ == "__main__":
    main()
