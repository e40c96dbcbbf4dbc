"""What a fit supports: its regime, the doubts about it, and the quantities and parameters that may be quoted."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from massact.fit.forms import FORMS
from massact.fit.status import ExplainedEnum, FitStatus

PLATEAU = 5.0  # b T above which the plateau was seen: 99.3 % of the decay is complete
SLOW = 1.0  # b T below which the decay has hardly begun
QUOTABLE = 3.0  # b T below which the plateau, and what trades with it, is an extrapolation: 95 % of the decay seen
VISIBLE_DROP = 2.0  # fall after a peak, in residual deviations, above which a peak with b T < 1 counts
LARGEST_RELATIVE_STDERR = 0.3  # a parameter with a larger standard error, relative to itself, is not quoted


class Regime(ExplainedEnum):
    """How much of the curve the trained range shows; `.text` says what may be quoted."""

    PLATEAU_SEEN = (
        "plateau_seen",
        "The decay is over within the trained range: values of the curve, the peak, the plateau K and each raw "
        "parameter marked determined may be quoted.",
    )
    PEAK_WITHOUT_PLATEAU = (
        "peak_without_plateau",
        "The curve passes its peak but not its decay: quote values of the curve, peak and half-rise; K is an "
        "extrapolation, and raw parameters only where marked determined.",
    )
    LOG_RISE = (
        "log_rise",
        "No clear peak in the trained range and no plateau: quote the values at start and end, the half-rise and the "
        "end slope. Raw parameters trade off against each other: gamma, t0, lambda, A and K of "
        "Eq. 9 are meaningless individually.",
    )
    DISPUTED = (
        "disputed",
        "The fitted curve settles, but the data, or other forms that fit as well, contradict that: quote neither the "
        "plateau K nor parameters that trade with it, and the peak only where it is determined; train longer.",
    )
    FLAT = (
        "flat",
        "By BIC, a constant describes these points at least as well as this form's curve: quote nothing of the curve.",
    )
    FAILED = ("failed", "There is no fitted curve, and nothing to quote.")


class Doubt(ExplainedEnum):
    """Why a plateau or a peak of the fitted curve is not quoted; `.text` says more."""

    END = ("end_departs", "The last values depart from the settled curve by more than their noise.")
    RIVAL = ("forms_disagree", "A form that fits as well is far from this curve at ten times the last step.")
    NO_FALL = ("no_fall", "The values do not fall after the fitted peak by more than their noise.")
    HIGHEST_LAST = ("highest_last", "The last value of the series is the largest.")
    PEAK_UNBOUNDED = ("peak_unbounded", "The interval of the peak's step reaches beyond the last step.")


def undetermined(doubts: Collection[Doubt], *, peaked: bool, peak_determined: bool) -> set[str]:
    """Derived quantities of a curve that may not be quoted; `peaked` says whether it has an interior maximum."""
    names: set[str] = {"peak_step"} if peaked and not peak_determined else set()
    if Doubt.END in doubts:
        names |= {"f_end", "end_slope"} if peak_determined else {"f_end", "end_slope", "peak_value"}
    return names


def regime_of(
    *, bT: np.ndarray, peaked: np.ndarray, drop: np.ndarray, sigma: np.ndarray, flat: np.ndarray, at_b_zero: np.ndarray
) -> np.ndarray:
    """Names of the regimes (curve,) of curves that exist.

    Parameters
    ----------
    bT
        Slowest rate of decay times the last step.
    peaked, drop
        Whether there is an interior maximum, and how far the curve falls from it to the last step.
    sigma
        Residual standard deviation.
    flat
        Whether the BIC of a constant is no larger.
    at_b_zero
        Whether the best curve is the limit b = 0, even if a positive b draws it.
    """
    bT = np.where(at_b_zero, 0.0, bT)
    passed = peaked & ((bT >= SLOW) | (drop > VISIBLE_DROP * sigma))
    names = [str(Regime.FLAT), str(Regime.PLATEAU_SEEN), str(Regime.PEAK_WITHOUT_PLATEAU)]
    return np.select([flat, bT > PLATEAU, passed], names, str(Regime.LOG_RISE))


def may_quote(
    form: str,
    values: np.ndarray,
    stderr: np.ndarray,
    *,
    scale: np.ndarray,
    bT: np.ndarray,
    regime: np.ndarray,
    status: np.ndarray,
) -> np.ndarray:
    """Which raw parameters (curve, parameter) are determined.

    A parameter is determined where its standard error is known and at most 30 % of its size. The size of K is at least
    the range of the curve, `scale` (curve,), because K = 0 is a value like any other. A parameter is not determined on
    a flat series, where the form lists it as `meaningless`, or, on a log rise or at b T < 3, as `extrapolated`. On a
    constant series K alone is determined.
    """
    chosen = FORMS[form]
    is_K = np.array([name == "K" for name in chosen.parameters])
    size = np.where(is_K, np.maximum(np.abs(values), scale[:, None]), np.abs(values))
    with np.errstate(invalid="ignore"):
        quoted = stderr <= LARGEST_RELATIVE_STDERR * size
    unsettled = (regime == Regime.LOG_RISE) | (bT < QUOTABLE)
    for j, name in enumerate(chosen.parameters):
        at_edge = [str(ending) for ending, parameters in chosen.meaningless.items() if name in parameters]
        quoted[:, j] &= ~np.isin(status, at_edge)
        if name in chosen.extrapolated:
            quoted[:, j] &= ~unsettled
    quoted[regime == Regime.FLAT] = False
    return quoted | ((status == FitStatus.CONSTANT)[:, None] & is_K)
