"""Intervals of derived quantities from resampled input sequences."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri, stdtrit

from massact.fit.group import fit_group

LEVEL = 0.95
MOST_UNKNOWN = 0.5  # share of resamples without a quantity above which it has no interval


def widening(n: int) -> float:
    """Factor by which percentile intervals of a bootstrap over n sequences are widened: 1.217 for ten.

    sqrt(n / (n - 1)) for the resampling variance being (n - 1) / n of the true one, and Student's quantile over the
    normal's for the variance being estimated from n.

    >>> round(widening(10), 3)
    1.217
    """
    upper = (1 + LEVEL) / 2
    return math.sqrt(n / (n - 1)) * float(stdtrit(n - 1, upper) / ndtri(upper))


def sequence_intervals(
    form: str,
    t: Float[np.ndarray, " step"],
    y: Float[np.ndarray, " step"],
    w: Float[np.ndarray, " step"],
    sequences: Float[np.ndarray, "sequence step"],
    estimate: dict[str, float],
    *,
    resamples: int,
    seed: int,
) -> dict[str, tuple[float, float]]:
    """95 % intervals of the quantities in `estimate`, from the global fit of `resamples` resampled series.

    The same sequences are measured at every checkpoint, so errors are correlated over steps: whole sequences are drawn.
    A resampled series is y plus the resampled mean less the mean of all sequences, so y may be another aggregate than
    the mean. Percentiles are widened about the estimate by `widening`. Without an estimate there is (nan, nan). An
    upper bound of inf for `peak_step` says that the data allow a curve without a peak in range. Not to be trusted for
    fewer than about five sequences.
    """
    count = len(sequences)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=resamples) / count
    replicates = fit_group(form, t, y + (drawn - 1 / count) @ sequences, w).derived
    factor = widening(count)
    limits = {
        "peak_step": (t[0], np.inf),
        "half_rise_step": (t[0], t[-1]),
        "decay_share": (0.0, 1.0),
    }
    out = {}
    for name, value in estimate.items():
        found = replicates[name]
        if name == "peak_step":
            found = np.where(np.isnan(found), np.where(replicates["end_slope"] > 0, np.inf, -np.inf), found)
        known = found[~np.isnan(found)]
        if not np.isfinite(value) or known.size < (1 - MOST_UNKNOWN) * resamples:
            out[name] = (math.nan, math.nan)
            continue
        low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="inverted_cdf")
        least, most = limits.get(name, (-np.inf, np.inf))
        lower = max(value - factor * max(value - low, 0.0), least)
        upper = min(value + factor * max(high - value, 0.0), most)
        out[name] = (float(lower), float(upper))
    return out
