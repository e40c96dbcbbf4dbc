"""How often a plateau or a peak is quoted, and how often it is wrong: `python benchmarks/fit_words.py`.

Curves of shapes that the forms do not have, and curves that they do have as a control of power. Noise as the shipped
families show it: of ten input sequences each has a level of its own (4 %) and a little noise (2 %, correlation .2 from
one checkpoint to the next), and every checkpoint moves all sequences together (3.5 %; `--shared` sets it).

`K holds` when K +- 1.96 standard errors contains the truth at ten times the trained range; it is `off` when K misses
that by more than a tenth of the range of the true curve. A peak holds when the true curve has an interior maximum and
falls after it by more than a fiftieth of its range.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import pandas as pd

from fit_truths import PYTHIA
from massact.fit import fit_many

POCKET = np.r_[0, 2.0 ** np.arange(8), 167, 218, 285, 372, 485, 634, 827, 1080, 1410, 1841, 2403, 3137, 4096]
NANO = np.r_[0, 2.0 ** np.arange(8), np.geomspace(139, 2048, 35).round()]
GRIDS = {"pocket": POCKET, "nano": NANO, "Pythia": PYTHIA}
SEQUENCES, LEVEL, OWN, RHO, SHARED = 10, 0.04, 0.02, 0.2, 0.035
FURTHER = 10.0  # times the trained range, where the truth of K is read
OFF = 0.1  # share of the range of the true curve
FALL = 0.02
Curve = Callable[[np.ndarray], np.ndarray]  # of the share of training that is done


def rise_by_a_power(rng: np.random.Generator) -> Curve:
    """A rise as a power of the step that never ends."""
    onset, power = rng.uniform(0.01, 0.08), rng.uniform(0.1, 0.5)
    return lambda u: ((1 + u / onset) ** power - 1) / ((1 + 1 / onset) ** power - 1)


def rise_by_a_logarithm(rng: np.random.Generator) -> Curve:
    """A rise linear in the logarithm of the step."""
    onset = rng.uniform(0.005, 0.08)
    return lambda u: np.log1p(u / onset) / np.log1p(1 / onset)


def late_acceleration(rng: np.random.Generator) -> Curve:
    """A logarithm, and a power above 1 that takes over at the end."""
    onset, share, power = rng.uniform(0.005, 0.05), rng.uniform(0.2, 0.5), rng.uniform(1.2, 2.5)
    return lambda u: (1 - share) * np.log1p(u / onset) / np.log1p(1 / onset) + share * u**power


def pause(rng: np.random.Generator) -> Curve:
    """A quick rise, a pause, and a slow rise at the end, as in the pocket family."""
    onset, share, begin = rng.uniform(0.02, 0.06), rng.uniform(0.1, 0.35), rng.uniform(0.2, 0.5)
    return lambda u: -(1 - share) * np.expm1(-u / onset) + share * np.log1p(np.maximum(u / begin - 1, 0)) / np.log(2)


def staircase(rng: np.random.Generator) -> Curve:
    """Three to six steep steps at random places in the logarithm, up to three times the trained range."""
    count = rng.integers(3, 7)
    places, heights = np.exp(rng.uniform(np.log(0.02), np.log(3), count)), rng.dirichlet(np.full(count, 2.0))
    width = rng.uniform(0.08, 0.25)
    return lambda u: np.sum(heights / (1 + (places / np.maximum(u, 1e-9)[:, None]) ** (1 / width)), axis=1)


def two_plateaus(rng: np.random.Generator) -> Curve:
    """A plateau, and a second one that is reached around the end."""
    onset, share, second, width = rng.uniform(0.01, 0.05), rng.uniform(0.1, 0.4), rng.uniform(0.4, 1.2), 0.15
    return lambda u: -(1 - share) * np.expm1(-u / onset) + share / (1 + (second / np.maximum(u, 1e-9)) ** (1 / width))


def fall_after_the_end(rng: np.random.Generator) -> Curve:
    """A plateau to the end, and a fall at three times the trained range, which no fit can foresee."""
    onset, share = rng.uniform(0.02, 0.06), rng.uniform(0.2, 0.5)
    return lambda u: -np.expm1(-u / onset) - share / (1 + (3 / np.maximum(u, 1e-9)) ** 6)


def slow_approach(rng: np.random.Generator) -> Curve:
    """Hill's saturation in the step, which approaches its plateau by a power."""
    onset, power = rng.uniform(0.02, 0.08), rng.uniform(0.8, 1.6)
    return lambda u: 1 / (1 + (onset / np.maximum(u, 1e-12)) ** power)


def true_plateau(rng: np.random.Generator) -> Curve:
    """An exponential approach that is long over: a limit of Eq. 14."""
    rate = rng.uniform(10, 40)
    return lambda u: -np.expm1(-rate * u)


def true_early_peak(rng: np.random.Generator) -> Curve:
    """Eq. 14 with a peak and the plateau after it."""
    return _eq14(rng.uniform(8, 25), rng.uniform(0.003, 0.02), rng.uniform(0.3, 1.2))


def true_late_peak(rng: np.random.Generator) -> Curve:
    """Eq. 14 with a peak whose plateau is not reached."""
    return _eq14(rng.uniform(1.5, 4), rng.uniform(0.003, 0.03), rng.uniform(-0.5, 0.5))


def _eq14(rate: float, tau: float, level: float) -> Curve:
    return lambda u: np.exp(-rate * u) * (np.log1p(u / tau) - level) + level


FOREIGN = {
    shape.__name__.replace("_", " "): shape
    for shape in (
        rise_by_a_power, rise_by_a_logarithm, late_acceleration, pause, staircase, two_plateaus, slow_approach,
        fall_after_the_end,
    )
}  # fmt: skip
TRUE = {shape.__name__.replace("_", " "): shape for shape in (true_plateau, true_early_peak, true_late_peak)}


def noisy(truth: np.ndarray, shared: float, rng: np.random.Generator) -> np.ndarray:
    """Series (sequence, curve, step) of curves (curve, step)."""
    shape = (SEQUENCES, *truth.shape)
    own = rng.standard_normal(shape)
    for i in range(1, shape[-1]):
        own[..., i] = RHO * own[..., i - 1] + np.sqrt(1 - RHO**2) * own[..., i]
    level = LEVEL * rng.standard_normal((*shape[:2], 1))
    return truth * (1 + level + OWN * own) * (1 + shared * rng.standard_normal(truth.shape))


def cell(
    make: Callable[[np.random.Generator], Curve], t: np.ndarray, count: int, args: argparse.Namespace, seed: int
) -> dict[str, int]:
    """What is quoted of `count` curves of one shape, and how much of it is wrong."""
    rng = np.random.default_rng([seed, t.size])
    shapes = [make(rng) for _ in range(count)]
    start, rise = rng.uniform(4, 6, (count, 1)), rng.uniform(12, 35, (count, 1))
    fine = np.r_[0, np.geomspace(1e-3, 1, 400)]
    drawn = np.array([shape(fine) for shape in shapes])
    span = np.ptp(drawn, axis=1, keepdims=True)

    def curves(u: np.ndarray) -> np.ndarray:
        return start + rise * (np.array([shape(u) for shape in shapes]) - drawn[:, :1]) / span

    each = noisy(curves(t / t[-1]), args.shared, rng)
    sequences = each if args.sequences else None
    out = fit_many(t, each.mean(axis=0), form=args.form, sequences=sequences, resamples=args.resamples)
    later = curves(np.array([FURTHER]))[:, 0]
    true = curves(fine)
    falls = true.max(axis=1) - true[:, -1] > FALL * rise[:, 0]
    quoted = out["K_determined"].to_numpy() & (out["regime"] != "flat").to_numpy()
    miss = np.abs(out["K"].to_numpy() - later)
    seen = out["regime"].isin(["plateau_seen", "peak_without_plateau"]).to_numpy()
    peak = seen & np.isfinite(out["peak_step"]).to_numpy()
    if "peak_determined" in out:
        peak = out["peak_determined"].to_numpy()
    return {
        "curves": count,
        "plateau": int((out["regime"] == "plateau_seen").sum()),
        "K quoted": int(quoted.sum()),
        "does not hold": int((quoted & (miss > 1.96 * out["K_stderr"].to_numpy())).sum()),
        "K off": int((quoted & (miss > OFF * rise[:, 0])).sum()),
        "peak quoted": int(peak.sum()),
        "no such peak": int((peak & ~falls).sum()),
        "true peaks": int(falls.sum()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=100, help="curves of a shape and grid")
    parser.add_argument("--form", default="eq9")
    parser.add_argument("--shared", type=float, default=SHARED, help="noise that a checkpoint's sequences share")
    parser.add_argument("--resamples", type=int, default=100)
    parser.add_argument("--no-sequences", dest="sequences", action="store_false")
    args = parser.parse_args()
    rows = {
        (kind, grid): cell(make, t, args.count, args, seed)
        for seed, (kind, make) in enumerate({**FOREIGN, **TRUE}.items())
        for grid, t in GRIDS.items()
    }
    table = pd.DataFrame(rows).T
    print(table.to_string())
    unknowable = table.index.get_level_values(0) == "fall after the end"
    foreign = table.index.get_level_values(0).isin(list(FOREIGN)) & ~unknowable
    print("\nforeign shapes, all that can be known:\n" + table[foreign].sum().to_string())
    print("\nshapes of the form:\n" + table[~foreign & ~unknowable].sum().to_string())


if __name__ == "__main__":
    main()
